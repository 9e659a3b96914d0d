package decode

import (
	"fmt"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/session/adapters"
	"mito/engine/student"
	"mito/engine/tokenizer"
	"mito/kernels/parallel"
)

// Kinds of a runtime.
const (
	Float32 = "float32"
	Int8    = "int8"
)

// Runtime is a model ready to decode. It is immutable but for Close and safe for concurrent use.
type Runtime interface {
	Kind() string   // Float32 or Int8
	VocabSize() int // V
	Context() int   // the longest sequence
	Params() int    // parameters, without the scales of INT8 weights
	Bytes() int     // of the weights as they ship: 4 a float, 1 an INT8 weight
	Threads() int
	// Config is the configuration of the weights as they were read, which may say more than their folder's keys (see hf.Read),
	// without what does not ship.
	Config() arch.Config
	// CacheBytes is the memory of the keys and values of a sequence of so many tokens, in pages of so many positions.
	CacheBytes(tokens int) (bytes, page int)
	// Tokenizer is that of the model's folder, nil where there is none.
	Tokenizer() tokenizer.Tokenizer
	// NewSession returns a session of batch empty sequences.
	NewSession(batch int) (Session, error)
	// Run runs a task on the threads. Sessions used in it compute on the thread that uses them: for work that has enough
	// sequences to keep every thread busy.
	Run(n, grain int, t parallel.Task)
	// Close ends the threads. The runtime still works afterwards, on the caller's.
	Close() error
}

// Session decodes a batch of sequences, each with its own length. It belongs to one goroutine at a time, and the logits
// that it returns are valid until its next call. A call that fails with ErrSequence, ErrToken or ErrContextFull has
// changed nothing.
type Session interface {
	// Batch is the number of sequences.
	Batch() int
	// Len is the number of tokens that a sequence holds.
	Len(seq int) int
	// Step appends tokens[i] to sequence i and returns the logits [V] after it. A negative token leaves its sequence
	// alone; its logits are nil. It allocates nothing.
	Step(tokens []int32) ([][]float32, error)
	// Prefill appends tokens to one sequence and returns the logits [V] after the last, nil for no tokens.
	Prefill(seq int, tokens []int32) ([]float32, error)
	// PrefillBatch appends prompts[i] to sequence i and returns the logits [V] after the last token of each, nil for an
	// empty prompt.
	PrefillBatch(prompts [][]int32) ([][]float32, error)
	// Score appends tokens to one sequence and calls visit with the logits [V] after each, in order; they are valid
	// during the call only. The first error of visit ends it.
	Score(seq int, tokens []int32, visit func(i int, logits []float32) error) error
	// ScoreBatch is Score of tokens[i] on sequence i, all sequences together; tokens of one sequence are visited in order.
	ScoreBatch(tokens [][]int32, visit func(seq, i int, logits []float32) error) error
	// HeldBytes is the memory of the keys and values of a sequence; what several share counts for each in part.
	HeldBytes(seq int) int
	// Truncate rolls a sequence back to its first n tokens.
	Truncate(seq, n int) error
	// Fork makes sequence dst a copy of sequence src, with its adapter. They share memory until one of them grows.
	Fork(dst, src int) error
	// Adapt sends an empty sequence through the adapter of that name from now on, "" for none.
	Adapt(seq int, name string) error
	// Reset empties every sequence. Their adapters stay.
	Reset()
}

// Options of Open.
type Options struct {
	Threads  int // fewer than one means one, more than parallel.MaxThreads means that
	PageSize int // positions in a page of the key/value cache; fewer than one means 64 (INT8) or 256 (float32)

	// Blocks says which INT8 matrices are stored in blocks. Float32 weights stay as they are.
	Blocks student.Blocks

	// Adapters are what sequences may go through; see Session.Adapt. Those of a model folder are in engine/compress/lora.
	Adapters []adapters.Adapter

	// Observer sees what the matrices of float32 weights read; nil for none. INT8 weights refuse it.
	Observer Observer
}

