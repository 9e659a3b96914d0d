package tokenizer

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// kinds is testdata/kinds.json: tokenizers as other models have them, and what the tokenizers library makes of texts.
type kinds struct {
	Texts         []string                              `json:"texts"`
	BPE           map[string]json.RawMessage            `json:"bpe"`
	BPEAdded      json.RawMessage                       `json:"bpe_added"`
	Sentence      map[string]json.RawMessage            `json:"sentence"`
	SentenceAdded json.RawMessage                       `json:"sentence_added"`
	Kinds         map[string]map[string]json.RawMessage `json:"kinds"`
	SentenceKinds map[string]map[string]json.RawMessage `json:"sentence_kinds"`
	Golden        map[string][]struct {
		IDs  []int32 `json:"ids"`
		Text *string `json:"text"` // nil for the text itself
	} `json:"golden"`
}

func readKinds(t *testing.T) *kinds {
	t.Helper()
	var k kinds
	if err := json.Unmarshal([]byte(readFile(t, "kinds.json")), &k); err != nil {
		t.Fatal(err)
	}
	return &k
}

// file is the tokenizer.json of a kind.
func (k *kinds) file(t *testing.T, name string) []byte {
	t.Helper()
	top, model, added := maps.Clone(k.Kinds[name]), maps.Clone(k.BPE), k.BPEAdded
	if top == nil {
		top, model, added = maps.Clone(k.SentenceKinds[name]), maps.Clone(k.Sentence), k.SentenceAdded
	}
	var more map[string]json.RawMessage
	if err := json.Unmarshal(top["model"], &more); err != nil {
		t.Fatal(name, err)
	}
	maps.Copy(model, more)
	top["added_tokens"] = added
	var err error
	if top["model"], err = json.Marshal(model); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(top)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Tokenizers of Llama 3, Qwen, GPT-4, GPT-4o, Mistral, DeepSeek and of Llama 2's kinds give the ids and the texts of the
// tokenizers library, and so do the files that are written for them.
func TestKinds(t *testing.T) {
	k := readKinds(t)
	if len(k.Golden) < 14 || len(k.Texts) < 100 {
		t.Fatal("no cases")
	}
	for name, golden := range k.Golden {
		t.Run(name, func(t *testing.T) {
			first, err := Parse(k.file(t, name))
			if err != nil {
				t.Fatal(err)
			}
			canonical, err := first.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(canonical)
			if err != nil || again.Hash() != first.Hash() {
				t.Fatalf("the canonical file: %v", err)
			}
			if second, _ := again.MarshalJSON(); string(second) != string(canonical) {
				t.Error("the canonical file changes when it is read")
			}
			for _, tok := range []Tokenizer{first, again} {
				for i, want := range golden {
					ids, err := tok.Encode(k.Texts[i])
					if err != nil || !slices.Equal(ids, want.IDs) {
						t.Errorf("%.60q: got %v, %v, want %v", k.Texts[i], ids, err, want.IDs)
					}
					text := k.Texts[i]
					if want.Text != nil {
						text = *want.Text
					}
					if back, err := tok.Decode(want.IDs); err != nil || back != text {
						t.Errorf("decode of %.60q: got %q, %v, want %q", k.Texts[i], back, err, text)
					}
				}
			}
		})
	}
}

// A template is known, stays in the file, and is no part of the hash. A prompt begins with it.
func TestTemplate(t *testing.T) {
	k := readKinds(t)
	first, last := int32(len(k.vocab(t))), int32(len(k.vocab(t)))+1
	for name, want := range map[string][2][]int32{"llama3": {{first}, nil}, "o200k": {{first}, {last}}, "qwen": {nil, nil}} {
		tok, err := Parse(k.file(t, name))
		if err != nil {
			t.Fatal(err)
		}
		before, after := tok.Template()
		if !slices.Equal(before, want[0]) || !slices.Equal(after, want[1]) {
			t.Errorf("%s: %v and %v, want %v", name, before, after, want)
		}
		file, _ := tok.MarshalJSON()
		var top map[string]any
		if err := json.Unmarshal(file, &top); err != nil {
			t.Fatal(err)
		}
		top["post_processor"] = nil
		edited, _ := json.Marshal(top)
		if bare, err := Parse(edited); err != nil || bare.Hash() != tok.Hash() {
			t.Errorf("%s without its template has another hash: %v", name, err)
		}
		ids, _ := tok.Encode("hello")
		if prompt, err := Prompt(tok, "hello"); err != nil || !slices.Equal(prompt, slices.Concat(want[0], ids)) {
			t.Errorf("%s: prompt %v of %v, %v", name, prompt, ids, err)
		}
		if has := strings.Contains(string(file), "TemplateProcessing"); has != (want[0] != nil) {
			t.Errorf("%s: the file has a template: %t", name, has)
		}
	}
}

func (k *kinds) vocab(t *testing.T) (vocab map[string]int32) {
	t.Helper()
	if err := json.Unmarshal(k.BPE["vocab"], &vocab); err != nil {
		t.Fatal(err)
	}
	return vocab
}

// The patterns by llama.cpp's names are those of the models' files.
func TestPatternNames(t *testing.T) {
	k := readKinds(t)
	for name, kind := range map[string]string{"llama-bpe": "llama3", "qwen2": "qwen", "gpt-4o": "o200k", "tekken": "tekken"} {
		if text, _ := json.Marshal(Patterns[name]); !strings.Contains(strings.ReplaceAll(string(k.Kinds[kind]["pre_tokenizer"]), " ", ""), strings.ReplaceAll(string(text), " ", "")) {
			t.Errorf("%s is not the pattern of %s: %s", name, kind, text)
		}
	}
}

// What Go's regular expressions would read otherwise is refused with its name.
func TestPatterns(t *testing.T) {
	for pattern, says := range map[string]string{
		`a(?=b)`: "a group of another kind", `(?<!a)b`: "a group of another kind", `(?>a)`: "a group of another kind", `(?P<x>a)`: "a group of another kind",
		`\p{L}++`: "possessive", `a?+`: "possessive", `\w+`: `\w`, `\bx`: `\b`, `\h`: `\h`, `[a[b]]`: "a class inside", `[a&&b]`: "a class inside", `[]a]`: "an empty class",
		`^a`: "an anchor", `a$`: "an anchor", `a*`: "match of nothing", `(`: "syntax", `x\s+(?!\S)|\s+`: "look-ahead", ``: "match of nothing", `[\S]`: `\S`,
		`a\`: `\`, `\pL`: `\p without`, `\p{Zzz}`: "syntax", `a{2000}`: "syntax",
	} {
		if _, err := matcher(pattern); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", pattern, err, says)
		}
	}
	for pattern, c := range map[string]struct {
		text string
		want int
	}{
		`a|ab`: {"ab", 1}, `(?i:'S)|x`: {"'s", 2}, `\d{1,3}`: {"1٣²", 3}, `[\s.]+`: {"\u2003.\u0085x", 6}, `\S`: {"é", 2}, `\p{Lu}`: {"ab", 0}, `a|\s+(?!\S)|\s+`: {"  x", 1},
		`b|\s+(?!\S)|\s+`: {"   ", 3}, `\s+(?!\S)|\s+`: {" x", 1}, `\.+`: {"..a", 2},
	} {
		match, err := matcher(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
		} else if n := match(c.text); n != c.want {
			t.Errorf("%s on %q: %d, want %d", pattern, c.text, n, c.want)
		}
	}
}

// Kinds of tokenizers that mito does not have are refused by their names, and so is what their files may ask for.
func TestKindsRefuses(t *testing.T) {
	k := readKinds(t)
	for name, c := range map[string]struct{ kind, old, new, says string }{
		"unigram":          {"llama3", `"type":"BPE"`, `"type":"Unigram"`, `"Unigram"`},
		"wordpiece":        {"llama3", `"type":"BPE"`, `"type":"WordPiece"`, `"WordPiece"`},
		"normalizer":       {"qwen", `"NFC"`, `"Lowercase"`, `normalizer.type is "Lowercase"`},
		"normalizers":      {"deepseek", `"normalizers":[]`, `"normalizers":[{"type":"NFC"},{"type":"NFC"}]`, `normalizer.type`},
		"behavior":         {"qwen", `"Isolated"`, `"MergedWithPrevious"`, "MergedWithPrevious"},
		"removed":          {"qwen", `"Isolated"`, `"Removed"`, "invert false"},
		"string":           {"qwen", `"Regex"`, `"String"`, "String"},
		"pre-tokenizer":    {"numbers", `"Digits"`, `"Punctuation"`, "Punctuation"},
		"two texts":        {"llama3", `{"Sequence":{"id":"A","type_id":0}}],"pair"`, `{"Sequence":{"id":"A"}},{"Sequence":{"id":"A"}}],"pair"`, "another text"},
		"no text":          {"llama3", `{"Sequence":{"id":"A","type_id":0}}],"pair"`, `{"SpecialToken":{"id":"<|begin|>"}}],"pair"`, "without the text"},
		"other template":   {"llama3", `"TemplateProcessing"`, `"RobertaProcessing"`, "RobertaProcessing"},
		"scheme":           {"metaspace first False", `"first"`, `"last"`, "prepend_scheme"},
		"replacement":      {"metaspace first False", `"replacement":"▁"`, `"replacement":"_"`, "replacement"},
		"both":             {"metaspace first False", `"normalizer":null`, `"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"}`, "pre_tokenizer"},
		"other normalizer": {"metaspace first False", `"normalizer":null`, `"normalizer":{"type":"NFC"}`, "pre_tokenizer"},
	} {
		text := string(k.file(t, c.kind))
		edited := strings.Replace(text, c.old, c.new, 1)
		if edited == text {
			t.Fatalf("%s: nothing to replace in %.2000s", name, text)
		}
		if _, err := Parse([]byte(edited)); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
