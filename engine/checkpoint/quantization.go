package checkpoint

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"mito/engine/files"
)

// Quantization is the quantization_config of config.json in the keys of compressed-tensors
// (https://github.com/vllm-project/compressed-tensors). mito's INT8 student is its format "int-quantized":
// <module>.weight is I8 [N,K], <module>.weight_scale is F32 [N,1], and W[n,k] = weight[n,k] * weight_scale[n].
type Quantization struct {
	QuantMethod            string                `json:"quant_method"`
	Format                 string                `json:"format"`
	QuantizationStatus     string                `json:"quantization_status"`
	GlobalCompressionRatio *float64              `json:"global_compression_ratio"`
	Ignore                 []string              `json:"ignore"`
	ConfigGroups           map[string]QuantGroup `json:"config_groups"`
	KVCacheScheme          *QuantArgs            `json:"kv_cache_scheme"`
	Sparsity               *SparsityConfig       `json:"sparsity_config,omitempty"` // nil where every matrix is stored whole
}

// QuantGroup says how the modules that match Targets are quantised; nil means not at all.
type QuantGroup struct {
	Format            string     `json:"format,omitempty"`
	Targets           []string   `json:"targets"` // class names such as "Linear", or "re:" and a pattern of module names
	Weights           *QuantArgs `json:"weights"`
	InputActivations  *QuantArgs `json:"input_activations"`
	OutputActivations *QuantArgs `json:"output_activations"`
}

// QuantArgs is one quantiser. compressed-tensors refuses keys beyond its own here.
type QuantArgs struct {
	NumBits        int            `json:"num_bits"`
	Type           string         `json:"type"` // "int" or "float"
	Symmetric      bool           `json:"symmetric"`
	Strategy       string         `json:"strategy"` // "tensor", "channel", "group", "token", …
	GroupSize      *int           `json:"group_size"`
	BlockStructure any            `json:"block_structure"`
	Dynamic        any            `json:"dynamic"` // bool, or "local"
	ActOrder       any            `json:"actorder"`
	Observer       *string        `json:"observer"`
	ObserverKwargs map[string]any `json:"observer_kwargs"`
}

const (
	quantMethod  = "compressed-tensors"
	intQuantized = "int-quantized"
	quantKey     = "quantization_config"
)

// NewInt8 describes the INT8 student: weights symmetric per output channel, activations symmetric per token and found at
// run time, embeddings by their rows, and the key-value cache dynamic per token of each head. Modules in ignore stay float.
func NewInt8(ignore ...string) *Quantization {
	observer := "minmax"
	weights := func() *QuantArgs {
		return &QuantArgs{
			NumBits: 8, Type: "int", Symmetric: true, Strategy: "channel", Dynamic: false, Observer: &observer,
			ObserverKwargs: map[string]any{},
		}
	}
	token := func() *QuantArgs {
		return &QuantArgs{NumBits: 8, Type: "int", Symmetric: true, Strategy: "token", Dynamic: true, ObserverKwargs: map[string]any{}}
	}
	if ignore == nil {
		ignore = []string{}
	}
	return &Quantization{
		QuantMethod:        quantMethod,
		Format:             intQuantized,
		QuantizationStatus: "compressed",
		Ignore:             ignore,
		ConfigGroups: map[string]QuantGroup{
			"group_0": {Format: intQuantized, Targets: []string{"Linear"}, Weights: weights(), InputActivations: token()},
			"group_1": {Format: intQuantized, Targets: []string{"Embedding"}, Weights: weights()},
		},
		KVCacheScheme: token(),
	}
}

// ParseQuantization returns the quantization_config of a config.json, nil when there is none. Errors: *FormatError.
func ParseQuantization(config []byte) (*Quantization, error) {
	var c struct {
		Q *Quantization `json:"quantization_config"`
	}
	if err := files.DecodeJSON(config, &c); err != nil {
		return nil, err
	}
	return c.Q, nil
}

// AddTo returns config with q as its quantization_config. Keys come out sorted, as Hugging Face writes them.
func (q *Quantization) AddTo(config []byte) (json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := files.DecodeJSON(config, &object); err != nil {
		return nil, err
	}
	text, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quantKey, err)
	}
	if object == nil {
		object = map[string]json.RawMessage{}
	}
	object[quantKey] = text
	return files.EncodeJSON(object)
}

