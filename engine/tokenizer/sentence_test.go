package tokenizer

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A tokenizer of Llama's kind gives the ids and the texts of the tokenizers library.
func TestSentence(t *testing.T) {
	var golden struct {
		Sentence struct {
			Encode, Decode []struct {
				Text string  `json:"text"`
				IDs  []int32 `json:"ids"`
			}
		} `json:"sentence"`
	}
	if err := json.Unmarshal([]byte(readFile(t, "golden.json")), &golden); err != nil {
		t.Fatal(err)
	}
	first, err := Load(filepath.Join("testdata", "sentence.json"))
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
	g := golden.Sentence
	if len(g.Encode) < 10 || len(g.Decode) < 20 {
		t.Fatal("no cases")
	}
	for _, tok := range []Tokenizer{first, again} {
		for _, c := range g.Encode {
			if ids, err := tok.Encode(c.Text); err != nil || !slices.Equal(ids, c.IDs) {
				t.Errorf("%.60q: got %v, %v, want %v", c.Text, ids, err, c.IDs)
			}
		}
		for _, c := range g.Decode {
			if text, err := tok.Decode(c.IDs); err != nil || text != c.Text {
				t.Errorf("decode %v: got %q, %v, want %q", c.IDs, text, err, c.Text)
			}
		}
	}
	if first.EOS() < 0 {
		t.Error("no end of text")
	}
	var id *IDError
	if _, err := first.Decode([]int32{int32(first.VocabSize())}); !errors.As(err, &id) {
		t.Error(err)
	}
}

// What such a file may ask for beside is refused by its field.
func TestSentenceRefuses(t *testing.T) {
	whole, err := Load(filepath.Join("testdata", "sentence.json"))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := whole.MarshalJSON()
	for name, c := range map[string]struct{ old, new, says string }{
		"another prefix":      {`"prepend":"▁"`, `"prepend":"_"`, "byte_fallback"},
		"pre-tokenizer":       {`"pre_tokenizer": null`, `"pre_tokenizer": {"type": "Metaspace"}`, "Metaspace"},
		"decoder":             {`{"type":"ByteFallback"},`, ``, "decoder"},
		"no byte fallback":    {`"byte_fallback": true`, `"byte_fallback": false`, "byte_fallback"},
		"a byte missing":      {`"<0x41>"`, `"<0x4g>"`, "<0x41>"},
		"ignored merges":      {`"ignore_merges": false`, `"ignore_merges": true`, "ignore_merges"},
		"dropout":             {`"dropout": null`, `"dropout": 0.5`, "dropout"},
		"unigram":             {`"type": "BPE"`, `"type": "Unigram"`, "Unigram"},
		"words":               {`"type": "BPE"`, `"type": "WordLevel"`, "normalizer"},
		"normalised addition": {`"normalized": false`, `"normalized": true`, "normalized"},
	} {
		edited := strings.Replace(string(text), c.old, c.new, 1)
		if edited == string(text) {
			t.Fatalf("%s: nothing to replace", name)
		}
		if _, err := Parse([]byte(edited)); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// FuzzSentence: any text comes back, but ▁, which stands for a space, and the names of added tokens.
func FuzzSentence(f *testing.F) {
	tok, err := Load(filepath.Join("testdata", "sentence.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(" First Citizen: don't 日本語 👩‍👩‍👧\r\n\x00")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, text string) {
		ids, err := tok.Encode(text)
		var encoding *EncodingError
		if errors.As(err, &encoding) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		back, err := tok.Decode(ids)
		if err != nil {
			t.Fatal(err)
		}
		for _, special := range []string{lowerBlock, "<unk>", "<s>", "</s>"} {
			if strings.Contains(text, special) {
				return
			}
		}
		if back != text {
			t.Fatalf("%q came back as %q", text, back)
		}
	})
}
