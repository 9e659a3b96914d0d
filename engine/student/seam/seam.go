package seam

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/student"
)

// matrix is an INT8 weight in the backend's memory.
type matrix struct{ q, scale, bias *tensor.Dense }

// layer is one decoder layer: its weights, and views of the room for activations in its own widths, so that a pass makes
// none.
type layer struct {
	norm1, norm1Bias, norm2, norm2Bias *tensor.Dense
	query, key, value, output          matrix
	queryNorm, keyNorm                 *tensor.Dense
	gate, up, down                     matrix
	ple                                *perLayer // nil without per-layer embeddings
	args                               backend.AttentionArgs

	q, k, v, out   *tensor.Dense // [N,H·D], [N,G·D], [N,G·D], [N,H·D]
	qHeads, kHeads heads
	hidden, gated  *tensor.Dense // [N,F]
	outQ, hiddenQ  *tensor.Dense // quantised [N,H·D], [N,F]
}

// perLayer are the per-layer embeddings of a layer.
type perLayer struct{ table, gate, out matrix }

// heads are the rows of a projection, one for each head, and room for a copy of them; nil without QK-norm.
type heads struct{ x, copy *tensor.Dense }

// Runner holds a student's weights and the room for one batch of sequences. It is used by one goroutine at a time.
type Runner struct {
	b           backend.Backend
	config      arch.Config
	batch, time int
	slab        backend.Slab

	embedding, positions, head matrix
	layers                     []layer
	norm, normBias             *tensor.Dense
	cos, sin                   *tensor.Dense

	ids, places  *tensor.Dense // [N] i32
	x, h, logits *tensor.Dense // [N,C], [N,C], [N,V]
	xQ           *tensor.Dense // quantised [N,C]
	scales       *tensor.Dense // of whatever was quantised last [N]
	pleRow, ple  *tensor.Dense // [N,E] the tokens' rows, and their products with the gate
	pleQ         *tensor.Dense // quantised [N,E]
}

// New uploads the weights and makes room for batches of batch sequences of time tokens. Errors: those of
// student.Weights.Validate, backend.ErrOutOfMemory, and *arch.FieldError where time exceeds the context.
func New(b backend.Backend, w *student.Weights, batch, time int) (*Runner, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	if batch < 1 || time < 1 || time > w.Config.Context {
		return nil, &arch.FieldError{Field: "max_position_embeddings", Got: w.Config.Context,
			Want: fmt.Sprintf("room for %d sequences of %d tokens", batch, time)}
	}
	var sizer backend.Sizer
	if err := (&builder{a: &sizer}).build(&Runner{batch: batch, time: time, config: w.Config}, w); err != nil {
		return nil, err
	}
	slab, err := b.NewSlab(sizer.Bytes())
	if err != nil {
		return nil, fmt.Errorf("student of %d bytes: %w", sizer.Bytes(), err)
	}
	r := &Runner{b: b, batch: batch, time: time, config: w.Config, slab: slab}
	if err := (&builder{a: slab, upload: b.Upload, view: b.View}).build(r, w); err != nil {
		return nil, closeAfter(err, r)
	}
	return r, nil
}

func closeAfter(err error, r *Runner) error {
	if freeErr := r.Close(); freeErr != nil {
		return fmt.Errorf("%w; and: %w", err, freeErr)
	}
	return err
}

// Close gives the memory back.
func (r *Runner) Close() error { return r.slab.Free() }

// Logits computes the logits after every token of the batch.
//
// Errors: student.ErrToken before anything is computed, those of the backend.
//
//	dst [B,T,V] f32   tokens [B,T]
func (r *Runner) Logits(dst []float32, tokens []int32) error {
	for i, token := range tokens {
		if token < 0 || int(token) >= r.config.VocabSize {
			return fmt.Errorf("seam: token %d at position %d, the vocabulary has %d: %w", token, i, r.config.VocabSize, student.ErrToken)
		}
	}
	if err := r.b.Upload(r.ids, tokens); err != nil {
		return err
	}
	if err := r.forward(); err != nil {
		return err
	}
	return r.b.Download(dst, r.logits)
}

