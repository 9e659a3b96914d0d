package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"

	"mito/engine/files"
)

// maxLine bounds one line of metrics.jsonl; a longer one is not a record of this package.
const maxLine = 1 << 20

// Record is one line of metrics.jsonl: {"step": 10, "loss": 1.5, …}. Values are finite; NaN and infinities are written as
// null and read back as NaN, because JSON has no number for them and the line that says a run diverged matters most.
type Record struct {
	Step   int64
	Values map[string]float64
}

// MarshalJSON writes the step first, then the values by name.
func (r Record) MarshalJSON() ([]byte, error) {
	b := append([]byte(`{"step":`), strconv.FormatInt(r.Step, 10)...)
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		if name == "step" || name == "" {
			return nil, fmt.Errorf("report: a value cannot be named %q", name)
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, ','), key...), ':')
		if v := r.Values[name]; math.IsNaN(v) || math.IsInf(v, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
		}
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads a line. Fields that are neither numbers nor null are skipped.
func (r *Record) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	step, ok := fields["step"]
	if !ok {
		return errors.New("the record has no step")
	}
	if err := json.Unmarshal(step, &r.Step); err != nil {
		return fmt.Errorf("step: %w", err)
	}
	delete(fields, "step")
	r.Values = make(map[string]float64, len(fields))
	for name, text := range fields {
		if string(text) == "null" {
			r.Values[name] = math.NaN()
			continue
		}
		var v float64
		if json.Unmarshal(text, &v) == nil {
			r.Values[name] = v
		}
	}
	return nil
}

// LineError says which line of metrics.jsonl cannot be read.
type LineError struct {
	Path string
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string {
	return fmt.Sprintf("%s:%d: %v; the file is damaged there: take this line out and try again (training does not depend on "+
		"it, the curves only lack the step), or put back a copy", e.Path, e.Line, e.Err)
}
func (e *LineError) Unwrap() error { return e.Err }

// Metrics appends records to metrics.jsonl. Each record reaches the file by one write call, so that a kill leaves at most
// one torn line, at the end.
type Metrics struct {
	f    *os.File
	last int64
	any  bool
}

// OpenMetrics opens path for appending and keeps the records of steps up to and with lastStep: those of a run that is to be
// resumed from a checkpoint of that step. A lastStep below 0 starts anew. What comes behind those records is dropped, whatever
// it is: a power cut may leave any rubbish there. Errors: the file system's; *LineError when a line before the last of those
// records is none.
func OpenMetrics(path string, lastStep int64) (*Metrics, error) {
	f, err := files.OpenUpdate(path)
	if err != nil {
		return nil, fmt.Errorf("opening the metrics: %w", err)
	}
	m := &Metrics{f: f}
	keep := int64(0)
	if lastStep >= 0 {
		var damage *LineError
		err = scan(path, f, func(r Record, end int64, bad *LineError) error {
			if damage == nil {
				damage = bad
			}
			switch {
			case r.Step > lastStep:
			case damage != nil:
				return damage
			default:
				keep, m.last, m.any = end, r.Step, true
			}
			return nil
		})
	}
	if err == nil {
		err = f.Truncate(keep)
	}
	if err == nil {
		_, err = f.Seek(keep, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// Append writes one record. Steps do not decrease: truncation at a step relies on it.
func (m *Metrics) Append(step int64, values map[string]float64) error {
	if m.any && step < m.last || step < 0 {
		return fmt.Errorf("report: a record of step %d after one of step %d", step, m.last)
	}
	line, err := Record{step, values}.MarshalJSON()
	if err != nil {
		return err
	}
	if _, err := m.f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the metrics: %w", err)
	}
	m.last, m.any = step, true
	return nil
}

// Sync makes what was appended durable. Call it before the checkpoint that a resume will start from is written.
func (m *Metrics) Sync() error { return m.f.Sync() }

// Close syncs and closes the file.
func (m *Metrics) Close() error { return errors.Join(m.f.Sync(), m.f.Close()) }

// ReadMetrics reads all records; a torn last line is left out. Errors: as [OpenMetrics],
// for every line but the last.
func ReadMetrics(path string) ([]Record, error) {
	f, _, err := files.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("reading the metrics: %w", err)
	}
	defer f.Close()
	var records []Record
	err = scan(path, f, func(r Record, _ int64, bad *LineError) error {
		if bad != nil {
			return bad
		}
		records = append(records, r)
		return nil
	})
	return records, err
}

// scan calls f with each record and the offset after it, and with what is wrong with its line. A step that decreases is
// wrong, as none is written so: it, or one before it, was damaged. What is no record at all has the last step that there can
// be. The first error of f ends the scan.
func scan(path string, r io.Reader, f func(r Record, end int64, bad *LineError) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	var end, last int64
	for n := 1; ; n++ {
		line, whole, err := readLine(b)
		if err != nil {
			return &LineError{path, n, err}
		}
		if !whole { // no line end: the write was cut short, or there is nothing
			return nil
		}
		end += int64(len(line))
		var rec Record
		var bad *LineError
		if err := json.Unmarshal(line, &rec); err != nil {
			if _, err := b.Peek(1); err == io.EOF {
				return nil // a power cut can leave a line end without the bytes before it
			}
			rec.Step, bad = math.MaxInt64, &LineError{path, n, err}
		} else if rec.Step < last {
			bad = &LineError{path, n, fmt.Errorf("step %d after step %d, here or in a line before", rec.Step, last)}
		} else {
			last = rec.Step
		}
		if err := f(rec, end, bad); err != nil {
			return err
		}
	}
}

func readLine(b *bufio.Reader) (line []byte, whole bool, err error) {
	for {
		part, err := b.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, true, nil
		case errors.Is(err, io.EOF):
			return line, false, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		case len(line) > maxLine:
			return nil, false, fmt.Errorf("longer than %d bytes", maxLine)
		}
	}
}

// Points returns the series of one value, without NaN, in the order of the records.
func Points(records []Record, name string) []Point {
	var points []Point
	for _, r := range records {
		if v, ok := r.Values[name]; ok && !math.IsNaN(v) {
			points = append(points, Point{float64(r.Step), v})
		}
	}
	return points
}
