package quant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"mito/engine/arch"
	"mito/engine/student"
	"mito/kernels/sentinel"
	"mito/kernels/vec"
)

// Method says how the scale of a row is found.
type Method string

const (
	// Search minimises the squared error over clip ratios, then fits the scale to the chosen integers by least squares.
	Search Method = "search"
	// RoundToNearest takes the largest magnitude over 127.
	RoundToNearest Method = "rtn"
	// Sigma clips at some standard deviations of the row, or of the group of codes.
	Sigma Method = "sigma"
	// GPTQ searches the scales, then rounds column by column and makes up for each error in the columns behind it, by the Hessians of a
	// calibration.
	GPTQ Method = "gptq"
)

// A way to find the scale of a row: it fills q [n] from x [n], minding the weights [n] of the errors, and returns the scale. Of
// fewer than 8 bits q holds codes times the integers of their groups.
type scaler func(q []int8, x, weight []float32, bits int) float32

// Methods lists the methods, the default first.
func Methods() []Method { return []Method{Search, RoundToNearest, Sigma, GPTQ} }

// DefaultSigma is where Sigma clips unless told otherwise.
const DefaultSigma = 4

func (m Method) scaler(sigma float64) (scaler, error) {
	switch m {
	case "", Search, GPTQ:
		return searchRow, nil
	case Sigma:
		if sigma == 0 {
			sigma = DefaultSigma
		}
		if !(sigma > 0) || math.IsInf(sigma, 1) {
			return nil, fmt.Errorf("quant: %w: %v standard deviations, want a positive number", ErrMethod, sigma)
		}
		return func(q []int8, x, _ []float32, bits int) float32 { return clippedRow(q, x, bits, sigma) }, nil
	case RoundToNearest:
		return nearestRow, nil
	}
	return nil, fmt.Errorf("quant: %w: %q, want one of %q", ErrMethod, m, Methods())
}

func searchRow(q []int8, x, weight []float32, bits int) float32 {
	if bits == wholeBits {
		return SearchRow(q, x, weight)
	}
	return searchGroups(q, x, weight, bits)
}

func nearestRow(q []int8, x, _ []float32, bits int) float32 {
	if bits == wholeBits {
		return vec.QuantizeRow(q, x)
	}
	return plainGroups(q, x, bits, magnitudes(x))
}

// Errors that callers tell apart.
var (
	ErrMissing    = sentinel.ErrMissing
	ErrUnexpected = sentinel.ErrUnexpected
	ErrShape      = sentinel.ErrShape
	ErrNotFinite  = sentinel.ErrNotFinite
	ErrOverlap    = errors.New("calibration data overlaps evaluation data")
	ErrMethod     = errors.New("unknown method")
)

// Options of Quantize. The zero value searches without calibration.
type Options struct {
	Method Method  // "" means Search
	Bits   []Rule  // codes of fewer bits than 8, by module
	Sigma  float64 // standard deviations at which Sigma clips; 0 means DefaultSigma
	// Smooth moves the sizes of channels from activations to weights, by this power of them, in the gains of the norms before
	// products (see smooth); 0 for not at all. It needs a calibration.
	Smooth      float64
	Calibration *Calibration // weighs the errors; nil weighs them alike
	Evaluation  *Samples     // what the result will be judged on; quantising on any of it is refused

	// What the float model was pruned by, for config.json, and whether the student is stored in the blocks that hold something.
	Pruning json.RawMessage
	Blocks  bool
}

// Calibration holds statistics of a float model's activations over samples of training data.
type Calibration struct {
	Samples *Samples
	// SecondMoment has the mean square of each input channel, [Cols], by the name of the module that reads it
	// (model.layers.0.mlp.up_proj). Modules that are not in it are weighed alike.
	SecondMoment map[string][]float32
	// Largest has the largest magnitude of each input channel in the same way, and Hessian the mean products of channels, [Cols,Cols],
	// without damping; nil where they were not gathered.
	Largest map[string][]float32
	Hessian map[string][]float64
}

// Report says what quantisation did.
type Report struct {
	Method      Method             `json:"method"`
	Matrices    []MatrixError      `json:"matrices"`
	Calibration *CalibrationRecord `json:"calibration,omitempty"`

	// What the float model was pruned by, for config.json, and whether matrices are stored in the blocks that hold something.
	Pruning json.RawMessage `json:"pruning,omitempty"`
	Blocks  bool            `json:"blocks,omitempty"`
}

// bits gives the bits of a module; r may be nil.
func (r *Report) bits(module string) int {
	if r != nil {
		for _, m := range r.Matrices {
			if m.Name == module && m.Bits != 0 {
				return m.Bits
			}
		}
	}
	return wholeBits
}