func (r *Runner) forward() error {
	err := r.b.QEmbed(r.x, r.embedding.q, r.embedding.scale, r.ids)
	if r.positions.q != nil {
		err = backend.First(err, r.b.QEmbed(r.h, r.positions.q, r.positions.scale, r.places), r.b.Add(r.x, r.x, r.h))
	}
	for i := range r.layers {
		err = backend.First(err, r.attention(&r.layers[i]), r.mlp(&r.layers[i]))
	}
	return backend.First(err, r.normalize(r.norm, r.normBias), r.linear(r.logits, r.xQ, r.head))
}

func (r *Runner) rows() int { return r.batch * r.time }

// normalize leaves the quantised norm of the residual stream in r.xQ.
func (r *Runner) normalize(gain, bias *tensor.Dense) error {
	kind := backend.RMS
	if r.config.Norm == arch.NormLayer {
		kind = backend.Layer
	}
	return backend.First(
		r.b.StudentNorm(r.h, r.x, gain, bias, kind, r.config.NormEps),
		r.b.QuantizeRows(r.xQ, r.scales, r.h),
	)
}

// linear multiplies rows that were quantised last.
func (r *Runner) linear(y, q *tensor.Dense, m matrix) error {
	return r.b.QLinear(y, q, r.scales, m.q, m.scale, m.bias)
}

// residual quantises x into q and adds linear(m, q) to the stream.
func (r *Runner) residual(q, x *tensor.Dense, m matrix) error {
	return backend.First(
		r.b.QuantizeRows(q, r.scales, x),
		r.linear(r.h, q, m),
		r.b.Add(r.x, r.x, r.h),
	)
}

func (r *Runner) attention(l *layer) error {
	return backend.First(
		r.normalize(l.norm1, l.norm1Bias),
		r.linear(l.q, r.xQ, l.query),
		r.linear(l.k, r.xQ, l.key),
		r.linear(l.v, r.xQ, l.value),
		r.place(l.q, l.qHeads, l.queryNorm),
		r.place(l.k, l.kHeads, l.keyNorm),
		r.b.QAttention(l.out, l.q, l.k, l.v, l.args),
		r.residual(l.outQ, l.out, l.output),
	)
}

// place normalises the heads of x where the model has QK-norm, and turns them by their positions where it has RoPE.
func (r *Runner) place(x *tensor.Dense, h heads, gain *tensor.Dense) (err error) {
	if gain != nil {
		err = backend.First(
			r.b.Copy(h.copy, h.x),
			r.b.StudentNorm(h.x, h.copy, gain, nil, backend.RMS, r.config.NormEps),
		)
	}
	if r.cos != nil {
		err = backend.First(err, r.b.RoPE(x, r.places, r.cos, r.sin, false))
	}
	return err
}

func (r *Runner) mlp(l *layer) error {
	err := backend.First(r.normalize(l.norm2, l.norm2Bias), r.linear(l.hidden, r.xQ, l.up))
	if l.ple != nil {
		err = backend.First(err,
			r.linear(r.ple, r.xQ, l.ple.gate), r.b.QEmbed(r.pleRow, l.ple.table.q, l.ple.table.scale, r.ids), r.b.Mul(r.ple, r.ple, r.pleRow))
	}
	if l.gate.q != nil {
		err = backend.First(err, r.linear(l.gated, r.xQ, l.gate), r.b.SwiGLU(l.hidden, l.gated, l.hidden))
	} else {
		err = backend.First(err, r.b.Activate(l.hidden, l.hidden, activations[r.config.Activation]))
	}
	err = backend.First(err, r.residual(l.hiddenQ, l.hidden, l.down))
	if l.ple != nil {
		err = backend.First(err, r.residual(r.pleQ, r.ple, l.ple.out))
	}
	return err
}

var activations = map[string]backend.Activation{
	arch.ActReLU: backend.ReLU, arch.ActReLU2: backend.ReLU2, arch.ActGELU: backend.GELU,
}
