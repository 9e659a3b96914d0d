package quant

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/student"
)

// What either method makes of a row are codes of its bits; the search is not worse, and more bits are better.
func TestCodesOfRows(t *testing.T) {
	for _, width := range widths {
		for seed := range uint64(6) {
			rng := rand.New(rand.NewPCG(seed, uint64(width)))
			x, weight := randomRow(rng, width), make([]float32, width)
			for i := range weight {
				weight[i] = rng.Float32() + 0.01
				if i/groupSize == 1 {
					x[i] *= 0.01 // a group of its own size
				}
			}
			last := math.Inf(1)
			for bits := Ternary; bits <= 7; bits++ {
				q := make([]int8, width)
				errs := map[Method]float64{}
				for _, m := range []Method{RoundToNearest, Search} {
					s := scalerOf(t, m)(q, x, weight, bits)
					errs[m] = rowError(q, x, weight, s)
					if _, err := checkpoint.CodeTensors("m", 1, width, bits, q, []float32{s}); err != nil {
						t.Fatalf("%s: %v", m, err)
					}
				}
				if errs[Search] > errs[RoundToNearest]*1.0001 {
					t.Errorf("width %d, %d bits: error %g, round to nearest has %g", width, bits, errs[Search], errs[RoundToNearest])
				}
				if errs[Search] > last*1.0001 && width > 1 {
					t.Errorf("width %d: %d bits leave %g, one less %g", width, bits, errs[Search], last)
				}
				last = errs[Search]
			}
		}
	}
}

// The codes of many rows are those that amd64 chooses.
func TestCodesAreTheSameEverywhere(t *testing.T) {
	const golden = "b56cd48173c8aecd31f37717c39b90449d984755716aa37a30e364ad02495623"
	rng := rand.New(rand.NewPCG(9, 9))
	sum := sha256.New()
	for i := range 240 {
		width := widths[i%len(widths)]
		x, weight, q := make([]float32, width), make([]float32, width), make([]int8, width)
		for i := range x {
			x[i], weight[i] = rng.Float32()-0.5, rng.Float32()
		}
		scale := searchGroups(q, x, weight, Ternary+i/6%6)
		for _, v := range q {
			sum.Write([]byte{byte(v)})
		}
		sum.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(scale)))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != golden {
		t.Errorf("digest %s, amd64 has %s", got, golden)
	}
}

// Codes on disk are the same student, in the bytes of the formula, whole or in blocks beside them.
func TestSaveLoadCodes(t *testing.T) {
	for name, c := range configs() {
		tensors := randomTensors(t, c, 2)
		whole := 0
		for _, rules := range []string{"8", "7", "6", "5", "4", "3", "ternary", "mlp.*=4,embed=ternary,layers.0.attn.q=3,model.layers.*.self_attn.o_proj=6"} {
			if name == "edge" && rules != "8" && rules != "4" {
				continue // the widths are those of the small ones too
			}
			r, err := ParseRules(rules)
			if err != nil {
				t.Fatal(err)
			}
			w, report, err := Quantize(t.Context(), c, tensors, Options{Bits: r})
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "student")
			if err := Save(dir, w, report); err != nil {
				t.Fatal(err)
			}
			back, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := digest(t, back), digest(t, w); got != want {
				t.Errorf("%s, %s: digest %s after loading, %s before", name, rules, got, want)
			}
			f, err := checkpoint.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Weights.Bytes(); got != int64(StoredBytes(w, report)) {
				t.Errorf("%s, %s: %d bytes of tensors, the formula says %d", name, rules, got, StoredBytes(w, report))
			}
			info, err := os.Stat(filepath.Join(dir, checkpoint.WeightsName))
			if err != nil {
				t.Fatal(err)
			}
			if size, f := float64(info.Size()), float64(FileSize(w, report)); name == "edge" && size > 1.03*f || name == "edge" && size < 0.97*f {
				t.Errorf("%s, %s: %v bytes on disk, the formula says %v", name, rules, size, f)
			}
			if rules == "8" {
				whole = StoredBytes(w, report)
			} else if got := StoredBytes(w, report); name == "edge" && rules == "4" && float64(got) > 0.6*float64(whole) {
				t.Errorf("4 bits take %d bytes, 8 take %d", got, whole)
			}
			sum := 0
			for _, m := range report.Matrices {
				sum += m.Bytes
			}
			vectors := 0
			_ = w.Visit(func(_ string, m *student.Matrix, v *[]float32) error {
				if m == nil {
					vectors += 4 * len(*v)
				}
				return nil
			})
			if sum+vectors != StoredBytes(w, report) {
				t.Errorf("%s, %s: the report's matrices take %d bytes, all %d", name, rules, sum, StoredBytes(w, report)-vectors)
			}
		}
	}
}

func TestRules(t *testing.T) {
	for text, want := range map[string]error{
		"9": ErrBits, "1": ErrBits, "mlp.*=": ErrBits, "": ErrBits, "mlp.*=4,attn.*=f16": ErrBits, "[=4": ErrPattern, "=4": ErrPattern,
	} {
		if _, err := ParseRules(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	c := config0()
	for text, want := range map[string]map[string]int{
		"mlp.*=4,mlp.up=6":       {"model.layers.0.mlp.up_proj": 6, "model.layers.1.mlp.down_proj": 4, "model.embed_tokens": 8},
		"4,layers.1.*=8,embed=3": {"model.layers.0.mlp.up_proj": 4, "model.layers.1.mlp.down_proj": 8, "model.embed_tokens": 3},
		"self_attn.q_proj=7":     {"model.layers.0.self_attn.q_proj": 7, "model.layers.0.self_attn.k_proj": 8},
	} {
		rules, err := ParseRules(text)
		if err != nil {
			t.Fatal(err)
		}
		bits, err := BitsOf(c, rules)
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range want {
			if bits[name] != n {
				t.Errorf("%s gives %s %d bits, want %d", text, name, bits[name], n)
			}
		}
	}
	if _, _, err := Quantize(t.Context(), c, randomTensors(t, c, 1), Options{Bits: []Rule{{"conv.*", 4}}}); !errors.Is(err, ErrPattern) {
		t.Errorf("a rule for nothing: %v", err)
	}
}