// CheckInt8 refuses a scheme that the INT8 student does not compute. Errors: ErrRange.
func (q *Quantization) CheckInt8() error {
	var r files.Ranges
	r.OneOf("quant_method", q.QuantMethod, quantMethod)
	r.OneOf("format", q.Format, intQuantized)
	r.OneOf("quantization_status", q.QuantizationStatus, "compressed")
	linear := false
	for name, g := range q.ConfigGroups {
		field := "config_groups." + name
		if g.Weights == nil {
			r.OneOf(field+".weights", "null", "an INT8 quantiser")
			continue
		}
		if g.Format == codeFormat {
			g.checkCodes(&r, field+".weights")
			continue
		}
		g.Weights.checkInt8(&r, field+".weights", "channel", false)
		if g.InputActivations != nil {
			g.InputActivations.checkInt8(&r, field+".input_activations", "token", true)
		}
		if slices.Contains(g.Targets, "Linear") {
			linear = g.InputActivations != nil
		}
		if g.OutputActivations != nil {
			r.OneOf(field+".output_activations", "present", "null")
		}
	}
	if !linear {
		r.OneOf("config_groups", "without one", "a group for Linear with weights and input_activations")
	}
	if q.Sparsity != nil {
		q.Sparsity.check(&r)
	}
	if q.KVCacheScheme != nil {
		q.KVCacheScheme.checkInt8(&r, "kv_cache_scheme", "token", true)
	}
	return r.Err()
}

func (a *QuantArgs) checkInt8(r *files.Ranges, field, strategy string, dynamic bool) {
	r.Int(field+".num_bits", int64(a.NumBits), 8, 8)
	r.OneOf(field+".type", a.Type, "int")
	r.OneOf(field+".symmetric", fmt.Sprint(a.Symmetric), "true")
	r.OneOf(field+".strategy", a.Strategy, strategy)
	r.OneOf(field+".dynamic", fmt.Sprint(a.Dynamic), fmt.Sprint(dynamic))
}

// QuantizedTensors returns <module>.weight I8 [rows,cols] and <module>.weight_scale F32 [rows,1].
// Errors: ErrShape; ErrRange for a weight of -128, which saturating kernels cannot hold, or a scale that is not finite or
// is negative.
func QuantizedTensors(module string, rows, cols int, weights []int8, scales []float32) ([]Tensor, error) {
	if rows < 0 || cols < 0 || len(scales) != rows || len(weights) != rows*cols {
		return nil, formatError(ErrShape, module, "%d weights and %d scales for %d rows of %d", len(weights), len(scales), rows, cols)
	}
	if err := checkQuantized(module, cols, weights, scales); err != nil {
		return nil, err
	}
	return []Tensor{
		FromI8(module+".weight", []int{rows, cols}, weights),
		FromF32(module+".weight_scale", []int{rows, 1}, scales),
	}, nil
}

// Quantized is the inverse of [QuantizedTensors], with the same checks.
func (f *File) Quantized(module string, rows, cols int) (weights []int8, scales []float32, err error) {
	w, err := f.Get(module+".weight", I8, rows, cols)
	if err != nil {
		return nil, nil, err
	}
	s, err := f.Get(module+".weight_scale", F32, rows, 1)
	if err != nil {
		return nil, nil, err
	}
	if weights, err = w.I8(); err != nil {
		return nil, nil, err
	}
	if scales, err = s.F32(); err != nil {
		return nil, nil, err
	}
	if err := checkQuantized(module, cols, weights, scales); err != nil {
		return nil, nil, files.WithPath(err, f.Path)
	}
	return weights, scales, nil
}

func checkQuantized(module string, cols int, weights []int8, scales []float32) error {
	if i := slices.Index(weights, math.MinInt8); i >= 0 {
		return formatError(ErrRange, module+".weight", "row %d, column %d is -128, expected -127 to 127", i/cols, i%cols)
	}
	for i, s := range scales {
		if s != s || math.IsInf(float64(s), 0) {
			return formatError(ErrNotFinite, module+".weight_scale", "row %d is %v", i, s)
		}
		if s < 0 {
			return formatError(ErrRange, module+".weight_scale", "row %d is %v, expected 0 or more", i, s)
		}
	}
	return nil
}
