package distill

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"slices"

	"mito/engine/files"
)

// Record is what teachers said about N tokens: for each the K largest probabilities, in descending order, and the
// mass of all others.
type Record struct {
	IDs   []int32   // [N,K]
	Probs []float32 // [N,K]
	Tail  []float32 // [N]
	k     int
}

// NewRecord makes a record of n tokens with k probabilities each.
func NewRecord(n, k int) *Record {
	return &Record{IDs: make([]int32, n*k), Probs: make([]float32, n*k), Tail: make([]float32, n), k: k}
}

// keepLargest fills the record from probabilities [N,V]. Ties go to the smaller id.
func (r *Record) keepLargest(probs []float32) {
	n := len(r.Tail)
	vocab := len(probs) / n
	order := make([]int32, vocab)
	for i := range n {
		row := probs[i*vocab:][:vocab]
		for j := range order {
			order[j] = int32(j)
		}
		slices.SortStableFunc(order, func(a, b int32) int {
			switch {
			case row[a] > row[b]:
				return -1
			case row[a] < row[b]:
				return 1
			}
			return 0
		})
		tail := 0.0
		for j, id := range order {
			if j < r.k {
				r.IDs[i*r.k+j], r.Probs[i*r.k+j] = id, row[id]
			} else {
				tail += float64(row[id])
			}
		}
		r.Tail[i] = float32(tail)
	}
}

// Key says whose outputs a cache holds and on which batches. A file with another key is refused: reading on would
// teach the wrong thing.
type Key struct {
	Teachers    []string `json:"teachers"` // hashes of the weights
	Source      string   `json:"source"`   // hash of data, order and seed
	Tokens      int      `json:"tokens"`   // in a batch, N
	TopK        int      `json:"top_k"`
	Temperature float64  `json:"temperature"`
}

// Cache holds the records of a run in a file: a header line with the key, then for each token of each step its K
// ids, K probabilities, tail and a checksum. Tokens that were not written yet read as absent, so a run that was
// killed leaves a cache that is good for what it holds.
type Cache struct {
	f    *os.File
	key  Key
	base int64
	buf  []byte
}

const maxHeader = 1 << 20

// CacheKeyError reports a cache file that belongs to other teachers, data or settings.
type CacheKeyError struct{ Path string }

func (e *CacheKeyError) Error() string {
	return fmt.Sprintf("distill: %s holds the outputs of other teachers, data or settings; remove it or name another file", e.Path)
}

// OpenCache opens the cache file of a key, or makes it. Errors: *CacheKeyError, files.ErrNotRegular, errors of the file
// system.
func OpenCache(path string, key Key) (*Cache, error) {
	if key.Tokens < 1 || key.TopK < 1 {
		return nil, fmt.Errorf("distill: a cache of %d tokens with %d probabilities each cannot be", key.Tokens, key.TopK)
	}
	header, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	header = append(header, '\n')
	f, err := files.OpenUpdate(path)
	if err != nil {
		return nil, fmt.Errorf("distill: cache: %w", err)
	}
	have, err := io.ReadAll(io.LimitReader(f, min(int64(len(header)), maxHeader)))
	switch {
	case err != nil:
	case len(have) == 0:
		_, err = f.WriteAt(header, 0)
	case !bytes.Equal(have, header):
		err = &CacheKeyError{Path: path}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	c := &Cache{f: f, key: key, base: int64(len(header))}
	return c, nil
}

// Close closes the file.
func (c *Cache) Close() error { return errors.Join(c.f.Sync(), c.f.Close()) }

// tokenBytes is the size of one token's entry.
func (c *Cache) tokenBytes() int { return 8*c.key.TopK + 4 + 4 }

func (c *Cache) offset(step int64, first int) int64 {
	return c.base + (step*int64(c.key.Tokens)+int64(first))*int64(c.tokenBytes())
}

func (c *Cache) buffer(n int) []byte {
	size := n * c.tokenBytes()
	if cap(c.buf) < size {
		c.buf = make([]byte, size)
	}
	return c.buf[:size]
}

// Read fills r with the tokens first to first+n of a step. found is false where any of them was not written, or
// not completely.
func (c *Cache) Read(r *Record, step int64, first, n int) (found bool, err error) {
	buf := c.buffer(n)
	if _, err := c.f.ReadAt(buf, c.offset(step, first)); err == io.EOF {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("distill: cache: %w", err)
	}
	k, size := c.key.TopK, c.tokenBytes()
	for i := range n {
		entry := buf[i*size:][:size]
		if binary.LittleEndian.Uint32(entry[size-4:]) != checksum(entry[:size-4]) {
			return false, nil
		}
		for j := range k {
			r.IDs[i*k+j] = int32(binary.LittleEndian.Uint32(entry[4*j:]))
			r.Probs[i*k+j] = math.Float32frombits(binary.LittleEndian.Uint32(entry[4*(k+j):]))
		}
		r.Tail[i] = math.Float32frombits(binary.LittleEndian.Uint32(entry[8*k:]))
	}
	return true, nil
}

// Write stores all tokens of r from first on as those of a step.
func (c *Cache) Write(r *Record, step int64, first int) error {
	n, k, size := len(r.Tail), c.key.TopK, c.tokenBytes()
	buf := c.buffer(n)
	for i := range n {
		entry := buf[i*size:][:size]
		for j := range k {
			binary.LittleEndian.PutUint32(entry[4*j:], uint32(r.IDs[i*k+j]))
			binary.LittleEndian.PutUint32(entry[4*(k+j):], math.Float32bits(r.Probs[i*k+j]))
		}
		binary.LittleEndian.PutUint32(entry[8*k:], math.Float32bits(r.Tail[i]))
		binary.LittleEndian.PutUint32(entry[size-4:], checksum(entry[:size-4]))
	}
	if _, err := c.f.WriteAt(buf, c.offset(step, first)); err != nil {
		return fmt.Errorf("distill: cache: %w", err)
	}
	return nil
}

// checksum is never zero, so that a hole in the file does not read as an entry.
func checksum(b []byte) uint32 { return crc32.ChecksumIEEE(b) | 1 }
