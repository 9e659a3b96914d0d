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

type layer struct {
	norm1, norm1Bias, norm2, norm2Bias *tensor.Dense
	query, key, value, output          matrix
	queryNorm, keyNorm                 *tensor.Dense
	gate, up, down                     matrix
	shape                              arch.Layer
}

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

	ids, places                *tensor.Dense // [N] i32
	x, h, logits               *tensor.Dense // [N,C], [N,C], [N,V]
	q, k, v, out, spare        *tensor.Dense // widest of the layers
	up, gate                   *tensor.Dense
	quantized, quantizedScales *tensor.Dense
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
	if err := (&builder{a: slab, upload: b.Upload}).build(r, w); err != nil {
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
	d := do{b: r.b}
	d.err = r.b.QEmbed(r.x, r.embedding.q, r.embedding.scale, r.ids)
	if r.positions.q != nil {
		d.run(func() error { return r.b.QEmbed(r.h, r.positions.q, r.positions.scale, r.places) })
		d.run(func() error { return r.b.Add(r.x, r.x, r.h) })
	}
	for i := range r.layers {
		r.attention(&d, &r.layers[i])
		r.mlp(&d, &r.layers[i])
	}
	r.normalize(&d, r.norm, r.normBias)
	d.run(func() error { return r.linear(r.logits, r.quantized, r.head) })
	return d.err
}

// do keeps the first error and runs nothing after it.
type do struct {
	b   backend.Backend
	err error
}

func (d *do) run(f func() error) {
	if d.err == nil {
		d.err = f()
	}
}

// view is a tensor [rows,cols] over the beginning of t.
func (d *do) view(t *tensor.Dense, rows, cols int) (v *tensor.Dense) {
	d.run(func() (err error) {
		v, err = d.b.View(t, 0, rows, cols)
		return err
	})
	return v
}

func (r *Runner) rows() int { return r.batch * r.time }

// quantize quantises x [N,cols] into r.quantized.
func (r *Runner) quantize(d *do, x *tensor.Dense, cols int) *tensor.Dense {
	q := d.view(r.quantized, r.rows(), cols)
	d.run(func() error { return r.b.QuantizeRows(q, r.quantizedScales, x) })
	return q
}

// normalize leaves the quantised norm of the residual stream in the first columns of r.quantized.
func (r *Runner) normalize(d *do, gain, bias *tensor.Dense) *tensor.Dense {
	d.run(func() error { return r.b.StudentNorm(r.h, r.x, gain, bias, r.kind(), r.config.NormEps) })
	return r.quantize(d, r.h, r.config.HiddenSize)
}

func (r *Runner) kind() backend.NormKind {
	if r.config.Norm == arch.NormLayer {
		return backend.Layer
	}
	return backend.RMS
}

func (r *Runner) linear(y, q *tensor.Dense, m matrix) error {
	rows, cols := backend.Rows(m.q)
	q, err := r.b.View(q, 0, r.rows(), cols)
	if err == nil {
		y, err = r.b.View(y, 0, r.rows(), rows)
	}
	if err != nil {
		return err
	}
	return r.b.QLinear(y, q, r.quantizedScales, m.q, m.scale, m.bias)
}

// residual adds linear(m, q) to the stream.
func (r *Runner) residual(d *do, q *tensor.Dense, m matrix) {
	d.run(func() error { return r.linear(r.h, q, m) })
	d.run(func() error { return r.b.Add(r.x, r.x, r.h) })
}

func (r *Runner) attention(d *do, l *layer) {
	c, n := &r.config, r.rows()
	h8 := r.normalize(d, l.norm1, l.norm1Bias)
	q, k, v := d.view(r.q, n, l.shape.Heads*c.HeadDim), d.view(r.k, n, l.shape.KVHeads*c.HeadDim), d.view(r.v, n, l.shape.KVHeads*c.HeadDim)
	out := d.view(r.out, n, l.shape.Heads*c.HeadDim)
	d.run(func() error { return r.linear(q, h8, l.query) })
	d.run(func() error { return r.linear(k, h8, l.key) })
	d.run(func() error { return r.linear(v, h8, l.value) })
	r.place(d, q, l.queryNorm, l.shape.Heads)
	r.place(d, k, l.keyNorm, l.shape.KVHeads)
	args := backend.AttentionArgs{
		Batch: r.batch, Time: r.time, Heads: l.shape.Heads, KVHeads: l.shape.KVHeads, HeadDim: c.HeadDim, Window: l.shape.Window, Scale: l.shape.Scale,
	}
	d.run(func() error { return r.b.QAttention(out, q, k, v, args) })
	r.residual(d, r.quantize(d, out, l.shape.Heads*c.HeadDim), l.output)
}

// place normalises the heads of x where the model has QK-norm, and turns them by their positions where it has RoPE.
func (r *Runner) place(d *do, x, gain *tensor.Dense, heads int) {
	c, n := &r.config, r.rows()
	if gain != nil {
		from, to := d.view(r.spare, n*heads, c.HeadDim), d.view(x, n*heads, c.HeadDim)
		d.run(func() error { return r.b.Copy(from, to) })
		d.run(func() error { return r.b.StudentNorm(to, from, gain, nil, backend.RMS, c.NormEps) })
	}
	if r.cos != nil {
		d.run(func() error { return r.b.RoPE(x, r.places, r.cos, r.sin, false) })
	}
}

func (r *Runner) mlp(d *do, l *layer) {
	h8 := r.normalize(d, l.norm2, l.norm2Bias)
	width, _ := backend.Rows(l.up.q)
	up := d.view(r.up, r.rows(), width)
	d.run(func() error { return r.linear(up, h8, l.up) })
	if l.gate.q != nil {
		gate := d.view(r.gate, r.rows(), width)
		d.run(func() error { return r.linear(gate, h8, l.gate) })
		d.run(func() error { return r.b.SwiGLU(up, gate, up) })
	} else {
		d.run(func() error { return r.b.Activate(up, up, activations[r.config.Activation]) })
	}
	r.residual(d, r.quantize(d, up, width), l.down)
}

var activations = map[string]backend.Activation{
	arch.ActReLU: backend.ReLU, arch.ActReLU2: backend.ReLU2, arch.ActGELU: backend.GELU,
}
