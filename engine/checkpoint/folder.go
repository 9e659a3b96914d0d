package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"mito/engine/files"
)

// The files of a checkpoint. The first four are Hugging Face's names.
const (
	ConfigName       = files.ConfigName
	WeightsName      = "model.safetensors"
	TokenizerName    = "tokenizer.json"
	GenerationName   = "generation_config.json"
	StateName        = "state.json"
	TokenizerConfig  = "tokenizer_config.json"
	ModelingName     = "modeling_mito.py" // the model's code, of an architecture that transformers does not have
	StateTensorsName = "state.safetensors"
)

// ModelType is the model_type in the config.json of mito's own models.
const ModelType = files.ModelType

// ownNames are the files that mito may replace where a config.json says that the model is mito's, but no marker lists them.
var ownNames = []string{ConfigName, WeightsName, TokenizerName, GenerationName, StateTensorsName, StateName, TokenizerConfig, ModelingName}

// GenerationConfig is generation_config.json: how text is to be drawn from the model. Nil fields are left out.
type GenerationConfig struct {
	BOS          *int32   `json:"bos_token_id,omitempty"`
	EOS          TokenIDs `json:"eos_token_id,omitempty"`
	Pad          *int32   `json:"pad_token_id,omitempty"`
	DoSample     *bool    `json:"do_sample,omitempty"`
	Temperature  *float64 `json:"temperature,omitempty"`
	TopK         *int     `json:"top_k,omitempty"`
	TopP         *float64 `json:"top_p,omitempty"`
	MaxNewTokens *int     `json:"max_new_tokens,omitempty"`
	MaxLength    *int     `json:"max_length,omitempty"`
}

// Check refuses values out of range. Errors: ErrRange.
func (g *GenerationConfig) Check() error {
	var r files.Ranges
	id := func(field string, v *int32) {
		if v != nil {
			r.Int(field, int64(*v), 0, 1<<31-1)
		}
	}
	id("bos_token_id", g.BOS)
	id("pad_token_id", g.Pad)
	for i := range g.EOS {
		id("eos_token_id", &g.EOS[i])
	}
	if g.Temperature != nil {
		r.Float("temperature", *g.Temperature, 0, 1e6)
	}
	if g.TopP != nil {
		r.Float("top_p", *g.TopP, 0, 1)
	}
	count := func(field string, v *int) {
		if v != nil {
			r.Int(field, int64(*v), 0, 1<<31-1)
		}
	}
	count("top_k", g.TopK)
	count("max_new_tokens", g.MaxNewTokens)
	count("max_length", g.MaxLength)
	return r.Err()
}

// TokenIDs is one id or a list of ids, as Hugging Face writes eos_token_id.
type TokenIDs []int32

// UnmarshalJSON accepts null, a number or a list of numbers.
func (t *TokenIDs) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("[")) {
		return json.Unmarshal(data, (*[]int32)(t))
	}
	var one *int32
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*t = nil
	if one != nil {
		*t = TokenIDs{*one}
	}
	return nil
}

// MarshalJSON writes a single id as a number.
func (t TokenIDs) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]int32(t))
}

// Folder is an opened checkpoint folder, mito's or another program's.
type Folder struct {
	Dir         string            // where it was found, see files.Resolve
	Config      json.RawMessage   // config.json as it is: one JSON object without repeated names
	Weights     *File             // model.safetensors, or the files that it is split over
	WeightFiles []string          // the names of those
	Tokenizer   string            // path of tokenizer.json, "" without one
	Generation  *GenerationConfig // nil without generation_config.json
}

