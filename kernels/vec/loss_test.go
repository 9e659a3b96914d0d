package vec

import (
	"math"
	"testing"

	"mito/kernels/ref"
)

func TestCrossEntropyClosedForm(t *testing.T) {
	// softmax(ln 1, ln 2, ln 5) = 1/8, 2/8, 5/8.
	x := []float32{0, float32(math.Log(2)), float32(math.Log(5))}
	d := make([]float32, 3)
	near(t, "loss", float64(CrossEntropyRow(d, x, 1, 0, 0.5, false)), math.Log(4), within{1, 0})
	nearAll(t, "gradient", d, []float64{0.0625, -0.375, 0.3125}, within{2, 0})
	// Smoothing 0.3: the target distribution is 0.1, 0.8, 0.1.
	loss := CrossEntropyRow(d, x, 1, 0.3, 1, true)
	near(t, "smoothed loss", float64(loss), 0.1*math.Log(8)+0.8*math.Log(4)+0.1*math.Log(1.6), within{2, 0})
	nearAll(t, "accumulated gradient", d, []float64{0.0625 + 0.025, -0.375 - 0.55, 0.3125 + 0.525}, within{2, 0})
}

func TestCrossEntropy(t *testing.T) {
	r := rng(t)
	for _, n := range []int{2, 7, 64, 300, 1000} {
		for _, smoothing := range []float32{0, 0.1} {
			x := normal(r, n, 3)
			target := r.IntN(n)
			d := make([]float32, n)
			loss := CrossEntropyRow(d, x, target, smoothing, 0.25, false)
			// The logarithm of the sum, up to 8, is rounded, and takes over what the sum is off by.
			near(t, "loss", float64(loss), ref.CrossEntropy(wide(x), target, float64(smoothing)), within{2, 8 + 2*laneSum(n)})
			want := ref.Gradient(func(x []float64) float64 { return 0.25 * ref.CrossEntropy(x, target, float64(smoothing)) }, wide(x), 1e-5)
			// A probability is the exponential of a number that was rounded, up to 12 in size.
			nearAll(t, "gradient", d, want, within{12, 0.25})
			if l := CrossEntropyRow(nil, x, target, smoothing, 0.25, false); l != loss {
				t.Error("the loss depends on dlogits")
			}
			acc := make([]float32, n)
			CrossEntropyRow(acc, x, target, smoothing, 0.25, true)
			CrossEntropyRow(x, x, target, smoothing, 0.25, false)
			for i := range d {
				if x[i] != d[i] || acc[i] != d[i] {
					t.Fatalf("n %d i %d: set %g, in place %g, added to zero %g", n, i, d[i], x[i], acc[i])
				}
			}
		}
	}
	if !isNaN(CrossEntropyRow(nil, []float32{0, float32(math.NaN())}, 0, 0, 1, false)) {
		t.Error("NaN lost")
	}
}

func TestKLClosedForm(t *testing.T) {
	// At T = 2 the student's distribution is 1/8, 2/8, 5/8; the teacher's 1/2, 1/4, 1/4.
	x := []float32{0, float32(2 * math.Log(2)), float32(2 * math.Log(5))}
	p := []float32{0.5, 0.25, 0.25}
	d := []float32{1, 0, 0}
	kl := KLRow(d, x, p, 2, 0.5)
	want := 4 * (0.5*math.Log(4) + 0 + 0.25*math.Log(0.4)) // T² and teacher ‖ student, not the reverse
	near(t, "kl", float64(kl), want, within{1, 0})
	// T²/T times (q-p) times scale.
	nearAll(t, "gradient", d, []float64{1 - 0.375, 0, 0.375}, within{1, 0.5})

	d = []float32{1, 0, 0}
	kl = KLTopKRow(d, x, []int32{0}, p[:1], 0.5, 2, 0.5)
	want = 4 * (0.5*math.Log(4) + 0.5*math.Log(0.5*8/7))
	near(t, "kl top 1", float64(kl), want, within{1, 0})
	w := 1 - 0.5*8/7.0
	nearAll(t, "gradient top 1", d, []float64{1 - 0.375, 0.25 * w, 0.625 * w}, within{2, 0})
}

