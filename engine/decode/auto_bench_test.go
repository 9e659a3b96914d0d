package decode

import (
	"testing"

	"mito/engine/arch"
	"mito/engine/tokenizer"
)

// BenchmarkAuto writes 20,000 random characters with an INT8 student of the 460K class, whose text no n-gram foretells: what Auto
// takes for finding that out, against plain decoding.
func BenchmarkAuto(b *testing.B) {
	tok := must(tokenizer.NewChars(alphabet))
	c := arch.Edge(tok.VocabSize(), 128, 4, 96, 4, 4)
	for _, name := range []string{"none", "auto"} {
		b.Run(name, func(b *testing.B) {
			var o GeneratorOptions
			if name == "auto" {
				o.Speculator = NewAuto(8, Named{"ngram", NewNGram(8)})
			}
			g := must(NewGenerator(runtimes(b, c, tok, 1)[Int8], o))
			text := GenerateOptions{Sampling: Sampling{Temperature: 1, Seed: 1}, MaxTokens: 20000, Slide: true, IgnoreEOS: true}
			for b.Loop() {
				if _, err := g.Generate(b.Context(), "0", text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
