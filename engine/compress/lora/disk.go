package lora

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"

	"mito/engine/files"
)

// diskKey says whose rows a file holds. A file with another key is emptied: it is a cache.
type diskKey struct {
	Base   string `json:"base"`   // SHA-256 of the weights
	Source string `json:"source"` // hash of data, order and seed
	Layer  int    `json:"layer"`
	Time   int    `json:"time"`
	Width  int    `json:"width"`
}

// disk keeps rows in a file: a line of JSON with the key, then for each row its key, its values and a checksum. What a killed
// process left half written reads as absent.
type disk struct {
	f    *os.File
	base int64
	size int // values of a row
	buf  []byte
}

const keyBytes, sumBytes = len(rowKey{}), 4

// openDisk opens the file and lists its rows in slots.
func openDisk(path string, key diskKey, slots map[rowKey]int) (*disk, error) {
	header, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	header = append(header, '\n')
	f, err := files.OpenUpdate(path)
	if err != nil {
		return nil, fmt.Errorf("lora: cache: %w", err)
	}
	d := &disk{f: f, base: int64(len(header)), size: key.Time * key.Width}
	d.buf = make([]byte, d.entry())
	have := make([]byte, len(header))
	if _, err = io.ReadFull(f, have); err == nil && bytes.Equal(have, header) {
		err = d.list(slots)
	} else if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt(header, 0)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lora: cache %s: %w", path, err), f.Close())
	}
	return d, nil
}

func (d *disk) entry() int { return keyBytes + 4*d.size + sumBytes }

// list reads the keys of all whole rows.
func (d *disk) list(slots map[rowKey]int) error {
	r := bufio.NewReaderSize(d.f, 1<<16)
	for slot := 0; ; slot++ {
		if _, err := io.ReadFull(r, d.buf); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		if !d.whole() { // what comes behind is written again
			return nil
		}
		slots[rowKey(d.buf[:keyBytes])] = slot
	}
}

// whole says that the entry in the buffer is as it was written. The sum is never zero, so that a hole is no entry.
func (d *disk) whole() bool {
	at := len(d.buf) - sumBytes
	return binary.LittleEndian.Uint32(d.buf[at:]) == crc32.ChecksumIEEE(d.buf[:at])|1
}

func (d *disk) get(dst []float32, slot int) (bool, error) {
	if _, err := d.f.ReadAt(d.buf, d.base+int64(slot)*int64(d.entry())); errors.Is(err, io.EOF) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("lora: cache: %w", err)
	}
	if !d.whole() {
		return false, nil
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(d.buf[keyBytes+4*i:]))
	}
	return true, nil
}

func (d *disk) put(slot int, key rowKey, row []float32) error {
	copy(d.buf, key[:])
	for i, v := range row {
		binary.LittleEndian.PutUint32(d.buf[keyBytes+4*i:], math.Float32bits(v))
	}
	at := len(d.buf) - sumBytes
	binary.LittleEndian.PutUint32(d.buf[at:], crc32.ChecksumIEEE(d.buf[:at])|1)
	if _, err := d.f.WriteAt(d.buf, d.base+int64(slot)*int64(d.entry())); err != nil {
		return fmt.Errorf("lora: cache: %w", err)
	}
	return nil
}

// Close implements io.Closer.
func (d *disk) Close() error { return d.f.Close() }