func TestKL(t *testing.T) {
	r := rng(t)
	for _, n := range []int{3, 64, 300, 1000} {
		for _, temperature := range []float32{1, 2, 4} {
			x, teacher, p := normal(r, n, 3), normal(r, n, 3), make([]float32, n)
			SoftmaxScaled(p, teacher, 1/temperature)
			d := make([]float32, n)
			// A sum of terms p·(log p - log q) whose logarithms, up to 12, were rounded; the whole is multiplied by T².
			tol := within{4, 8 * float64(temperature*temperature)}
			// A difference of two probabilities that are off by up to 8 roundings each.
			slope := within{8, 1}
			near(t, "kl", float64(KLRow(d, x, p, temperature, 0.5)), ref.KL(wide(x), wide(p), float64(temperature)), tol)
			want := ref.Gradient(func(x []float64) float64 { return 0.5 * ref.KL(x, wide(p), float64(temperature)) }, wide(x), 1e-4)
			nearAll(t, "gradient", d, want, slope)

			// Teacher reduced to its first entries, in no order.
			ids := []int32{int32(n - 1), 0, int32(n / 2)}[:min(3, n-1)]
			probs := make([]float32, len(ids))
			tail := 1.0
			for j, id := range ids {
				probs[j] = p[id]
				tail -= float64(p[id])
			}
			clear(d)
			got := KLTopKRow(d, x, ids, probs, float32(tail), temperature, 0.5)
			oracle := func(x []float64) float64 {
				return ref.KLTopK(x, ids, wide(probs), float64(float32(tail)), float64(temperature))
			}
			near(t, "kl top k", float64(got), oracle(wide(x)), tol)
			want = ref.Gradient(func(x []float64) float64 { return 0.5 * oracle(x) }, wide(x), 1e-4)
			nearAll(t, "gradient top k", d, want, slope)
			if l := KLTopKRow(nil, x, ids, probs, float32(tail), temperature, 0.5); l != got {
				t.Error("the loss depends on dlogits")
			}
		}
	}
}

func TestSelfDistillation(t *testing.T) {
	r := rng(t)
	for _, temperature := range []float32{1, 3} {
		x := normal(r, 300, 3)
		p, d := make([]float32, len(x)), make([]float32, len(x))
		SoftmaxScaled(p, x, 1/temperature)
		kl := KLRow(d, x, p, temperature, 1)
		// What is left is the rounding of logarithms, up to 4 in size, times T².
		tol := within{0, 4 * float64(temperature*temperature)}
		near(t, "kl", float64(kl), 0, tol)
		for i, v := range d {
			if v != 0 {
				t.Fatalf("gradient[%d] = %g, want exactly 0", i, v)
			}
		}
		ids, probs := []int32{5, 17, 250}, []float32{p[5], p[17], p[250]}
		tail := 1 - float64(p[5]) - float64(p[17]) - float64(p[250])
		kl = KLTopKRow(d, x, ids, probs, float32(tail), temperature, 1)
		near(t, "kl top k", float64(kl), 0, tol)
		nearAll(t, "gradient top k", d, make([]float64, len(d)), within{0, 0.25})
	}
}

func TestKLTopKExtremes(t *testing.T) {
	// The student gives the tail no mass at all: the loss is large but finite, and so is the gradient.
	x := []float32{200, 0, 0}
	d := make([]float32, 3)
	kl := KLTopKRow(d, x, []int32{0}, []float32{0.5}, 0.5, 1, 1)
	if !(kl > 30 && kl < 100) {
		t.Errorf("kl %g", kl)
	}
	near(t, "gradient", float64(d[0]), 0.5, within{1, 0})
	for _, v := range d {
		if !(math.Abs(float64(v)) <= 1) {
			t.Errorf("gradient %v", d)
		}
	}
	// All entries known, no tail: as KLRow.
	y, p, a, b := []float32{1, 2, 3}, []float32{0.2, 0.3, 0.5}, make([]float32, 3), make([]float32, 3)
	k1, k2 := KLRow(a, y, p, 2, 1), KLTopKRow(b, y, []int32{2, 0, 1}, []float32{0.5, 0.2, 0.3}, 0, 2, 1)
	near(t, "kl", float64(k2), float64(k1), within{1, 0})
	nearAll(t, "gradient", b, wide(a), within{1, 0})
	// A probability of zero adds nothing.
	if kl := KLRow(nil, []float32{0, 0}, []float32{1, 0}, 1, 1); math.Abs(float64(kl)-math.Ln2) > 4*eps32 {
		t.Errorf("kl %g", kl)
	}
}