// MatrixError says what became of one matrix. Its error is RMS(W - scale·Q)/RMS(W); weighted, W and Q count by what a calibration
// saw them multiplied with, which is about the relative error of the product.
type MatrixError struct {
	Name     string  `json:"name"`
	Bits     int     `json:"bits"`  // 2 for ternary
	Bytes    int     `json:"bytes"` // on disk, scales included
	Relative float64 `json:"relative_rms_error"`
	Weighted float64 `json:"weighted_rms_error,omitempty"` // with a calibration
}

// CalibrationRecord says which data the scales have seen.
type CalibrationRecord struct {
	Samples int    `json:"samples"`
	Hash    string `json:"hash"` // Samples.Hash
}

// Quantize makes a student of a float model. tensors holds the float values by the names of a Hugging Face folder
// (model.layers.0.mlp.up_proj.weight, row-major [out,in]), all of the configuration and nothing else. Errors:
// ctx's, *arch.FieldError, ErrMissing, ErrUnexpected, ErrShape, ErrNotFinite, ErrOverlap, ErrMethod.
func Quantize(ctx context.Context, c arch.Config, tensors map[string][]float32, o Options) (*student.Weights, *Report, error) {
	scale, err := o.Method.scaler(o.Sigma)
	if err != nil {
		return nil, nil, err
	}
	if o.Method == "" {
		o.Method = Search
	}
	r := &Report{Method: o.Method, Pruning: o.Pruning, Blocks: o.Blocks}
	if o.Calibration != nil {
		rec, err := o.Calibration.Record(o.Evaluation)
		if err != nil {
			return nil, nil, err
		}
		r.Calibration = rec
	}
	if o.Method == GPTQ && (o.Calibration == nil || o.Calibration.Hessian == nil) {
		return nil, nil, fmt.Errorf("quant: %w: gptq without a calibration that has Hessians", ErrMissing)
	}
	if tensors, o.Calibration, err = smooth(c, tensors, o.Calibration, o.Smooth); err != nil {
		return nil, nil, err
	}
	w, err := student.NewWeights(c)
	if err != nil {
		return nil, nil, err
	}
	bits, err := BitsOf(w.Config, o.Bits)
	if err != nil {
		return nil, nil, err
	}
	used := 0
	take := func(name string, n int) ([]float32, error) {
		x, ok := tensors[name]
		if !ok {
			return nil, fmt.Errorf("quant: %s: %w", name, ErrMissing)
		}
		if len(x) != n {
			return nil, fmt.Errorf("quant: %s: %w: %d, want %d", name, ErrShape, len(x), n)
		}
		for i, v := range x {
			if v-v != 0 {
				return nil, fmt.Errorf("quant: %s: element %d is %v: %w", name, i, v, ErrNotFinite)
			}
		}
		used++
		return x, nil
	}
	err = w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if m == nil {
			x, err := take(name, len(*v))
			copy(*v, x)
			DropTiny(*v)
			return err
		}
		x, err := take(name+".weight", len(m.Q))
		if err != nil {
			return err
		}
		var weight []float32
		if o.Calibration != nil {
			weight = o.Calibration.SecondMoment[name]
			if weight != nil && len(weight) != m.Cols {
				return fmt.Errorf("quant: calibration of %s: %w: %d, want %d", name, ErrShape, len(weight), m.Cols)
			}
		}
		if err := quantizeMatrix(ctx, m, x, weight, bits[name], scale); err != nil {
			return err
		}
		if o.Method == GPTQ && o.Calibration.Hessian[name] != nil {
			if err := compensate(ctx, m, x, weight, o.Calibration.Hessian[name], bits[name]); err != nil {
				return err
			}
		}
		for row, s := range m.Scale {
			if s < student.MinMagnitude {
				m.Scale[row] = 0
				clear(m.Q[row*m.Cols:][:m.Cols])
			}
		}
		e := MatrixError{Name: name, Bits: bits[name], Relative: relative(m, x, nil)}
		if weight != nil {
			e.Weighted = relative(m, x, weight)
		}
		r.Matrices = append(r.Matrices, e)
		if m.Bias != nil {
			b, err := take(name+".bias", m.Rows)
			copy(m.Bias, b)
			DropTiny(m.Bias)
			return err
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, m := range c.Modules() { // a second head is not part of what ships
		if m.Part != arch.AuxHead {
			continue
		}
		if _, err := take(m.Weight().Name, int(m.Weight().Size())); err != nil {
			return nil, nil, err
		}
	}
	if used != len(tensors) {
		return nil, nil, unexpected(w, tensors)
	}
	r.measure(w)
	return w, r, nil
}

// Describe reports what weights that were rounded elsewhere than in Quantize are: their bits by module, and their error beside the
// float values by name.
func Describe(method Method, w *student.Weights, tensors map[string][]float32, bits map[string]int) *Report {
	r := &Report{Method: method}
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m != nil {
			r.Matrices = append(r.Matrices, MatrixError{Name: name, Bits: bits[name], Relative: relative(m, tensors[name+".weight"], nil)})
		}
		return nil
	})
	r.measure(w)
	return r
}