// Open reads a checkpoint folder. The weights are checked as a file (bounds, overlaps, types); whether they fit the
// configuration is for the caller, by [File.Get] and [File.Expect]. Errors: fs.ErrNotExist naming the missing file,
// *FormatError.
func Open(dir string) (*Folder, error) {
	at, err := files.Resolve(dir)
	if err != nil {
		return nil, fmt.Errorf("opening a checkpoint: %w", err)
	}
	f := &Folder{Dir: at}
	if err := files.ReadJSON(filepath.Join(at, ConfigName), &f.Config, 0); err != nil {
		return nil, fmt.Errorf("opening a checkpoint: %w", err)
	}
	if len(f.Config) == 0 || f.Config[0] != '{' {
		return nil, &FormatError{Path: filepath.Join(at, ConfigName), Err: ErrSyntax, Detail: "not a JSON object"}
	}
	if f.Weights, f.WeightFiles, err = readWeights(at); err != nil {
		return nil, fmt.Errorf("opening a checkpoint: %w", err)
	}
	if path := filepath.Join(at, TokenizerName); exists(path) {
		f.Tokenizer = path
	}
	if path := filepath.Join(at, GenerationName); exists(path) {
		var g GenerationConfig
		if err := files.ReadJSON(path, &g, 0); err != nil {
			return nil, fmt.Errorf("opening a checkpoint: %w", err)
		}
		if err := g.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		f.Generation = &g
	}
	return f, nil
}

// Quantization returns the quantization_config of config.json, nil when there is none. Errors: *FormatError.
func (f *Folder) Quantization() (*Quantization, error) {
	q, err := ParseQuantization(f.Config)
	return q, files.WithPath(err, filepath.Join(f.Dir, ConfigName))
}

// Contents is what [Save] writes into a checkpoint folder.
type Contents struct {
	Config        any                     // config.json: a struct, or json.RawMessage; an object with a model_type
	Tensors       []Tensor                // model.safetensors
	SaveTokenizer func(path string) error // writes tokenizer.json; nil for none
	Generation    *GenerationConfig       // generation_config.json; nil for none
	Quantization  *Quantization           // put into config.json; nil for float weights
	State         *State                  // training state; nil for none
	Extra         map[string][]byte       // further files of the folder by name, such as tokenizer_config.json
}

// Save replaces the checkpoint at dir by c in one step, weights and training state together. See [files.SaveDir].
// Tensors with NaN or infinite values are refused, so that a diverged run cannot replace a good checkpoint.
func Save(dir string, c *Contents) error {
	config, err := encodeConfig(c)
	if err != nil {
		return err
	}
	for i := range c.Tensors {
		if err := c.Tensors[i].CheckFinite(); err != nil {
			return err
		}
	}
	return files.SaveDir(dir, ownNames, func(tmp string) error {
		weights, err := writeHashed(filepath.Join(tmp, WeightsName), c.Tensors)
		if err != nil {
			return err
		}
		if err := files.WriteJSON(filepath.Join(tmp, ConfigName), config); err != nil {
			return err
		}
		if c.SaveTokenizer != nil {
			if err := c.SaveTokenizer(filepath.Join(tmp, TokenizerName)); err != nil {
				return err
			}
		}
		if c.Generation != nil {
			if err := files.WriteJSON(filepath.Join(tmp, GenerationName), c.Generation); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(c.Extra)) {
			if err := os.WriteFile(filepath.Join(tmp, name), c.Extra[name], 0o666); err != nil { // SaveDir syncs it
				return err
			}
		}
		if c.State != nil {
			return writeState(tmp, c.State, weights)
		}
		return nil
	})
}

func encodeConfig(c *Contents) (json.RawMessage, error) {
	text, err := files.EncodeJSON(c.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ConfigName, err)
	}
	var object map[string]json.RawMessage
	if err := files.DecodeJSON(text, &object); err != nil {
		return nil, files.WithPath(err, ConfigName)
	}
	var kind string
	if json.Unmarshal(object["model_type"], &kind) != nil || kind == "" {
		return nil, &FormatError{Path: ConfigName, Name: "model_type", Err: ErrRange,
			Detail: fmt.Sprintf("is %s, expected the name of an architecture", object["model_type"])}
	}
	if c.Quantization == nil {
		return text, nil
	}
	return c.Quantization.AddTo(text)
}

// writeHashed writes tensors and returns the SHA-256 of the file. "format": "pt" is what Hugging Face's loader asks for.
func writeHashed(path string, tensors []Tensor) (string, error) {
	h := sha256.New()
	err := files.SaveFile(path, func(w io.Writer) error {
		return Encode(io.MultiWriter(w, h), tensors, map[string]string{"format": "pt"})
	})
	return hex.EncodeToString(h.Sum(nil)), files.WithPath(err, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
