package prune

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"mito/engine/arch"
	"mito/engine/train"
)

// Kind is the shape of what is removed.
type Kind string

// The kinds. The first three mask, the others shrink the tensors.
const (
	Unstructured Kind = "unstructured"
	Block4x8     Kind = "block4x8" // blocks of kernels/sparse
	TwoFour      Kind = "2:4"      // two of every four neighbours in a row
	Heads        Kind = "heads"    // key/value heads with the query heads that share them
	Neurons      Kind = "neurons"  // of the MLPs
	Layers       Kind = "layers"
	Width        Kind = "width" // channels of the residual stream
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Unstructured, Block4x8, TwoFour, Heads, Neurons, Layers, Width} }

// Masks says that the kind leaves the shapes and sets weights to zero.
func (k Kind) Masks() bool { return k == Unstructured || k == Block4x8 || k == TwoFour }

// Score says what is removed first.
type Score string

// The scores, see the package.
const (
	Magnitude Score = "magnitude"
	Wanda     Score = "wanda"
	OBC       Score = "obc"
	Taylor    Score = "taylor"
)

// Scores lists the scores.
func Scores() []Score { return []Score{Magnitude, Wanda, OBC, Taylor} }

// Ramps of a pruning.
const (
	OneShot = "oneshot"
	Cubic   = "cubic"
)

// Options say what to prune and how.
type Options struct {
	Kind  Kind  `json:"kind"`
	Score Score `json:"score"`
	// Sparsity is the share to remove: of the weights of every matrix, or of the units of a structured kind. 0 where Keep
	// says it.
	Sparsity float64 `json:"sparsity"`
	// Spread is how far the sparsity of a matrix may lie from Sparsity: where blocks or weights matter most by their first-order
	// Taylor score, over all matrices, more of them stay. 0 makes all matrices alike. Of unstructured and block4x8 only.
	Spread float64 `json:"spread,omitempty"`
	// Keep is the number of units that a structured kind leaves: query heads or neurons of every layer, layers, channels. 0
	// where Sparsity says it.
	Keep int `json:"keep,omitempty"`
	// Modules are patterns of path.Match over names of matrices, with what stands before those of a layer
	// (model.layers.0.mlp.up_proj) or without it (mlp.up_proj); none means all inside the layers. Only kinds that mask have
	// them.
	Modules []string `json:"modules,omitempty"`
}

func refuse(field string, got any, format string, args ...any) error {
	return &train.OptionError{Field: field, Got: got, Want: fmt.Sprintf(format, args...)}
}

func list[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

// Validate refuses options that no model can be pruned by. Errors: *train.OptionError.
func (o Options) Validate() error {
	switch {
	case !slices.Contains(Kinds(), o.Kind):
		return refuse("kind", fmt.Sprintf("%q", string(o.Kind)), "one of %s", list(Kinds()))
	case !slices.Contains(Scores(), o.Score):
		return refuse("score", fmt.Sprintf("%q", string(o.Score)), "one of %s", list(Scores()))
	case !(o.Sparsity >= 0 && o.Sparsity < 1):
		return refuse("sparsity", o.Sparsity, "0 or more and less than 1: the share of weights to remove")
	case o.Keep < 0:
		return refuse("keep", o.Keep, "1 or more")
	case o.Kind.Masks() && o.Keep != 0:
		return refuse("keep", o.Keep, "left out with kind %s, which takes a sparsity", o.Kind)
	case !(o.Spread >= 0 && o.Spread < 1):
		return refuse("spread", o.Spread, "0 or more and less than 1")
	case o.Spread != 0 && o.Kind != Unstructured && o.Kind != Block4x8:
		return refuse("spread", o.Spread, "left out with kind %s: it is for unstructured and block4x8", o.Kind)
	case o.Kind == TwoFour && o.Sparsity != 0.5:
		return refuse("sparsity", o.Sparsity, "0.5 with kind 2:4, which is just that")
	case o.Keep == 0 && o.Sparsity == 0:
		return refuse("sparsity", o.Sparsity, "more than 0%s", map[bool]string{false: ", or a number to keep"}[o.Kind.Masks()])
	case o.Keep != 0 && o.Sparsity != 0:
		return refuse("keep", o.Keep, "left out beside a sparsity: give one of them")
	case !o.Kind.Masks() && len(o.Modules) > 0:
		return refuse("modules", strings.Join(o.Modules, " "), "left out with kind %s, which removes whole units", o.Kind)
	case o.Score == OBC && (o.Kind == Layers || o.Kind == Width):
		return refuse("score", OBC, "magnitude, wanda or taylor with kind %s: obc makes up for inputs of one matrix", o.Kind)
	}
	for _, p := range o.Modules {
		if _, err := path.Match(p, ""); err != nil {
			return refuse("modules", fmt.Sprintf("%q", p), "a pattern such as mlp.* or model.layers.0.*")
		}
	}
	return nil
}

// Looks says that what is pruned depends on data.
func (o Options) Looks() bool { return o.Score != Magnitude || o.Spread != 0 }

// Targets lists the matrices that a kind that masks works on. Errors: *train.OptionError, of a pattern that matches nothing or
// a matrix that does not divide.
func (o Options) Targets(c arch.Config) ([]arch.Module, error) {
	targets, err := targets(c, o.Modules)
	if err != nil {
		return nil, err
	}
	for _, m := range targets {
		if o.Kind == TwoFour && m.Cols%4 != 0 {
			return nil, refuse("kind", o.Kind, "another for %s, whose %d columns do not divide by 4; modules leaves matrices out", m.Name, m.Cols)
		}
	}
	return targets, nil
}

// targets lists the matrices inside the layers that patterns name, and returns an error too for a pattern that names none.
func targets(c arch.Config, patterns []string) ([]arch.Module, error) {
	var found []arch.Module
	used := make([]bool, len(patterns))
	for _, m := range c.Modules() {
		if !m.IsMatrix() || m.Part.Table() {
			continue
		}
		hit := len(patterns) == 0
		for i, p := range patterns {
			if match(p, m) {
				hit, used[i] = true, true
			}
		}
		if hit {
			found = append(found, m)
		}
	}
	for i, p := range patterns {
		if !used[i] {
			return found, refuse("modules", fmt.Sprintf("%q", p), "a pattern of some matrix inside the layers, such as mlp.* or self_attn.q_proj")
		}
	}
	return found, nil
}

func match(pattern string, m arch.Module) bool {
	long, _ := path.Match(pattern, m.Name)
	short, _ := path.Match(pattern, m.Part.String())
	return long || short
}