// DropTiny makes numbers that are too small for a student 0, and says whether there was one.
func DropTiny(v []float32) (found bool) {
	for i, x := range v {
		if x != 0 && x > -student.MinMagnitude && x < student.MinMagnitude {
			v[i], found = 0, true
		}
	}
	return found
}

// unexpected names a tensor that the configuration has no place for.
func unexpected(w *student.Weights, tensors map[string][]float32) error {
	known := map[string]bool{}
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		known[name] = m == nil
		if m != nil {
			known[name+".weight"], known[name+".bias"] = true, m.Bias != nil
		}
		return nil
	})
	for name := range tensors {
		if !known[name] {
			return fmt.Errorf("quant: %s: %w", name, ErrUnexpected)
		}
	}
	return ErrUnexpected
}

// quantizeMatrix fills m from x [Rows,Cols]. Errors: ctx's.
func quantizeMatrix(ctx context.Context, m *student.Matrix, x, weight []float32, bits int, scale scaler) error {
	for r := range m.Rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.Scale[r] = scale(m.Q[r*m.Cols:][:m.Cols], x[r*m.Cols:][:m.Cols], weight, bits)
	}
	return nil
}

// relative is the error of m, which stands for x, as a share of x; both count by the weights of the columns, or alike.
func relative(m *student.Matrix, x, weight []float32) float64 {
	var lost, total float64
	zero := make([]int8, m.Cols)
	for r := range m.Rows {
		row := x[r*m.Cols:][:m.Cols]
		lost += rowError(m.Q[r*m.Cols:][:m.Cols], row, weight, m.Scale[r])
		total += rowError(zero, row, weight, 0)
	}
	if total == 0 {
		return 0
	}
	return math.Sqrt(lost / total)
}

// Clip ratios that the search tries. Rows of trained models rarely profit from clipping more than a third at 8 bits.
const (
	clipSteps = 40
	clipStep  = 0.01
)

// SearchRow quantises one row (q, x [n]) to [-127,127] with the scale that minimises Σ weight[i]·(x[i] - scale·q[i])² over the
// clip ratios 1, 0.99, … 0.6 and a least-squares refinement of the best, and returns the scale. A nil weight is all ones.
// Products are rounded before they are added, so that every processor chooses the same scale.
func SearchRow(q []int8, x, weight []float32) float32 {
	best := vec.QuantizeRow(q, x)
	if best == 0 {
		return 0
	}
	full, least := best, rowError(q, x, weight, best)
	try := make([]int8, len(q))
	consider := func(scale float32) {
		roundRow(try, x, scale)
		if e := rowError(try, x, weight, scale); e < least {
			least, best = e, scale
			copy(q, try)
		}
	}
	for i := 1; i <= clipSteps; i++ {
		consider(float32(float64(full) * (1 - float64(clipStep*float64(i)))))
	}
	for range 3 {
		was := best
		if s := fit(q, x, weight); s > 0 {
			if e := rowError(q, x, weight, s); e < least {
				least, best = e, s
			}
			consider(s)
		}
		if best == was {
			break
		}
	}
	return best
}

func roundRow(q []int8, x []float32, scale float32) {
	inv := 1 / float64(scale)
	for i, v := range x {
		q[i] = int8(math.Round(min(127, max(-127, float64(v)*inv))))
	}
}

func rowError(q []int8, x, weight []float32, scale float32) float64 {
	var e float64
	s := float64(scale)
	for i, v := range x {
		d := float64(v) - float64(s*float64(q[i]))
		d = float64(d * d)
		if weight != nil {
			d = float64(d * float64(weight[i]))
		}
		e += d
	}
	return e
}

// fit returns the scale that is best for fixed integers, 0 if there is none.
func fit(q []int8, x, weight []float32) float32 {
	var xq, qq float64
	for i, v := range x {
		h := 1.0
		if weight != nil {
			h = float64(weight[i])
		}
		xq += float64(float64(h*float64(v)) * float64(q[i]))
		qq += float64(float64(h*float64(q[i])) * float64(q[i]))
	}
	if qq == 0 {
		return 0
	}
	return float32(xq / qq)
}
