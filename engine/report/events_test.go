package report

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// decodeEvents reads an event file into one line an event. It shares no code with the writer but the checksum, which the
// file written by TensorBoard proves.
func decodeEvents(data []byte) ([]string, error) {
	var events []string
	for len(data) > 0 {
		if len(data) < 12 {
			return events, errors.New("short record")
		}
		n := binary.LittleEndian.Uint64(data)
		if binary.LittleEndian.Uint32(data[8:]) != maskedCRC(data[:8]) {
			return events, errors.New("checksum of the length")
		}
		if uint64(len(data)) < 16+n {
			return events, errors.New("short record")
		}
		msg := data[12 : 12+n]
		if binary.LittleEndian.Uint32(data[12+n:]) != maskedCRC(msg) {
			return events, errors.New("checksum of the data")
		}
		text, err := decodeMessage(msg, "event")
		if err != nil {
			return events, err
		}
		events = append(events, text)
		data = data[16+n:]
	}
	return events, nil
}

var children = map[string]string{"event.5": "summary", "summary.1": "value", "event.7": "session"}

func decodeMessage(msg []byte, kind string) (string, error) {
	var parts []string
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return "", protowire.ParseError(n)
		}
		msg = msg[n:]
		var text string
		switch typ {
		case protowire.VarintType:
			v, m := protowire.ConsumeVarint(msg)
			n, text = m, fmt.Sprint(int64(v))
		case protowire.Fixed32Type:
			v, m := protowire.ConsumeFixed32(msg)
			n, text = m, fmt.Sprint(math.Float32frombits(v))
		case protowire.Fixed64Type:
			v, m := protowire.ConsumeFixed64(msg)
			n, text = m, fmt.Sprint(math.Float64frombits(v))
		case protowire.BytesType:
			v, m := protowire.ConsumeBytes(msg)
			n, text = m, fmt.Sprintf("%q", v)
			if child := children[fmt.Sprintf("%s.%d", kind, num)]; child != "" && m >= 0 {
				inner, err := decodeMessage(v, child)
				if err != nil {
					return "", err
				}
				text = "{" + inner + "}"
			}
		default:
			return "", fmt.Errorf("wire type %d", typ)
		}
		if n < 0 {
			return "", protowire.ParseError(n)
		}
		msg = msg[n:]
		parts = append(parts, fmt.Sprintf("%d:%s", num, text))
	}
	return strings.Join(parts, " "), nil
}

func TestDecoderReadsTensorBoardsOwnFile(t *testing.T) {
	data, err := os.ReadFile("testdata/reference.tfevents")
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeEvents(data)
	want := []string{
		`1:1.5 3:"brain.Event:2"`,
		`1:2.5 2:1 5:{1:{1:"loss/train" 2:2.5} 1:{1:"lr" 2:1}}`,
		`1:2.5 2:300 5:{1:{1:"loss/train" 2:-0.125} 1:{1:"lr" 2:1}}`,
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("%v\n%s", err, strings.Join(got, "\n"))
	}
	data[20] ^= 1
	if _, err := decodeEvents(data); err == nil {
		t.Error("a changed byte went unnoticed: the test could not fail")
	}
}

func writeEvents(t *testing.T, dir string) {
	t.Helper()
	clock := int64(1_700_000_000)
	now := func() time.Time { return time.Unix(clock, 250_000_000) }
	e, err := openEvents(dir, -1, now)
	if err != nil {
		t.Fatal(err)
	}
	for step := range int64(4) {
		clock++
		if err := e.Append(step, map[string]float64{"loss/train": 2 / float64(step+1), "lr": 0.001}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	// Resumed after step 1: steps 2 and 3 are logged again.
	if e, err = openEvents(dir, 1, now); err != nil {
		t.Fatal(err)
	}
	if err := e.Append(2, map[string]float64{"loss/train": 0.5, "grad": math.NaN()}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tb")
	writeEvents(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	var got []string
	var all []byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		events, err := decodeEvents(data)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, events...)
		all = append(all, data...)
	}
	want := `1:1.70000000025e+09 2:0 3:"brain.Event:2"
1:1.70000000125e+09 2:0 5:{1:{1:"loss/train" 2:2} 1:{1:"lr" 2:0.001}}
1:1.70000000225e+09 2:1 5:{1:{1:"loss/train" 2:1} 1:{1:"lr" 2:0.001}}
1:1.70000000325e+09 2:2 5:{1:{1:"loss/train" 2:0.6666667} 1:{1:"lr" 2:0.001}}
1:1.70000000425e+09 2:3 5:{1:{1:"loss/train" 2:0.5} 1:{1:"lr" 2:0.001}}
1:1.70000000425e+09 2:2 3:"brain.Event:2"
1:1.70000000425e+09 2:2 7:{1:1}
1:1.70000000425e+09 2:2 5:{1:{1:"grad" 2:NaN} 1:{1:"loss/train" 2:0.5}}`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if *update {
		if err := os.WriteFile("testdata/mito.tfevents", all, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile("testdata/mito.tfevents")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(all, golden) {
		t.Error("the bytes are not those that TensorBoard was seen to read")
	}
}

func TestTwoRunsInOneSecond(t *testing.T) {
	dir := t.TempDir()
	now := func() time.Time { return time.Unix(1, 0) }
	var names []string
	for range 3 {
		e, err := openEvents(dir, -1, now)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.f.Name())
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !(names[0] < names[1] && names[1] < names[2]) {
		t.Errorf("TensorBoard reads files in the order of their names: %v", names)
	}
	if _, err := OpenEvents(filepath.Join(names[0], "x"), -1); err == nil {
		t.Error("a folder inside a file")
	}
}

// The masked checksum of 32 zero bytes, from CRC32C's published value 0x8a9136aa (RFC 3720, B.4).
func TestMaskedCRC(t *testing.T) {
	crc := uint32(0x8a9136aa)
	want := (crc>>15 | crc<<17) + 0xa282ead8
	if got := maskedCRC(make([]byte, 32)); got != want {
		t.Errorf("%#x, want %#x", got, want)
	}
}
