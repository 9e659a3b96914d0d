package lora

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"mito/engine/arch"
)

// Config says what an adapter is: PEFT's words for it, without what mito does not compute.
type Config struct {
	Rank    int      `json:"r"`
	Alpha   float64  `json:"alpha"`
	RSLoRA  bool     `json:"rslora"`
	Dropout float64  `json:"dropout"` // of the adapter's input, while it is trained
	Targets []string `json:"targets"` // patterns of modules, see Modules
	Layers  []int    `json:"layers"`  // those that adapt; nil for all
}

// ConfigError reports a setting that no adapter can have.
type ConfigError struct {
	Field     string
	Got, Want string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("lora: %s is %s, want %s", e.Field, e.Got, e.Want)
}

// DefaultTargets are all linear layers of a block, as the paper's successors advise; the query and value alone are what the
// paper took.
func DefaultTargets() []string {
	return []string{"q_proj", "k_proj", "v_proj", "o_proj", "mlp.*"}
}

// Scale is the factor s of the product of B and A. It is applied once, wherever the adapter is used.
func (c *Config) Scale() float32 {
	if c.RSLoRA {
		return float32(c.Alpha / math.Sqrt(float64(c.Rank)))
	}
	return float32(c.Alpha / float64(c.Rank))
}

// Modules lists the modules of a model that the adapter changes, in the order of the file. A target is the last part of a
// module's name (q_proj), its name inside a layer (mlp.up_proj), or such a name with the wildcards of path.Match (mlp.*).
// Errors: *ConfigError for settings out of range, a target that no module answers to or that is a table, a layer that there is
// not, and a rank above the width of a module, which would train more than the module has.
func (c *Config) Modules(a arch.Config) ([]arch.Module, error) {
	if err := c.check(a); err != nil {
		return nil, err
	}
	var list []arch.Module
	met := map[string]bool{}
	for _, m := range a.Modules() {
		if m.Layer < 0 || !m.IsMatrix() || m.Part.Table() {
			continue
		}
		meant := false
		for _, t := range c.Targets {
			if matches(t, m.Part) {
				met[t], meant = true, true
			}
		}
		if meant && (c.Layers == nil || slices.Contains(c.Layers, m.Layer)) {
			list = append(list, m)
		}
	}
	for _, t := range c.Targets {
		if !met[t] {
			return nil, &ConfigError{"target", fmt.Sprintf("%q", t), "one of " + strings.Join(linears(a), ", ") +
				", or a pattern of them; embeddings and output heads are not adapted"}
		}
	}
	for _, m := range list {
		if err := c.narrow(m); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// narrow refuses a rank that a module cannot have.
func (c *Config) narrow(m arch.Module) error {
	least := min(m.Rows, m.Cols)
	if c.Rank <= least {
		return nil
	}
	return &ConfigError{"rank", fmt.Sprint(c.Rank), fmt.Sprintf("at most %d, the width of %s [%d,%d]: "+
		"beyond it an adapter is larger than what it adapts", least, m.Name, m.Rows, m.Cols)}
}

// Params is the number of values that the adapters of modules have.
func (c *Config) Params(modules []arch.Module) (n int64) {
	for _, m := range modules {
		n += int64(c.Rank) * int64(m.Rows+m.Cols)
	}
	return n
}

func (c *Config) check(a arch.Config) error {
	switch {
	case c.Rank < 1:
		return &ConfigError{"rank", fmt.Sprint(c.Rank), "1 or more"}
	case !(c.Alpha > 0) || math.IsInf(c.Alpha, 0) || c.Scale() == 0 || math.IsInf(float64(c.Scale()), 0):
		return &ConfigError{"alpha", fmt.Sprint(c.Alpha), "a positive number"}
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return &ConfigError{"dropout", fmt.Sprint(c.Dropout), "in [0,1)"}
	case len(c.Targets) == 0:
		return &ConfigError{"targets", "none", "one or more of " + strings.Join(linears(a), ", ")}
	case c.Layers != nil && len(c.Layers) == 0:
		return &ConfigError{"layers", "none", "one or more, or all"}
	}
	for _, i := range c.Layers {
		if i < 0 || i >= a.Layers {
			return &ConfigError{"layer", fmt.Sprint(i), fmt.Sprintf("0 to %d", a.Layers-1)}
		}
	}
	return nil
}

// matches says that a pattern means a part of a layer.
func matches(pattern string, p arch.Part) bool {
	name := p.String()
	for _, n := range []string{name, name[strings.LastIndexByte(name, '.')+1:]} {
		if ok, err := path.Match(pattern, n); ok && err == nil {
			return true
		}
	}
	return false
}

// linears lists what can be adapted, by the last part of its name.
func linears(a arch.Config) (names []string) {
	for _, m := range a.Modules() {
		if m.Layer == 0 && m.IsMatrix() && !m.Part.Table() {
			names = append(names, lastPart(m.Part))
		}
	}
	return names
}

func lastPart(p arch.Part) string {
	name := p.String()
	return name[strings.LastIndexByte(name, '.')+1:]
}

// First is the lowest layer that adapts: what the layers before it compute depends on the base alone.
func First(modules []arch.Module) int {
	first := math.MaxInt
	for _, m := range modules {
		first = min(first, m.Layer)
	}
	return first
}
