package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"mito/engine/checkpoint"
	"mito/engine/compress/lora"
	"mito/engine/compress/prune"
	"mito/engine/compress/quant"
	"mito/engine/export/hf"
	"mito/engine/files"
	"mito/engine/runs"
	"mito/engine/student"
)

// mergedKey is the key of config.json that says what was merged.
const mergedKey = "mito_merged_adapter"

// mergedRecord says what was merged, so that it is not merged again and can be taken out.
type mergedRecord struct {
	Adapter string `json:"adapter_sha256"`
	Base    string `json:"base_sha256"`
}

func readMerged(f *checkpoint.Folder) (*mergedRecord, error) {
	var c struct {
		Merged *mergedRecord `json:"mito_merged_adapter"`
	}
	err := files.DecodeJSON(f.Config, &c)
	return c.Merged, files.WithPath(err, filepath.Join(f.Dir, checkpoint.ConfigName))
}

// addTo returns config.json, one JSON object in whatever form, with the record in it; r may be nil.
func (r *mergedRecord) addTo(config any) (any, error) {
	if r == nil {
		return config, nil
	}
	text, err := files.EncodeJSON(config)
	if err != nil {
		return nil, err
	}
	object := map[string]json.RawMessage{}
	if err := files.DecodeJSON(text, &object); err != nil {
		return nil, err
	}
	object[mergedKey], err = json.Marshal(r)
	return object, err
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
	if err := base.checkPruned(a); err != nil {
		return err
	}
	var c *checkpoint.Contents
	if base.Int8 != nil {
		c, err = mergeInt8(ctx, base, a)
	} else {
		c, err = mergeFloat(base, a, undo)
	}
	if err != nil {
		return err
	}
	if c.Generation == nil || base.Generation != nil {
		c.Generation = base.Generation
	}
	if c.Config, err = record.addTo(c.Config); err != nil {
		return err
	}
	if len(base.pruning) > 0 {
		if c.Config, err = base.pruning.AddTo(c.Config); err != nil {
			return err
		}
	}
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

// checkPruned refuses to fill weights that were pruned: they are stored, and skipped, as zeros.
func (b *Base) checkPruned(a *lora.Adapter) error {
	masks := prune.MasksOf(b.pruning, b.Floats)
	for _, p := range a.Pairs {
		if name := p.Module.Weight().Name; slices.Contains(masks[name], 0) {
			return &MergedError{b.Dir, "has pruned weights in " + name + ", which the adapter would fill again: use it beside the weights"}
		}
	}
	return nil
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
	var tensors []checkpoint.Tensor
	for _, t := range w.Config.Tensors() {
		tensors = append(tensors, checkpoint.FromF32(t.Name, t.Shape, w.Tensors[t.Name]))
	}
	return hf.Contents(w.Config, tensors, base.Tokenizer)
}

func mergeInt8(ctx context.Context, base *Base, a *lora.Adapter) (*checkpoint.Contents, error) {
	w := base.Int8
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
		return nil, fmt.Errorf("the merged weights: %w", err)
	}
	c.SaveTokenizer = base.Tokenizer.Save
	return c, nil
}
