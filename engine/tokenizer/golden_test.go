package tokenizer

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/chars.json and testdata/bpe.json")

const sampleVocab = 380

func sample(t testing.TB) string {
	t.Helper()
	return readFile(t, "sample.txt")
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestCanonicalFiles pins the files byte for byte: hashes in saved models
// depend on them. The trained one was compared with Hugging Face's trainer when
// the golden file was made.
func TestCanonicalFiles(t *testing.T) {
	chars, err := NewChars(sample(t), EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	bpe, err := TrainBPE(sample(t), sampleVocab, EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	if bpe.VocabSize() != sampleVocab {
		t.Fatalf("vocabulary %d, want %d", bpe.VocabSize(), sampleVocab)
	}
	for name, tok := range map[string]Tokenizer{"chars.json": chars, "bpe.json": bpe} {
		if *update {
			if err := tok.Save(filepath.Join("testdata", name)); err != nil {
				t.Fatal(err)
			}
		}
		got, err := tok.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != readFile(t, name) {
			t.Errorf("%s: what is written now differs from the committed file", name)
		}
		if want := int32(tok.VocabSize() - 1); tok.EOS() != want {
			t.Errorf("%s: end of text is %d, want %d", name, tok.EOS(), want)
		}
	}
}

// TestHuggingFace compares with what the tokenizers library said about the same files.
func TestHuggingFace(t *testing.T) {
	type cases []struct {
		Text string  `json:"text"`
		IDs  []int32 `json:"ids"`
	}
	var golden map[string]struct{ Encode, Decode cases }
	if err := json.Unmarshal([]byte(readFile(t, "golden.json")), &golden); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chars", "bpe", "hf-digits"} {
		t.Run(name, func(t *testing.T) {
			tok, err := Load(filepath.Join("testdata", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			g := golden[name]
			if len(g.Encode) == 0 || len(g.Decode) == 0 {
				t.Fatal("no cases")
			}
			for _, c := range g.Encode {
				ids, err := tok.Encode(c.Text)
				if err != nil {
					t.Fatalf("%q: %v", c.Text, err)
				}
				if !slices.Equal(ids, c.IDs) {
					t.Errorf("%.60q: got %v, want %v", c.Text, ids, c.IDs)
				}
				back, err := tok.Decode(ids)
				if err != nil || back != c.Text {
					t.Errorf("%.60q came back as %.60q, %v", c.Text, back, err)
				}
			}
			for _, c := range g.Decode {
				text, err := tok.Decode(c.IDs)
				if err != nil || text != c.Text {
					t.Errorf("decode %v: got %q, %v, want %q", c.IDs, text, err, c.Text)
				}
			}
		})
	}
}
