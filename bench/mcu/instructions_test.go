package mcu

import (
	"context"
	"testing"

	"mito/engine/arch"
	"mito/engine/export/c99"
)

// micro is the shape of mito's 60K student: mito info.
func micro(vocab, context int) arch.Config {
	c := arch.Edge(vocab, context, 2, 64, 4, 2)
	c.IntermediateSize, c.QKNorm = 128, true
	return c
}

// bounds are the most instructions that the token at position 31 of the 60K student may take, and the self-test: 10 ms at 100 MHz
// where there is a floating-point unit. 0 is for none.
var bounds = map[string][2]int{
	"cortex-m0+": {1_600_000, 0}, "cortex-m3": {750_000, 0}, "cortex-m4f": {300_000, 1_000_000}, "cortex-m7": {300_000, 1_000_000},
	"cortex-m33": {300_000, 1_000_000}, "cortex-m55": {300_000, 1_000_000},
}

// TestInstructions prints what a token and the self-test take, and holds them to bounds. What it prints is the answer to "how many
// instructions does a token take": go test ./bench/mcu -boards -run Instructions -v
func TestInstructions(t *testing.T) {
	ctx := context.Background()
	for _, x := range []struct {
		name string
		c    arch.Config
	}{{"a vocabulary of 64, a context of 128", micro(64, 128)}, {"tictactoe", micro(29, 11)}} {
		files, err := c99.Write(weights(t, x.c, false), nil, c99.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range present(t) {
			tokens, err := b.build(ctx, files, t.TempDir(), whatTokens, "-DSTUDENT_SELFTEST=0", "-DSTUDENT_SAMPLE=0")
			if err != nil {
				t.Fatal(err)
			}
			position := min(31, x.c.Context-2)
			token, err := tokens.another(ctx, position)
			if err != nil {
				t.Fatal(err)
			}
			boot, err := b.build(ctx, files, t.TempDir(), whatSelftest, "-DUNCHECKED")
			if err != nil {
				t.Fatal(err)
			}
			test, err := boot.another(ctx, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%-10s %s: token %d takes %d instructions, the self-test %d", b.Name, x.name, position, token, test)
			for i, n := range []int{token, test} {
				if most := bounds[b.Name][i]; most > 0 && n > most {
					t.Errorf("%s, %s: %s takes %d instructions, at most %d are allowed", b.Name, x.name, []string{"a token", "the self-test"}[i], n, most)
				}
			}
		}
	}
}
