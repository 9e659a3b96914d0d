package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/lora"
	"mito/engine/compress/quant"
	"mito/engine/files"
	"mito/engine/runs"
	"mito/engine/student"
)

// mergedConfig is the config.json of a model with an adapter in its weights.
type mergedConfig struct {
	arch.Config
	Merged *mergedRecord `json:"mito_merged_adapter,omitempty"`
}

// mergedRecord says what was merged, so that it is not merged again and can be taken out.
type mergedRecord struct {
	Adapter string `json:"adapter_sha256"`
	Base    string `json:"base_sha256"`
}

// MergedError refuses to merge an adapter that is in the weights already, or to take out one that is not.
type MergedError struct{ Path, Reason string }

func (e *MergedError) Error() string { return e.Path + " " + e.Reason }

// Merge adds an adapter to the weights of a model and writes the result to a folder where nothing lies. The matrices of an INT8
// model that the adapter changes are rounded again, all others keep their codes. With undo it takes out what Merge added to
// float weights, up to rounding. Errors: *MergedError, *lora.BaseError, those of the readers, *files.ForeignError.
func Merge(ctx context.Context, base *Base, adapter, dir string, undo bool) (err error) {
	if err := runs.CheckFree(dir); err != nil {
		return err
	}
	a, err := lora.Read(adapter, base.Floats.Config)
	if err != nil {
		return err
	}
	hash, err := checkpoint.FileSHA256(filepath.Join(lora.Dir(adapter), lora.WeightsName))
	if err != nil {
		return err
	}
	record, err := base.checkMerge(a, adapter, hash, undo)
	if err != nil {
		return err
	}
	lock, err := files.LockBeside(dir)
	if err != nil {
		return err
	}
	defer closing(closer(lock.Release), &err)
	var c *checkpoint.Contents
	if base.Int8 != nil {
		c, err = mergeInt8(ctx, base.Int8, a)
	} else {
		c, err = mergeFloat(base, a, undo)
	}
	if err != nil {
		return err
	}
	c.Config, c.Generation, c.SaveTokenizer = mergedConfig{base.Floats.Config, record}, base.Generation, base.Tokenizer.Save
	if err := checkpoint.Save(dir, c); err != nil {
		return fmt.Errorf("saving %s: %w", dir, err)
	}
	return nil
}

// checkMerge returns what the result says of itself; nil for a base again.
func (b *Base) checkMerge(a *lora.Adapter, name, hash string, undo bool) (*mergedRecord, error) {
	switch {
	case !undo && b.merged != nil && b.merged.Adapter == hash:
		return nil, &MergedError{b.Dir, "has this adapter in its weights already"}
	case !undo:
		return &mergedRecord{Adapter: hash, Base: b.Hash}, a.CheckBase(name, b.Hash)
	case b.Int8 != nil:
		return nil, &MergedError{b.Dir, "is INT8: what was rounded cannot be taken apart; keep the model that was merged into"}
	case b.merged == nil || b.merged.Adapter != hash:
		return nil, &MergedError{b.Dir, "does not have this adapter in its weights"}
	}
	return nil, nil
}

func mergeFloat(base *Base, a *lora.Adapter, undo bool) (*checkpoint.Contents, error) {
	merge := a.Merge
	if undo {
		merge = a.Unmerge
	}
	w, err := merge(base.Floats)
	if err != nil {
		return nil, err
	}
	c := &checkpoint.Contents{}
	for _, t := range w.Config.Tensors() {
		c.Tensors = append(c.Tensors, checkpoint.FromF32(t.Name, t.Shape, w.Tensors[t.Name]))
	}
	return c, nil
}

func mergeInt8(ctx context.Context, w *student.Weights, a *lora.Adapter) (*checkpoint.Contents, error) {
	floats := lora.Expand(w).Tensors
	out := *w
	out.Layers = slices.Clone(w.Layers)
	err := out.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		p := a.Lookup(name)
		if m == nil || p == nil {
			return nil
		}
		x := floats[name+".weight"]
		a.AddTo(x, p, 1)
		q, scale := make([]int8, len(m.Q)), make([]float32, m.Rows)
		for r := range m.Rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			scale[r] = quant.SearchRow(q[r*m.Cols:][:m.Cols], x[r*m.Cols:][:m.Cols], nil)
		}
		m.Q, m.Scale = q, scale
		return nil
	})
	if err != nil {
		return nil, err
	}
	c, err := quant.Contents(&out, nil)
	if err != nil {
		return nil, errors.Join(errors.New("the merged weights"), err)
	}
	return c, nil
}
