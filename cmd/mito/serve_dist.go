//go:build dist

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mito/backend"
	"mito/engine/compress/search"
	"mito/engine/pipeline"
	"mito/engine/trials"
)

func init() { serveTrials, workTrials = serveSearch, workSearch }

// mostBundle bounds the files of a search, which come over a network.
const mostBundle = 1 << 36

// served is a search's pool of workers. Its server begins with the first round: before that the search has made no folder.
type served struct {
	o      serveOptions
	server *trials.Server
}

func serveSearch(o serveOptions) (pipeline.Pool, func(error) error, error) {
	if err := trials.Check(o.ServeOptions); err != nil {
		return nil, nil, err
	}
	o.Dir = trials.StoreIn(o.dir)
	s := &served{o: o}
	return s, s.end, nil
}

// begin starts the server and tells it what workers need.
func (s *served) begin(ctx context.Context) (err error) {
	if s.server != nil {
		return nil
	}
	if s.server, err = trials.Serve(ctx, s.o.ServeOptions); err != nil {
		return err
	}
	job, err := json.Marshal(s.o.job)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(pipeline.Pack(w, s.o.files)) }()
	defer r.Close()
	if err := s.server.Begin(ctx, s.o.version, job, r); err != nil {
		return err
	}
	if s.o.lines {
		fmt.Fprintf(s.o.stderr, "trials for workers: mito worker %s\n", s.server.URL())
	}
	return nil
}

// Run implements pipeline.Pool.
func (s *served) Run(ctx context.Context, list []search.Trial, here func(context.Context, search.Trial) error,
	take func(search.Trial, io.Reader) error, tell func(int, string)) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	queue := make([]trials.Trial, len(list))
	for i, t := range list {
		text, err := json.Marshal(t)
		if err != nil {
			return err
		}
		queue[i] = trials.Trial{ID: t.Name(), Text: text}
	}
	o := trials.RunOptions{
		Take: func(t trials.Trial, made io.Reader) error {
			trial, err := trialOf(t)
			if err != nil {
				return err
			}
			return take(trial, made)
		},
		Watch: func(status trials.Status) { tell(status.Done, status.String()) },
	}
	if !s.o.alone {
		o.Here = func(ctx context.Context, t trials.Trial) error {
			trial, err := trialOf(t)
			if err != nil {
				return err
			}
			return here(ctx, trial)
		}
	}
	return s.server.Run(ctx, queue, o)
}

// trialOf reads the description of a trial, whose id is its hash.
func trialOf(t trials.Trial) (trial search.Trial, err error) {
	if err := json.Unmarshal(t.Text, &trial); err != nil {
		return trial, fmt.Errorf("the description of trial %s: %w", t.ID, err)
	}
	if trial.Name() != t.ID {
		return trial, fmt.Errorf("the description of trial %s is that of %s", t.ID, trial.Name())
	}
	return trial, nil
}

// end tells the workers that the search is done, where it is, and stops the server.
func (s *served) end(failed error) error {
	if s.server == nil {
		return nil
	}
	var err error
	if failed == nil {
		err = s.server.End(context.Background())
	}
	return errors.Join(err, s.server.Close())
}

// workSearch runs trials of a search in a folder.
func workSearch(cmd *cobra.Command, f *workerFlags, dir string) error {
	say := func(format string, args ...any) {
		if !f.quiet {
			fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
		}
	}
	ctx := cmd.Context()
	w, text, err := trials.Connect(ctx, f.o)
	if err != nil {
		return err
	}
	defer w.Close()
	var job searchJob
	if err := json.Unmarshal(text, &job); err != nil {
		return fmt.Errorf("what the search is: %w", err)
	}
	files := filepath.Join(dir, "files")
	r, in := io.Pipe()
	go func() { in.CloseWithError(w.Bundle(ctx, in)) }()
	err = pipeline.Unpack(files, r, mostBundle)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("the files of the search: %w", err)
	}
	args, err := jobArgs(job, files)
	if err != nil {
		return err
	}
	done := 0
	s := &searchFlags{inWorker: func(ctx context.Context, b backend.Backend, work *pipeline.Workload, o pipeline.SearchOptions) error {
		t, err := pipeline.OpenTrials(ctx, b, work, o)
		if err != nil {
			return err
		}
		say("working for %s", f.o.URL)
		return w.Work(ctx, func(ctx context.Context, one trials.Trial) (io.ReadCloser, error) {
			trial, err := trialOf(one)
			if err != nil {
				return nil, err
			}
			made, err := t.Run(ctx, trial)
			if err == nil {
				done++
				say("trial %s", one.ID)
			}
			return made, err
		})
	}}
	inner := s.command()
	inner.SetArgs(append(args, "--out="+filepath.Join(dir, "found"), "--quiet", fmt.Sprintf("--threads=%d", f.machine.threads),
		"--backend="+f.machine.backend, "--precision="+f.machine.precision))
	inner.SetOut(io.Discard)
	inner.SetErr(cmd.ErrOrStderr())
	inner.SilenceErrors, inner.SilenceUsage = true, true
	if err := inner.ExecuteContext(ctx); err != nil {
		return err
	}
	say("the search is done; %d trials were run here", done)
	return nil
}

// jobArgs are the arguments of a job with the files where they are now. A job that names others is refused: a worker gives its
// search nothing of its own machine.
func jobArgs(job searchJob, files string) ([]string, error) {
	var args []string
	for _, a := range job.Args {
		name, value, ok := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if !ok || !strings.HasPrefix(a, "--") || ownFlags[name] {
			return nil, fmt.Errorf("the search gives its workers %q, which is none of theirs", a)
		}
		for _, path := range pathFlags {
			if name == path {
				if value != inBundle+name {
					return nil, fmt.Errorf("the search names %q, which is not among its files", a)
				}
				value = filepath.Join(files, name)
				if _, err := os.Stat(value); err != nil {
					return nil, fmt.Errorf("the files of the search lack the %s: %w", name, err)
				}
			}
		}
		args = append(args, "--"+name+"="+value)
	}
	return args, nil
}
