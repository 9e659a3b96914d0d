package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/files"
)

func contents() *Contents {
	bos, temp := int32(1), 0.8
	return &Contents{
		Config:     map[string]any{"model_type": ModelType, "vocab_size": 6},
		Tensors:    []Tensor{FromF32("w", []int{2, 3}, []float32{1, 2, 3, 4, 5, 6})},
		Generation: &GenerationConfig{BOS: &bos, EOS: TokenIDs{2, 3}, Temperature: &temp},
		SaveTokenizer: func(path string) error {
			return os.WriteFile(path, []byte(`{"model":{}}`), 0o666)
		},
		State: &State{
			Scalars: map[string]any{"step": 7, "seed": uint64(math.MaxUint64)},
			Tensors: []Tensor{FromF32("w.m", []int{2, 3}, make([]float32, 6))},
		},
	}
}

func TestFolderRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "best")
	if err := Save(dir, contents()); err != nil {
		t.Fatal(err)
	}
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		ModelType string `json:"model_type"`
		Vocab     int    `json:"vocab_size"`
	}
	if err := files.DecodeJSON(f.Config, &c); err != nil || c.ModelType != ModelType || c.Vocab != 6 {
		t.Error(c, err)
	}
	if f.Tokenizer != filepath.Join(dir, TokenizerName) || f.Generation == nil ||
		!slices.Equal(f.Generation.EOS, TokenIDs{2, 3}) || *f.Generation.BOS != 1 {
		t.Errorf("%+v", f)
	}
	if f.Weights.Metadata["format"] != "pt" {
		t.Error("Hugging Face's loader wants format=pt in the metadata")
	}
	if _, err := f.Weights.Get("w", F32, 2, 3); err != nil {
		t.Error(err)
	}
	s, err := f.State()
	if err != nil {
		t.Fatal(err)
	}
	var scalars struct {
		Step int
		Seed uint64
	}
	if err := s.Decode(&scalars); err != nil || scalars.Step != 7 || scalars.Seed != math.MaxUint64 {
		t.Error("64-bit values must survive:", scalars, err)
	}
	if _, err := s.Tensors.Get("w.m", F32, 2, 3); err != nil {
		t.Error(err)
	}
	if q, err := f.Quantization(); q != nil || err != nil {
		t.Error(q, err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if err := Save(again, contents()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{ConfigName, WeightsName, StateName, StateTensorsName, GenerationName, files.MarkerName} {
		if a, b := must(FileSHA256(filepath.Join(dir, name))), must(FileSHA256(filepath.Join(again, name))); a != b {
			t.Errorf("%s: the same contents gave other bytes", name)
		}
	}
}

func TestSaveRefuses(t *testing.T) {
	nan := FromF32("w", nil, []float32{float32(math.NaN())})
	for name, c := range map[string]struct {
		edit func(*Contents)
		want error
	}{
		"NaN weights":       {func(c *Contents) { c.Tensors = []Tensor{nan} }, ErrNotFinite},
		"NaN moments":       {func(c *Contents) { c.State.Tensors = []Tensor{nan} }, ErrNotFinite},
		"no architecture":   {func(c *Contents) { c.Config = json.RawMessage(`{"vocab_size":6}`) }, ErrRange},
		"config not object": {func(c *Contents) { c.Config = 3 }, ErrSyntax},
		"config names":      {func(c *Contents) { c.Config = json.RawMessage(`{"a":1,"a":2,"model_type":"mito"}`) }, ErrDuplicate},
		"bad tensor":        {func(c *Contents) { c.Tensors[0].Shape = []int{7} }, ErrShape},
		"tokenizer":         {func(c *Contents) { c.SaveTokenizer = func(string) error { return fs.ErrPermission } }, fs.ErrPermission},
	} {
		dir := filepath.Join(t.TempDir(), "last")
		if err := Save(dir, contents()); err != nil {
			t.Fatal(err)
		}
		before := must(FileSHA256(filepath.Join(dir, WeightsName)))
		bad := contents()
		c.edit(bad)
		if err := Save(dir, bad); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if must(FileSHA256(filepath.Join(dir, WeightsName))) != before {
			t.Errorf("%s: the good checkpoint was touched", name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string // "" removes the file
		want       error
	}{
		"no config":           {ConfigName, "", fs.ErrNotExist},
		"no weights":          {WeightsName, "", fs.ErrNotExist},
		"config truncated":    {ConfigName, `{"model_type":`, ErrTruncated},
		"config empty":        {ConfigName, " ", ErrTruncated},
		"config an array":     {ConfigName, `[]`, ErrSyntax},
		"config names":        {ConfigName, `{"a":1,"a":1}`, ErrDuplicate},
		"config not UTF-8":    {ConfigName, "{\"a\":\"\xff\"}", ErrSyntax},
		"weights not a file":  {WeightsName, "<html>not found</html>", ErrHeaderTooBig},
		"git LFS pointer":     {WeightsName, "version https://git-lfs.github.com/spec/v1\n", ErrHeaderTooBig},
		"generation type":     {GenerationName, `{"temperature":"hot"}`, ErrSyntax},
		"generation range":    {GenerationName, `{"top_p":1.5}`, ErrRange},
		"generation negative": {GenerationName, `{"eos_token_id":[1,-2]}`, ErrRange},
		"end token a float":   {GenerationName, `{"eos_token_id":1.5}`, ErrSyntax},
	} {
		dir := filepath.Join(t.TempDir(), "m")
		if err := Save(dir, contents()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, c.file)
		err := os.Remove(path)
		if c.text != "" {
			err = os.WriteFile(path, []byte(c.text), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %v with the path", name, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// NaN in the state is refused even where all hashes agree, as in a file that another program wrote.
func TestStateIsFinite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	if err := Save(dir, contents()); err != nil {
		t.Fatal(err)
	}
	var s stateFile
	if err := files.ReadJSON(filepath.Join(dir, StateName), &s, 0); err != nil {
		t.Fatal(err)
	}
	nan := []Tensor{FromF32("m", []int{2}, []float32{1, float32(math.NaN())})}
	s.Files[StateTensorsName] = must(writeHashed(filepath.Join(dir, StateTensorsName), nan))
	s.SHA256 = must(s.hash())
	if err := files.WriteJSON(filepath.Join(dir, StateName), &s); err != nil {
		t.Fatal(err)
	}
	if _, err := must(Open(dir)).State(); !errors.Is(err, ErrNotFinite) {
		t.Errorf("got %v, want ErrNotFinite", err)
	}
}

func TestStateBelongsToItsWeights(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		edit func(text []byte) []byte
		want error
	}{
		"weights of another step": {WeightsName, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ErrHash},
		"moments of another step": {StateTensorsName, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ErrHash},
		"later version": {StateName, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"version": 2`, `"version": 3`, 1))
		}, ErrRange},
		"truncated": {StateName, func(b []byte) []byte { return b[:len(b)/2] }, ErrTruncated},
	} {
		dir := filepath.Join(t.TempDir(), "m")
		if err := Save(dir, contents()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, c.file)
		if err := os.WriteFile(path, c.edit(must(os.ReadFile(path))), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.State(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	dir := filepath.Join(t.TempDir(), "m")
	c := contents()
	c.State = nil
	if err := Save(dir, c); err != nil {
		t.Fatal(err)
	}
	if _, err := must(Open(dir)).State(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no training state") {
		t.Error(err)
	}
}

func TestTokenIDs(t *testing.T) {
	for text, want := range map[string]TokenIDs{"5": {5}, "[5]": {5}, "[1,2]": {1, 2}, "null": nil} {
		var got TokenIDs
		if err := json.Unmarshal([]byte(text), &got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	if b, err := json.Marshal(&GenerationConfig{EOS: TokenIDs{0}}); string(b) != `{"eos_token_id":0}` {
		t.Error(string(b), err)
	}
}

func TestReadLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(path, []byte(`{"a":"`+strings.Repeat("x", 100)+`"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	var v map[string]string
	if err := files.ReadJSON(path, &v, 50); !errors.Is(err, ErrTooLarge) || v != nil {
		t.Error(err)
	}
	if err := files.ReadJSON(path, &v, 0); err != nil || len(v["a"]) != 100 {
		t.Error(err)
	}
	if err := files.ReadJSON(filepath.Dir(path), &v, 0); !errors.Is(err, files.ErrNotRegular) {
		t.Error(err)
	}
}

func TestRanges(t *testing.T) {
	var r files.Ranges
	r.Int("a", 5, 1, 5)
	r.Float("b", 0.5, 0, 1)
	r.OneOf("c", "x", "x", "y")
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	r.Int("layers", 0, 1, 5)
	r.Float("theta", math.NaN(), 0, 1)
	r.Float("eps", math.Inf(1), 0, math.Inf(1))
	r.OneOf("act", "tanh", "relu", "gelu")
	err := r.ErrIn("config.json")
	for _, want := range []string{`config.json: "layers"`, "is 0, expected 1 to 5", `"theta"`, `"eps"`, `"tanh", expected one of relu, gelu`} {
		if !errors.Is(err, ErrRange) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %s", err, want)
		}
	}
}
