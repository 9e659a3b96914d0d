package quant

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"mito/engine/arch"
	"mito/engine/checkpoint"
)

// Ternary are codes of -1, 0 and 1, see checkpoint.Ternary.
const Ternary = checkpoint.Ternary

// wholeBits are weights that are no codes of fewer.
const wholeBits = checkpoint.WholeBits

// Rule gives the modules that a pattern names (arch.Module.Matches) a number of bits: 3 to 8, or Ternary.
type Rule struct {
	Pattern string
	Bits    int
}

func (r Rule) String() string { return r.Pattern + "=" + BitsName(r.Bits) }

// BitsName is how people write a number of bits.
func BitsName(bits int) string {
	if bits == Ternary {
		return "ternary"
	}
	return strconv.Itoa(bits)
}

// Errors of rules.
var (
	ErrPattern = errors.New("no matrix has such a name")
	ErrBits    = errors.New("no such precision")
)

const bitsWanted = "8, 7, 6, 5, 4, 3 or ternary"

// ParseRules reads rules such as "mlp.*=4,attn.*=8,embed=ternary"; a precision alone is that of every matrix. Of several
// rules for a matrix the last holds. Errors: ErrBits, ErrPattern for a pattern that cannot be one.
func ParseRules(text string) ([]Rule, error) {
	var rules []Rule
	for _, part := range strings.Split(text, ",") {
		pattern, word, found := strings.Cut(part, "=")
		if !found {
			pattern, word = "*", part
		}
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return nil, fmt.Errorf("quant: %q: %w: want one such as mlp.*, attn.q or layers.0.*", pattern, ErrPattern)
		}
		rule := Rule{Pattern: pattern}
		switch word {
		case "ternary":
			rule.Bits = Ternary
		case "f16", "bf16", "f32":
			return nil, fmt.Errorf("quant: %s: %w: an INT8 student has no %s matrix: its sums are exact integers, which is why every machine computes "+
				"the same bits, and a sum of halves is not exact; want %s, or keep the float model, which runs as it is", part, ErrBits, word, bitsWanted)
		default:
			n, err := strconv.Atoi(word)
			if err != nil || n < 3 || n > wholeBits {
				return nil, fmt.Errorf("quant: %q: %w: want %s", part, ErrBits, bitsWanted)
			}
			rule.Bits = n
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// BitsOf gives every matrix that ships its bits, 8 where no rule names it. Errors: ErrPattern for a rule that names none.
func BitsOf(c arch.Config, rules []Rule) (map[string]int, error) {
	bits := map[string]int{}
	used := make([]bool, len(rules))
	for _, m := range c.Modules() {
		if !m.IsMatrix() || m.Part == arch.AuxHead {
			continue
		}
		bits[m.Name] = wholeBits
		for i, r := range rules {
			if m.Matches(r.Pattern) || r.Pattern == "*" {
				bits[m.Name], used[i] = r.Bits, true
			}
		}
	}
	for i, r := range rules {
		if !used[i] {
			return nil, fmt.Errorf("quant: %q: %w; the names are those of its folder, such as model.layers.0.mlp.up_proj, or short: embed, attn.q, mlp.*, layers.0.*", r.Pattern, ErrPattern)
		}
	}
	return bits, nil
}
