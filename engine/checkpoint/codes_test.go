package checkpoint

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// codeMatrix draws a matrix of codes of so many bits times integers of groups.
func codeMatrix(rows, cols, bits int) (w []int8, scales []float32) {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	w, scales = make([]int8, rows*cols), make([]float32, rows)
	m := make([]int, rows*groups(cols))
	for i := range m {
		m[i] = r.IntN(MaxGroup(bits) + 1)
	}
	for i := range w {
		w[i] = int8((r.IntN(2*MaxCode(bits)+1) - MaxCode(bits)) * m[i/cols*groups(cols)+i%cols/CodeGroup])
	}
	for i := range scales {
		scales[i] = r.Float32()
	}
	return w, scales
}

// Every width and size comes back, tails too, in the bytes of the formula.
func TestCodes(t *testing.T) {
	for bits := Ternary; bits < WholeBits; bits++ {
		for _, s := range [][2]int{{1, 1}, {2, 7}, {3, 31}, {4, 32}, {5, 33}, {2, 96}, {3, 172}} {
			w, scales := codeMatrix(s[0], s[1], bits)
			list, err := CodeTensors("m", s[0], s[1], bits, w, scales)
			if err != nil {
				t.Fatal(err)
			}
			f := decoded(t, list)
			got, gotScales, err := f.Codes("m", s[0], s[1], bits)
			if err != nil {
				t.Fatalf("%d bits, %v: %v", bits, s, err)
			}
			if !slices.Equal(got, w) || !slices.Equal(gotScales, scales) {
				t.Errorf("%d bits, %v came back different", bits, s)
			}
			if got, want := f.Bytes(), int64(CodeBytes(s[0], s[1], bits)+4*s[0]); got != want {
				t.Errorf("%d bits, %v: %d bytes, the formula says %d", bits, s, got, want)
			}
			if err := f.Expect(CodeNames("m")...); err != nil {
				t.Error(err)
			}
		}
	}
	for bits, want := range map[int]int{4: 96 * (48 + 3), 3: 96 * (36 + 3), Ternary: 96 * (20 + 3)} {
		if got := CodeBytes(96, 96, bits); got != want {
			t.Errorf("%d bits: %d bytes, want %d", bits, got, want)
		}
	}
}

func TestCodesRefused(t *testing.T) {
	const rows, cols = 3, 43
	for name, c := range map[string]struct {
		bits   int
		want   error
		change func(list []Tensor)
		read   int // bits, 0 for those that were written
	}{
		"group too large":   {4, ErrRange, func(l []Tensor) { l[1].Data[2] = 19 }, 0},
		"code too large":    {3, ErrRange, func(l []Tensor) { l[0].Data[0] = 0xff }, 0},
		"tail":              {3, ErrRange, func(l []Tensor) { l[0].Data[rowBytes(cols, 3)-1] |= 0x80 }, 0},
		"ternary tail":      {Ternary, ErrRange, func(l []Tensor) { l[0].Data[rowBytes(cols, Ternary)-1] = 242 }, 0},
		"ternary byte":      {Ternary, ErrRange, func(l []Tensor) { l[0].Data[0] = 243 }, 0},
		"other bits":        {4, ErrShape, func([]Tensor) {}, 5},
		"no bits":           {4, ErrRange, func([]Tensor) {}, 1},
		"whole":             {4, ErrRange, func([]Tensor) {}, 8},
		"group of a row":    {4, ErrShape, func(l []Tensor) { l[1].Shape, l[1].Data = []int{rows, 1}, l[1].Data[:rows] }, 0},
		"group of another":  {4, ErrDType, func(l []Tensor) { l[1].DType = I8 }, 0},
		"scale is negative": {4, ErrRange, func(l []Tensor) { l[2].Data[3] = 0xbf }, 0},
	} {
		w, scales := codeMatrix(rows, cols, c.bits)
		list, err := CodeTensors("m", rows, cols, c.bits, w, scales)
		if err != nil {
			t.Fatal(err)
		}
		c.change(list)
		if c.read == 0 {
			c.read = c.bits
		}
		if _, _, err := decoded(t, list).Codes("m", rows, cols, c.read); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := CodeTensors("m", 1, 2, 4, []int8{127, 126}, []float32{1}); !errors.Is(err, ErrRange) {
		t.Errorf("weights of 8 bits as codes of 4: %v", err)
	}
	for _, bits := range []int{1, 8} {
		if _, err := CodeTensors("m", 1, 1, bits, []int8{0}, []float32{1}); !errors.Is(err, ErrRange) {
			t.Errorf("codes of %d bits: %v", bits, err)
		}
	}
}

func TestQuantizationOfCodes(t *testing.T) {
	q := NewInt8()
	q.AddCodes(4, []string{"a", "b"})
	q.AddCodes(Ternary, []string{"c"})
	if err := q.CheckInt8(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(q.Codes()); got != "map[a:4 b:4 c:2]" {
		t.Errorf("codes %s", got)
	}
	for name, change := range map[string]func(a *QuantArgs){
		"bits": func(a *QuantArgs) { a.NumBits = 8 }, "group": func(a *QuantArgs) { *a.GroupSize = 64 }, "no group": func(a *QuantArgs) { a.GroupSize = nil },
		"strategy": func(a *QuantArgs) { a.Strategy = "channel" }, "type": func(a *QuantArgs) { a.Type = "float" },
	} {
		q := NewInt8()
		q.AddCodes(4, []string{"a"})
		change(q.ConfigGroups["codes_4"].Weights)
		if err := q.CheckInt8(); !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCodes(f *testing.F) {
	f.Add(byte(4), []byte{1, 2, 3, 4, 5}, []byte{7, 18})
	f.Fuzz(func(t *testing.T, bits byte, packed, group []byte) {
		const rows, cols = 2, 5
		b := int(bits)
		list := []Tensor{
			FromU8("m.weight_packed", []int{rows, len(packed) / rows}, packed[:len(packed)/rows*rows]),
			FromU8("m.weight_group", []int{rows, len(group) / rows}, group[:len(group)/rows*rows]),
			FromF32("m.weight_scale", []int{rows, 1}, make([]float32, rows)),
		}
		file, err := NewFile("x", list)
		if err != nil {
			return
		}
		w, s, err := file.Codes("m", rows, cols, b)
		if err != nil {
			return
		}
		if _, err := CodeTensors("m", rows, cols, b, w, s); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
