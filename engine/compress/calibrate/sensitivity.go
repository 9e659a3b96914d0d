package calibrate

import (
	"context"
	"errors"
	"math"
	"slices"

	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/model"
	"mito/engine/student"
)

// sensitivityTokens are enough to tell matrices apart; every matrix and width costs a pass over them.
const sensitivityTokens = 4096

// Widths are the bits that a matrix may be given.
func Widths() []int { return []int{8, 7, 6, 5, 4, 3, quant.Ternary} }

// Sensitivity measures what each matrix of a float model costs in each of the widths: the mean KL divergence, in nats a token, of the
// student from the float model over some sequences, where only this matrix has so few bits and all others have 8, less that of
// the student where all have 8. The second result is the bytes of all that is no matrix. Errors: ctx's, those of quant.Quantize.
func Sensitivity(ctx context.Context, w *model.Weights, sequences [][]int32, o quant.Options, threads int) ([]quant.Choice, int, error) {
	var probe [][]int32
	tokens := 0
	for _, s := range sequences {
		if tokens += len(s); tokens > sensitivityTokens && len(probe) > 0 {
			break
		}
		probe = append(probe, s)
	}
	want, err := floatLogits(ctx, w, probe, threads)
	if err != nil {
		return nil, 0, err
	}
	var whole *student.Weights
	var choices []quant.Choice
	var baseline float64
	fixed := 0
	for _, bits := range Widths() {
		o.Bits = []quant.Rule{{Pattern: "*", Bits: bits}}
		q, r, err := quant.Quantize(ctx, w.Config, w.Tensors, o)
		if err != nil {
			return nil, 0, err
		}
		if whole == nil {
			whole, fixed = q, quant.StoredBytes(q, r)
			if baseline, err = divergence(ctx, whole, probe, want, threads); err != nil {
				return nil, 0, err
			}
		}
		for i, m := range r.Matrices {
			if bits == Widths()[0] {
				choices = append(choices, quant.Choice{Module: m.Name, Widths: []quant.Width{{Bits: bits, Bytes: m.Bytes}}})
				fixed -= m.Bytes
				continue
			}
			kl, err := divergence(ctx, replaced(whole, q, m.Name), probe, want, threads)
			if err != nil {
				return nil, 0, err
			}
			choices[i].Widths = append(choices[i].Widths, quant.Width{Bits: bits, Bytes: m.Bytes, Cost: max(0, kl-baseline)})
		}
	}
	return choices, fixed, nil
}

// replaced is a student with one matrix of another.
func replaced(w, other *student.Weights, module string) *student.Weights {
	out := *w
	out.Layers = slices.Clone(w.Layers)
	var found student.Matrix
	_ = other.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if name == module {
			found = *m
		}
		return nil
	})
	_ = out.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if name == module {
			*m = found
		}
		return nil
	})
	return &out
}

// floatLogits are those of the float model after each token, sequence by sequence.
func floatLogits(ctx context.Context, w *model.Weights, sequences [][]int32, threads int) (logits [][]float32, err error) {
	r, err := decode.NewFloat32(w, nil, decode.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return logits, score(ctx, r, sequences, func(l []float32) { logits = append(logits, slices.Clone(l)) })
}

// divergence is the mean KL divergence of a student from logits.
func divergence(ctx context.Context, w *student.Weights, sequences [][]int32, want [][]float32, threads int) (kl float64, err error) {
	r, err := decode.NewInt8(w, nil, decode.Options{Threads: threads})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	at := 0
	err = score(ctx, r, sequences, func(l []float32) {
		kl += klOf(want[at], l)
		at++
	})
	return kl / float64(max(1, at)), err
}

func score(ctx context.Context, r decode.Runtime, sequences [][]int32, use func(logits []float32)) error {
	s, err := r.NewSession(1)
	if err != nil {
		return err
	}
	for _, tokens := range sequences {
		s.Reset()
		if err := s.Score(0, tokens, func(_ int, l []float32) error {
			use(l)
			return ctx.Err()
		}); err != nil {
			return err
		}
	}
	return nil
}

// klOf is Σ p·log(p/q) of the softmax of two rows of logits.
func klOf(p, q []float32) (kl float64) {
	zp, zq := logSum(p), logSum(q)
	for i := range p {
		a, b := float64(p[i])-zp, float64(q[i])-zq
		kl += float64(math.Exp(a) * (a - b))
	}
	return kl
}

func logSum(x []float32) float64 {
	largest := float64(slices.Max(x))
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - largest)
	}
	return largest + math.Log(sum)
}
