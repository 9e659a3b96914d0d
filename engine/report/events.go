package report

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// An event file is a sequence of records
//
//	u64 length · u32 masked CRC32C of the length · bytes · u32 masked CRC32C of the bytes    (little endian)
//
// whose bytes are tensorflow.Event messages. The field numbers below are those of tensorflow/core/util/event.proto and
// framework/summary.proto; the four messages need eight fields, so they are written by hand over protowire.
const (
	eventWallTime    = 1 // double
	eventStep        = 2 // int64
	eventFileVersion = 3 // string
	eventSummary     = 5 // Summary
	eventSessionLog  = 7 // SessionLog
	summaryValue     = 1 // repeated Summary.Value
	valueTag         = 1 // string
	valueSimple      = 2 // float
	sessionStatus    = 1 // enum
	sessionStart     = 1 // SessionLog.START

	fileVersion = "brain.Event:2"
)

// Events writes scalars to one event file.
type Events struct {
	f   *os.File
	now func() time.Time
	buf []byte
}

// OpenEvents makes a new event file in dir, which TensorBoard finds with --logdir dir. TensorBoard reads all event files of a
// folder in the order of their names. With lastStep of 0 or more the file begins by saying that the run restarted after
// that step, upon which TensorBoard drops later points of the files before it. A lastStep below 0 is a new run.
func OpenEvents(dir string, lastStep int64) (*Events, error) {
	return openEvents(dir, lastStep, time.Now)
}

func openEvents(dir string, lastStep int64, now func() time.Time) (*Events, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("opening an event file: %w", err)
	}
	f, err := createEvents(dir, now())
	if err != nil {
		return nil, fmt.Errorf("opening an event file: %w", err)
	}
	e := &Events{f: f, now: now}
	version := protowire.AppendTag(nil, eventFileVersion, protowire.BytesType)
	version = protowire.AppendString(version, fileVersion)
	err = e.event(max(lastStep+1, 0), version)
	if err == nil && lastStep >= 0 {
		start := protowire.AppendTag(nil, sessionStatus, protowire.VarintType)
		start = protowire.AppendVarint(start, sessionStart)
		log := protowire.AppendTag(nil, eventSessionLog, protowire.BytesType)
		err = e.event(lastStep+1, protowire.AppendBytes(log, start))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return e, nil
}

// createEvents names the file by the second and, within one, by a number that sorts, as two runs may start in a second.
func createEvents(dir string, t time.Time) (*os.File, error) {
	for n := range 1000 {
		name := fmt.Sprintf("events.out.tfevents.%010d.mito.%03d", t.Unix(), n)
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("%s: too many event files of one second", dir)
}

// Append writes the values of one step as one event. Tags with a slash ("loss/train") are grouped by TensorBoard.
func (e *Events) Append(step int64, values map[string]float64) error {
	var summary, value []byte
	for _, tag := range slices.Sorted(maps.Keys(values)) {
		value = protowire.AppendTag(value[:0], valueTag, protowire.BytesType)
		value = protowire.AppendString(value, tag)
		value = protowire.AppendTag(value, valueSimple, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(values[tag])))
		summary = protowire.AppendTag(summary, summaryValue, protowire.BytesType)
		summary = protowire.AppendBytes(summary, value)
	}
	body := protowire.AppendTag(nil, eventSummary, protowire.BytesType)
	return e.event(step, protowire.AppendBytes(body, summary))
}

// Close syncs and closes the file.
func (e *Events) Close() error { return errors.Join(e.f.Sync(), e.f.Close()) }

// event frames one Event of the present time; body is its encoded last field. It reaches the file by one write call.
func (e *Events) event(step int64, body []byte) error {
	now := e.now()
	seconds := float64(now.Unix()) + float64(now.Nanosecond())/1e9
	var msg []byte
	msg = protowire.AppendTag(msg, eventWallTime, protowire.Fixed64Type)
	msg = protowire.AppendFixed64(msg, math.Float64bits(seconds))
	msg = protowire.AppendTag(msg, eventStep, protowire.VarintType)
	msg = protowire.AppendVarint(msg, uint64(step))
	msg = append(msg, body...)

	b := binary.LittleEndian.AppendUint64(e.buf[:0], uint64(len(msg)))
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(b))
	b = append(b, msg...)
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(msg))
	e.buf = b
	if _, err := e.f.Write(b); err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is the checksum of TFRecord files: CRC32C, rotated right by 15 bits, plus a constant. The mask keeps the
// checksum of data that holds checksums from being weak.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
