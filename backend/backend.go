package backend

import (
	"fmt"
	"strings"

	"gorgonia.org/tensor"
)

// Backend is everything the engine asks of a machine. It is a [tensor.Engine] so that a tensor can name its owner.
//
// A Backend is used by one goroutine at a time.
type Backend interface {
	tensor.Engine
	Memory
	Linear
	Elementwise
	Norm
	Embedding
	Attention
	Loss
	Optim
	Quant
	Sparse

	// Info describes the backend and the machine behind it.
	Info() Info
	// Close releases everything the backend owns; its tensors must not be used afterwards.
	Close() error
}

// Base is the backend whose memory a backend uses: itself, or the one that it is made of and says with a method Base.
func Base(b Backend) Backend {
	if on, ok := b.(interface{ Base() Backend }); ok {
		return on.Base()
	}
	return b
}

// Info describes an open backend.
type Info struct {
	Name    string            `json:"name"`    // "cpu" or "cuda"
	Device  string            `json:"device"`  // processor or GPU, as it names itself
	Threads int               `json:"threads"` // worker threads; 0 where it does not apply
	Memory  int64             `json:"memory"`  // bytes of device memory in all; 0 where unknown
	Kernels map[string]string `json:"kernels"` // chosen variant of each kernel package, e.g. gemm: avx2
}

// Options configures Open.
type Options struct {
	Threads   int       // CPU worker threads; 0 means all processors; the CPU backend takes parallel.MaxThreads at most
	Precision Precision // arithmetic of matrix products on devices with tensor cores
	Device    int       // ordinal of the GPU
}

// Precision selects the arithmetic of matrix products. Accumulation, weights, the residual stream and optimiser state are float32
// in either case. The CPU backend always computes in float32.
type Precision int

const (
	// Float32 multiplies in float32: slower on a GPU, for checking.
	Float32 Precision = iota
	// BFloat16 rounds the factors of matrix products to bfloat16 and accumulates in float32; activations are stored in
	// bfloat16. They stay float32 in models with adapters or other products than those of plain weights, with rounding in training for
	// INT8, or with per-layer embeddings, and where several ranks train one model.
	BFloat16
	// CublasLt is BFloat16 whose products NVIDIA's cuBLASLt computes where that is installed and, by a measurement when a shape first
	// comes, faster than mito's kernel. Which it is may change from run to run, and with it the last bits of results. Where the library is
	// installed activations stay float32, whose factors it takes.
	CublasLt
)

var precisionNames = [...]string{Float32: "fp32", BFloat16: "bf16", CublasLt: "bf16-cublaslt"}

// ParsePrecision reads what String writes.
func ParsePrecision(s string) (Precision, error) {
	for p, name := range precisionNames {
		if name == s {
			return Precision(p), nil
		}
	}
	return 0, fmt.Errorf("backend: unknown precision %q; known: %s", s, strings.Join(precisionNames[:], ", "))
}

// Narrower is implemented by backends that may keep activations in another dtype than F32.
type Narrower interface {
	// ActivationType is BF16 or F32.
	ActivationType() tensor.Dtype
}

// ActivationType is the dtype that a model gives its activations and their gradients on a backend. The residual stream, the
// gradients of weights, weights and moments are F32 everywhere.
func ActivationType(b Backend) tensor.Dtype {
	if n, ok := b.(Narrower); ok {
		return n.ActivationType()
	}
	return F32
}

func (p Precision) String() string {
	if p < 0 || int(p) >= len(precisionNames) {
		return fmt.Sprintf("precision %d", int(p))
	}
	return precisionNames[p]
}

// GraphCapturer is implemented by backends that can record a sequence of operations once and replay it with one
// call. Everything that changes from replay to replay must come from tensors (see [Optim] for the step scalars).
type GraphCapturer interface {
	// Capture runs record, collecting its operations instead of executing them.
	Capture(record func() error) (Graph, error)
}

// Graph is a recorded sequence of operations.
type Graph interface {
	Replay() error
	Close() error
}
