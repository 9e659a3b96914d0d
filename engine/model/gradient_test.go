package model

import (
	"math"
	"testing"

	"mito/backend"
	"mito/kernels/kerneltest"
)

// tolerances of a whole model: 2 layers of about 10 dependent operations, each of some c·eps·√K relative to what goes
// through the residual stream. Devices that round the factors of products to bfloat16 are 2¹⁵ times coarser; they are
// tested in float32.
const (
	logitTolerance = 200 * kerneltest.Eps
	gradTolerance  = 2000 * kerneltest.Eps // 1.2e-4 of the norm of a tensor
	minCosine      = 0.9999
)

// Every parameter's gradient over whole sequences agrees with central differences of the float64 oracle, whose value
// is compared too. This catches keys and values without the gradient of later positions.
func TestGradients(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		for _, v := range variants {
			t.Run(v.name, func(t *testing.T) { checkGradients(t, b, v) })
		}
	})
}

func checkGradients(t *testing.T, b backend.Backend, v variant) {
	m := newModel(t, b, v.config())
	data := newBatch(m.Config, 2, 16)
	data.dropout, data.smoothing = v.dropout, v.smoothing
	losses, logits, grads := data.train(t, m, data.rows)
	host, err := m.Host()
	check(t, err)
	o := newOracle(host, data)

	want := o.logits()
	size := norm(want) / math.Sqrt(float64(len(want)))
	if err := kerneltest.Close(logits, want, func(i int) float64 { return logitTolerance * (math.Abs(want[i]) + size) }); err != nil {
		t.Fatalf("logits: %v", err)
	}
	if got, want := sum(losses)*float64(data.scale()), o.loss(); math.Abs(got-want) > logitTolerance*want {
		t.Fatalf("loss %v, want %v", got, want)
	}

	differences := map[string][]float64{}
	sampled := map[string][]float64{}
	largest := 0.0
	for _, p := range m.Params.List {
		for _, i := range sample(p) {
			differences[p.Name] = append(differences[p.Name], o.difference(p.Name, i))
			sampled[p.Name] = append(sampled[p.Name], float64(grads[p.Name][i]))
		}
		largest = max(largest, norm(differences[p.Name]))
	}
	for name, want := range differences {
		got := sampled[name]
		// A gradient that is zero by symmetry (the key bias, without RoPE) has no direction.
		if d := distance(got, want); d > gradTolerance*(norm(want)+0.01*largest) {
			t.Errorf("%s: off by %.3g of %.3g", name, d, norm(want))
		}
		if norm(want) > 1e-3*largest && dot(got, want) < minCosine*norm(got)*norm(want) {
			t.Errorf("%s: cosine %v", name, dot(got, want)/norm(got)/norm(want))
		}
	}
}

// difference is the central difference of the oracle's loss; its error is near 1e-9.
func (o *oracle) difference(name string, i int) float64 {
	const h = 1e-5
	w := o.w[name]
	old := w[i]
	w[i] = old + h
	up := o.loss()
	w[i] = old - h
	down := o.loss()
	w[i] = old
	return (up - down) / (2 * h)
}

// sample picks elements of a parameter: all of a small one, 16 spread over a large one.
func sample(p *Param) (at []int) {
	n := p.Size()
	for i := range min(n, 16) {
		at = append(at, i*n/min(n, 16))
	}
	return at
}

// The engine's own loss moves as its gradient says: differences through the engine along every tensor's gradient.
func TestGradientDirections(t *testing.T) {
	b := openCPU(t, 2)
	for _, v := range variants[:3] {
		m := newModel(t, b, v.config())
		data := newBatch(m.Config, 2, 16)
		_, _, grads := data.train(t, m, data.rows)
		for _, p := range m.Params.List {
			g := grads[p.Name]
			length := 0.0
			for _, x := range g {
				length += float64(x) * float64(x)
			}
			if length = math.Sqrt(length); length < 1e-4 {
				continue
			}
			old := make([]float32, p.Size())
			check(t, b.Download(old, p.Value))
			at := func(h float64) float64 {
				w := make([]float32, len(old))
				for i := range w {
					w[i] = float32(float64(old[i]) + h*float64(g[i])/length)
				}
				check(t, b.Upload(p.Value, w))
				losses, _, _ := data.train(t, m, data.rows)
				return sum(losses) * float64(data.scale())
			}
			// A step of 1e-2 leaves 1e-4 times a third derivative, and 1e-7/2e-2 of rounding.
			const h = 1e-2
			slope := (at(h) - at(-h)) / (2 * h)
			check(t, b.Upload(p.Value, old))
			if math.Abs(slope-length) > 0.01*length+2e-5 {
				t.Errorf("%s %s: slope %v along a gradient of length %v", v.name, p.Name, slope, length)
			}
		}
	}
}

func dot(x, y []float64) (s float64) {
	for i := range x {
		s += x[i] * y[i]
	}
	return s
}

func norm(x []float64) float64 { return math.Sqrt(dot(x, x)) }

func distance(x, y []float64) float64 {
	d := make([]float64, len(x))
	for i := range x {
		d[i] = x[i] - y[i]
	}
	return norm(d)
}