// Observer sees rows of activations on their way into matrix products.
type Observer interface {
	// Observe gets rows of width elements of x, stride apart, which the matrices of a layer that read in are about to be
	// multiplied by. Those of the head belong to the layer behind the last, and only rows whose logits are wanted are among
	// them. x is valid during the call. A session calls it from the goroutine that uses it, the tokens of a sequence in their order.
	Observe(layer int, in arch.Input, x []float32, stride, rows, width int)
}

// observe tells the observer, if there is one.
func (r *float32Runtime) observe(layer int, in arch.Input, x []float32, stride, rows, width int) {
	if r.observer != nil {
		r.observer.Observe(layer, in, x, stride, rows, width)
	}
}

// Open reads a model from its folder or the folder of a run (see runs.ResolveModel) with its tokenizer, if there is one. A
// quantization_config makes it INT8. Errors: fs.ErrNotExist naming the missing file, *checkpoint.FormatError,
// *arch.FieldError, *student.WeightError, those of the tokenizer, *VocabularyError.
func Open(dir string, o Options) (Runtime, error) {
	f, err := checkpoint.Open(runs.ResolveModel(dir))
	if err != nil {
		return nil, err
	}
	var tok tokenizer.Tokenizer
	if f.Tokenizer != "" {
		if tok, err = tokenizer.Load(f.Tokenizer); err != nil {
			return nil, err
		}
	}
	q, err := f.Quantization()
	if err != nil {
		return nil, err
	}
	if q != nil {
		w, err := quant.Read(f)
		if err != nil {
			return nil, err
		}
		return NewInt8(w, tok, o)
	}
	w, err := model.ReadWeights(f)
	if err != nil {
		return nil, err
	}
	return NewFloat32(w, tok, o)
}

// VocabularyError reports a tokenizer with more ids than the model has logits.
type VocabularyError struct{ Tokenizer, Model int }

func (e *VocabularyError) Error() string {
	return fmt.Sprintf("the tokenizer has %d ids and the model %d logits: they do not belong together", e.Tokenizer, e.Model)
}

func checkVocabulary(tok tokenizer.Tokenizer, vocab int) error {
	if tok != nil && tok.VocabSize() > vocab {
		return &VocabularyError{Tokenizer: tok.VocabSize(), Model: vocab}
	}
	return nil
}

// int8Runtime is a student as a Runtime.
type int8Runtime struct {
	*student.Model
	params, bytes int
	tok           tokenizer.Tokenizer
}

// NewInt8 makes a runtime of an INT8 student; tok may be nil. Errors: *arch.FieldError, *student.WeightError,
// *VocabularyError, *OptionError.
func NewInt8(w *student.Weights, tok tokenizer.Tokenizer, o Options) (Runtime, error) {
	if o.Observer != nil {
		return nil, &OptionError{Option: "observer", Got: "one", Want: "none: INT8 weights read quantised rows"}
	}
	if err := checkVocabulary(tok, w.Config.VocabSize); err != nil {
		return nil, err
	}
	m, err := student.New(w, student.Options{Threads: o.Threads, PageSize: o.PageSize, Blocks: o.Blocks, Adapters: o.Adapters})
	if err != nil {
		return nil, err
	}
	return &int8Runtime{Model: m, params: w.Params(), bytes: w.Bytes(), tok: tok}, nil
}

func (r *int8Runtime) Kind() string                   { return Int8 }
func (r *int8Runtime) VocabSize() int                 { return r.Config().VocabSize }
func (r *int8Runtime) Context() int                   { return r.Config().Context }
func (r *int8Runtime) Params() int                    { return r.params }
func (r *int8Runtime) Bytes() int                     { return r.bytes }
func (r *int8Runtime) Tokenizer() tokenizer.Tokenizer { return r.tok }

func (r *int8Runtime) NewSession(batch int) (Session, error) {
	s, err := r.Model.NewSession(batch)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (r *int8Runtime) Close() error {
	r.Model.Close()
	return nil
}
