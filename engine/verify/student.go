package verify

import (
	"context"
	"errors"
	"fmt"

	"mito/engine/student"
	"mito/kernels/isa"
)

// Variant is one way to run a student, with the digest that came out.
type Variant struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Report is the result of a verification. Digest and Parts are those of the first variant; Identical says that all agree with it.
type Report struct {
	Digest    string    `json:"digest"`
	Identical bool      `json:"identical"`
	Variants  []Variant `json:"variants"`
	Parts     Parts     `json:"parts"`
}

// Parts are the digests that a digest is made of.
type Parts struct {
	Functions string `json:"functions"`
	Stream    string `json:"stream"`
	Weights   string `json:"weights"`
}

// Names lists the variants.
func (r Report) Names() []string {
	names := make([]string, len(r.Variants))
	for i, v := range r.Variants {
		names[i] = v.Name
	}
	return names
}

func (r *Report) add(name string, d student.Digests) {
	if len(r.Variants) == 0 {
		r.Digest, r.Identical = d.Digest, true
		r.Parts = Parts{d.Functions, d.Stream, d.Weights}
	}
	r.Variants = append(r.Variants, Variant{name, d.Digest})
	r.Identical = r.Identical && d.Digest == r.Digest
}

// run is a way to compute the digest.
type run struct {
	name   string
	model  student.Options
	digest student.DigestOptions
}

// runs differ in what must not matter: threads, batch, pages of the cache, tokens given at once, how weights are stored. The
// last is for models with matrices that are sparse enough only.
var runs = []run{
	{"1 thread, batch 1", student.Options{Threads: 1, Blocks: student.BlocksNever}, student.DigestOptions{Batch: 1}},
	{"2 threads, batch 8", student.Options{Threads: 2, Blocks: student.BlocksNever}, student.DigestOptions{Batch: 8}},
	{"2 threads, batch 1, 100 tokens at once", student.Options{Threads: 2, Blocks: student.BlocksNever}, student.DigestOptions{Batch: 1, Prefill: 100}},
	{"1 thread, batch 8, pages of 3", student.Options{Threads: 1, PageSize: 3, Blocks: student.BlocksNever}, student.DigestOptions{Batch: 8, Prefill: 7}},
	{"2 threads, batch 3, sparse blocks", student.Options{Threads: 2, Blocks: student.BlocksAlways}, student.DigestOptions{Batch: 3, Prefill: 40}},
}

// Student computes the digest of a student with every kernel variant of this processor, with several numbers of threads,
// batches, page sizes and ways to give the tokens, in sparse blocks where it has matrices for that, and, where reload is
// not nil, after loading it again. It must not run while other kernels do: it switches their variants, and puts them back. Errors are ctx's and those of package student.
func Student(ctx context.Context, w *student.Weights, reload func() (*student.Weights, error)) (r Report, err error) {
	if err := w.Config.Validate(); err != nil {
		return r, err
	}
	w = w.ForDigest()
	restore := chosen()
	defer func() { err = errors.Join(err, restore()) }()
	for _, level := range isa.Levels() {
		if err := isa.Limit(level); err != nil {
			return r, err
		}
		if err := r.runs(ctx, w, level+", "); err != nil {
			return r, err
		}
	}
	if reload == nil {
		return r, nil
	}
	again, err := reload()
	if err != nil {
		return r, fmt.Errorf("verify: loading the student again: %w", err)
	}
	return r, r.one(ctx, again.ForDigest(), "loaded again", runs[0])
}

// chosen remembers the variant of every kernel package and returns what puts them back.
func chosen() (restore func() error) {
	kernels := isa.Kernels()
	variants := make([]string, len(kernels))
	for i, k := range kernels {
		variants[i] = k.Variant()
	}
	return func() (err error) {
		for i, k := range kernels {
			err = errors.Join(err, k.SetVariant(variants[i]))
		}
		return err
	}
}

func (r *Report) runs(ctx context.Context, w *student.Weights, prefix string) error {
	for _, way := range runs {
		if err := r.one(ctx, w, prefix+way.name, way); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) one(ctx context.Context, w *student.Weights, name string, way run) error {
	m, err := student.New(w, way.model)
	if err != nil {
		return err
	}
	defer m.Close()
	if way.model.Blocks == student.BlocksAlways && m.Blocked() == 0 {
		return nil // the same as a dense run
	}
	way.digest.Check = ctx.Err
	digest, err := student.Prove(m, way.digest)
	if err != nil {
		return fmt.Errorf("verify: %s: %w", name, err)
	}
	r.add(name, digest)
	return nil
}
