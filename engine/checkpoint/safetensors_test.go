package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// raw frames a header and a body of n bytes as a file.
func raw(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

func entry(name, dtype, shape string, begin, end int) string {
	return fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, begin, end)
}

type malformed struct {
	name string
	data []byte
	want error
}

// malformedFiles are also seeds of FuzzDecode.
func malformedFiles() []malformed {
	a := entry("a", "F32", "[2]", 0, 8)
	deep := `{"a":` + strings.Repeat("[", 100000)
	return []malformed{
		{"nothing", nil, ErrTruncated},
		{"seven bytes", make([]byte, 7), ErrTruncated},
		{"no header", raw("", 0), ErrSyntax},
		{"header longer than file", raw("{"+a+"}", 8)[:20], ErrTruncated},
		{"huge header", binary.LittleEndian.AppendUint64(nil, maxHeader+1), ErrHeaderTooBig},
		{"negative header", binary.LittleEndian.AppendUint64(nil, math.MaxUint64), ErrHeaderTooBig},
		{"body cut short", raw("{"+a+"}", 7), ErrTruncated},
		{"body missing", raw("{"+a+"}", 0), ErrTruncated},
		{"bytes at the end", raw("{"+a+"}", 9), ErrGap},
		{"bytes without tensors", raw("{}", 1), ErrGap},
		{"gap at the start", raw("{"+entry("a", "F32", "[2]", 1, 9)+"}", 9), ErrGap},
		{"gap in the middle", raw("{"+a+","+entry("b", "I8", "[1]", 9, 10)+"}", 10), ErrGap},
		{"overlap", raw("{"+a+","+entry("b", "I8", "[4]", 7, 11)+"}", 11), ErrOverlap},
		{"same bytes twice", raw("{"+a+","+entry("b", "F32", "[2]", 0, 8)+"}", 8), ErrOverlap},
		{"empty tensor inside another", raw("{"+a+","+entry("b", "F32", "[0]", 4, 4)+"}", 8), ErrOverlap},
		{"end before begin", raw("{"+entry("a", "F32", "[0]", 4, 0)+"}", 4), ErrShape},
		{"shape and bytes disagree", raw("{"+entry("a", "F32", "[3]", 0, 8)+"}", 8), ErrShape},
		{"product overflows", raw("{"+entry("a", "F32", "[4294967296,4294967296]", 0, 0)+"}", 0), ErrOverflow},
		{"product overflows beside a zero", raw("{"+entry("a", "F32", "[0,4294967296,4294967296]", 0, 0)+"}", 0), ErrOverflow},
		{"dimension overflows", raw("{"+entry("a", "I8", "[18446744073709551617]", 0, 1)+"}", 1), ErrOverflow},
		{"negative dimension", raw("{"+entry("a", "I8", "[-1]", 0, 1)+"}", 1), ErrSyntax},
		{"fraction", raw("{"+entry("a", "I8", "[1.0]", 0, 1)+"}", 1), ErrSyntax},
		{"exponent", raw("{"+entry("a", "I8", "[1e0]", 0, 1)+"}", 1), ErrSyntax},
		{"number as text", raw(`{`+entry("a", "I8", `["1"]`, 0, 1)+`}`, 1), ErrSyntax},
		{"null in shape", raw(`{`+entry("a", "I8", `[null]`, 0, 1)+`}`, 1), ErrSyntax},
		{"null shape", raw(`{`+entry("a", "I8", `null`, 0, 1)+`}`, 1), ErrSyntax},
		{"too many dimensions", raw(`{`+entry("a", "I8", "["+strings.Repeat("1,", maxDims)+"1]", 0, 1)+`}`, 1), ErrShape},
		{"offset overflows", raw(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,99999999999999999999]}}`, 1), ErrOverflow},
		{"offset beyond file", raw(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]}}`, 1), ErrTruncated},
		{"one offset", raw(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[0]}}`, 1), ErrSyntax},
		{"three offsets", raw(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1,1]}}`, 1), ErrSyntax},
		{"no offsets", raw(`{"a":{"dtype":"I8","shape":[1]}}`, 1), ErrSyntax},
		{"unknown type", raw("{"+entry("a", "F64", "[1]", 0, 8)+"}", 8), ErrDType},
		{"type in lower case", raw("{"+entry("a", "f32", "[2]", 0, 8)+"}", 8), ErrDType},
		{"type is a number", raw(`{"a":{"dtype":3,"shape":[1],"data_offsets":[0,1]}}`, 1), ErrSyntax},
		{"key in another case", raw(`{"a":{"DType":"I8","shape":[1],"data_offsets":[0,1]}}`, 1), ErrSyntax},
		{"tensor twice", raw("{"+a+","+a+"}", 8), ErrDuplicate},
		{"tensor twice, escaped", raw("{"+a+","+strings.Replace(a, "a", `\u0061`, 1)+"}", 8), ErrDuplicate},
		{"key twice", raw(`{"a":{"dtype":"I8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, 1), ErrDuplicate},
		{"metadata twice", raw(`{"__metadata__":{},"__metadata__":{}}`, 0), ErrDuplicate},
		{"metadata not text", raw(`{"__metadata__":{"a":1}}`, 0), ErrSyntax},
		{"metadata null", raw(`{"__metadata__":{"a":null}}`, 0), ErrSyntax},
		{"tensor not an object", raw(`{"a":[]}`, 0), ErrSyntax},
		{"tensor null", raw(`{"a":null}`, 0), ErrSyntax},
		{"header an array", raw(`[]`, 0), ErrSyntax},
		{"header starts with a space", raw(` {}`, 0), ErrSyntax},
		{"something after the object", raw(`{}{}`, 0), ErrSyntax},
		{"zeros after the object", raw("{}\x00\x00", 0), ErrSyntax},
		{"header ends early", raw("{"+a, 8), ErrTruncated},
		{"not UTF-8", raw("{\"\xff\":1}", 0), ErrSyntax},
		{"deep nesting", raw(deep, 0), ErrSyntax},
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range malformedFiles() {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode(c.data)
			var fe *FormatError
			if !errors.Is(err, c.want) || !errors.As(err, &fe) {
				t.Fatalf("got %v, want a *FormatError of %v", err, c.want)
			}
			path := filepath.Join(t.TempDir(), "bad.safetensors")
			if err := os.WriteFile(path, c.data, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err = ReadFile(path)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("from the file: got %v, want %v with the path", err, c.want)
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	cases := map[string][]byte{
		"no tensors":        raw("{}", 0),
		"spaces at the end": raw("{}   \n", 0),
		"only metadata":     raw(`{"__metadata__":{"format":"pt"}}`, 0),
		"scalar":            raw("{"+entry("a", "I64", "[]", 0, 8)+"}", 8),
		"any order":         raw("{"+entry("b", "I8", "[1]", 8, 9)+","+entry("a", "F32", "[2]", 0, 8)+"}", 9),
		"empty between": raw(
			"{"+entry("z", "I8", "[2]", 0, 2)+","+entry("y", "I8", "[0]", 2, 2)+","+entry("a", "I8", "[1]", 2, 3)+"}", 3),
		"a key of later version": raw(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1],"note":"x"}}`, 1),
	}
	for name, data := range cases {
		if _, err := Decode(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every cut of a good file is refused: no prefix of a checkpoint passes for a smaller one.
func TestEveryTruncationRefused(t *testing.T) {
	data := encoded(t, sample(), map[string]string{"k": "v"})
	for n := range data {
		if _, err := Decode(data[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(data))
		}
	}
}

func TestGoldenFromReferenceImplementation(t *testing.T) {
	f, err := ReadFile("testdata/golden.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Expect("f32", "f16", "bf16", "i8", "u8", "i32", "i64", "empty", "größe"); err != nil {
		t.Fatal(err)
	}
	if f.Metadata["format"] != "pt" {
		t.Errorf("metadata %v", f.Metadata)
	}
	values := []float32{0, float32(math.Copysign(0, -1)), 1, -2.5, 0x1p-14, 65504}
	float := func(name string, d DType, want []float32, shape ...int) {
		x, err := f.Get(name, d, shape...)
		if err != nil {
			t.Error(err)
			return
		}
		got, err := x.Float()
		if err != nil || !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			t.Errorf("%s: %v %v, want %v", name, got, err, want)
		}
	}
	float("f32", F32, values, 2, 3)
	float("f16", F16, values, 3, 2)
	float("bf16", BF16, []float32{0, 1, -2.5, 256}, 4)
	float("empty", F32, []float32{}, 0, 4)
	if x, err := must(f.Get("i8", I8, 2, 2)).I8(); err != nil || !slices.Equal(x, []int8{-128, 127, 0, -1}) {
		t.Error(x, err)
	}
	if x, err := must(f.Get("u8", U8, 3)).U8(); err != nil || !slices.Equal(x, []byte{0, 128, 255}) {
		t.Error(x, err)
	}
	if x, err := must(f.Get("i32", I32, 2)).I32(); err != nil || !slices.Equal(x, []int32{math.MinInt32, math.MaxInt32}) {
		t.Error(x, err)
	}
	if x, err := must(f.Get("i64", I64)).I64(); err != nil || !slices.Equal(x, []int64{math.MinInt64}) {
		t.Error(x, err)
	}
	// The writer lays tensors as the reference does, so the same content is the same file.
	golden, err := os.ReadFile("testdata/golden.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if again := encoded(t, f.Tensors, f.Metadata); !bytes.Equal(golden, again) {
		t.Errorf("the reference wrote\n%q, this package\n%q", golden, again)
	}
}

func TestGetSaysWhatIsWrong(t *testing.T) {
	f := must(Decode(encoded(t, sample(), nil)))
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"missing":    {second(f.Get("nope", F32, 1)), ErrMissing},
		"type":       {second(f.Get("w", I8, 2, 3)), ErrDType},
		"shape":      {second(f.Get("w", F32, 3, 2)), ErrShape},
		"rank":       {second(f.Get("w", F32, 6)), ErrShape},
		"view":       {second(must(f.Get("w", F32, 2, 3)).I8()), ErrDType},
		"unexpected": {f.Expect("w"), ErrUnexpected},
		"expected":   {f.Expect("w", "q", "ids", "n", "none", "more"), ErrMissing},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: got %v, want %v", name, c.err, c.want)
		}
	}
}

func TestCheckFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, d := range []DType{F32, F16, BF16} {
		for _, v := range []float32{nan, inf, -inf} {
			x := must(FromF32As(d, "x", []int{3}, []float32{1, 2, v}))
			err := must(Decode(encoded(t, []Tensor{x}, nil))).CheckFinite()
			if !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), "element 2") {
				t.Errorf("%v of %v: %v", d, v, err)
			}
		}
		x := must(FromF32As(d, "x", []int{2}, []float32{65504, -0x1p-24}))
		if err := x.CheckFinite(); err != nil {
			t.Errorf("%v: %v", d, err)
		}
	}
	x := FromI8("x", []int{2}, []int8{-1, 127}) // 0xff 0x7f is a NaN pattern of a 16-bit float
	if err := x.CheckFinite(); err != nil {
		t.Error(err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		tensors []Tensor
		meta    map[string]string
		want    error
	}{
		"no name":        {[]Tensor{FromI8("", nil, []int8{1})}, nil, ErrSyntax},
		"metadata name":  {[]Tensor{FromI8(metaKey, nil, []int8{1})}, nil, ErrSyntax},
		"bad UTF-8":      {[]Tensor{FromI8("\xff", nil, []int8{1})}, nil, ErrSyntax},
		"bad metadata":   {nil, map[string]string{"a": "\xff"}, ErrSyntax},
		"twice":          {[]Tensor{FromI8("a", nil, []int8{1}), FromI8("a", nil, []int8{1})}, nil, ErrDuplicate},
		"shape":          {[]Tensor{FromI8("a", []int{2}, []int8{1})}, nil, ErrShape},
		"negative shape": {[]Tensor{FromI8("a", []int{-1}, nil)}, nil, ErrShape},
		"overflow":       {[]Tensor{FromI8("a", []int{math.MaxInt, 2}, nil)}, nil, ErrOverflow},
		"no type":        {[]Tensor{{Name: "a"}}, nil, ErrDType},
		"dimensions":     {[]Tensor{FromI8("a", slices.Repeat([]int{1}, maxDims+1), []int8{1})}, nil, ErrShape},
	} {
		if err := Encode(&bytes.Buffer{}, c.tensors, c.meta); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringN(1, 8, -1), 0, 6, rapid.ID).Draw(t, "names")
		var in []Tensor
		for _, n := range names {
			if n == metaKey {
				continue
			}
			d := DType(rapid.IntRange(int(F32), int(I64)).Draw(t, "dtype"))
			shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "shape")
			x := Tensor{Name: n, DType: d, Shape: shape}
			x.Data = rapid.SliceOfN(rapid.Byte(), x.Len()*d.Size(), x.Len()*d.Size()).Draw(t, "data")
			in = append(in, x)
		}
		meta := rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "metadata")
		var b bytes.Buffer
		if err := Encode(&b, in, meta); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(in)
		var again bytes.Buffer
		if err := Encode(&again, in, meta); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Fatalf("the order of the tensors changes the bytes (%v)", err)
		}
		f, err := Decode(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Tensors) != len(in) || len(f.Metadata) != len(meta) {
			t.Fatalf("%d tensors and %d metadata, want %d and %d", len(f.Tensors), len(f.Metadata), len(in), len(meta))
		}
		for _, x := range in {
			got, err := f.Get(x.Name, x.DType, x.Shape...)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Data, x.Data) {
				t.Fatalf("%q: other bytes", x.Name)
			}
		}
	})
}

func sample() []Tensor {
	return []Tensor{
		FromF32("w", []int{2, 3}, []float32{1, 2, 3, 4, 5, 6}),
		FromI8("q", []int{3}, []int8{-127, 0, 127}),
		FromI32("ids", []int{2}, []int32{-1, 7}),
		FromI64("n", nil, []int64{1 << 40}),
		FromU8("none", []int{0, 5}, nil),
	}
}

func encoded(t testing.TB, tensors []Tensor, meta map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, tensors, meta); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sameFile(a, b *File) bool {
	if len(a.Tensors) != len(b.Tensors) || len(a.Metadata) != len(b.Metadata) {
		return false
	}
	for k, v := range a.Metadata {
		if b.Metadata[k] != v {
			return false
		}
	}
	for i := range a.Tensors {
		x := &a.Tensors[i]
		y, err := b.Get(x.Name, x.DType, x.Shape...)
		if err != nil || !bytes.Equal(x.Data, y.Data) {
			return false
		}
	}
	return true
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func second[T any](_ T, err error) error { return err }
