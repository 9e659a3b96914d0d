package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/backend"
	"mito/engine/dist"
	"mito/engine/train"
)

// rankFlags say with which other processes a model is trained.
type rankFlags struct {
	ranks, allreduce, library string

	launch dist.Launch
	group  *dist.Ranks // nil for this process alone
}

// Values of --ranks.
const (
	ranksAuto = "auto"
	ranksNone = "none"
)

func (f *rankFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.ranks, "ranks", ranksAuto, "auto (train with the other processes that a launcher of MPI, torchrun or Slurm started with this one) or none (alone)")
	fs.StringVar(&f.allreduce, "allreduce", dist.Ordered, "several ranks: ordered (bitwise the weights of one process) or fast (the engine's own reduction; bits then depend on the ranks and on how they are connected)")
	fs.StringVar(&f.library, "dist-lib", "", "several ranks: file of the library of MPI or NCCL, where it is not found by its name")
}

// discover finds the launcher, and gives this process its GPU and its part of the machine's threads.
func (f *rankFlags) discover(fs *pflag.FlagSet, m *machineFlags) (err error) {
	if f.ranks != ranksAuto && f.ranks != ranksNone {
		return usagef("--ranks is %q, want %s or %s", f.ranks, ranksAuto, ranksNone)
	}
	if f.allreduce != dist.Ordered && f.allreduce != dist.Fast {
		return usagef("--allreduce is %q, want %s or %s", f.allreduce, dist.Ordered, dist.Fast)
	}
	f.launch = dist.Launch{Size: 1}
	if f.ranks == ranksAuto {
		if f.launch, err = dist.Discover(os.Getenv); err != nil {
			return fmt.Errorf("%w; --ranks none trains in this process alone", err)
		}
	}
	if f.launch.Size == 1 {
		return nil
	}
	if m.device = f.launch.Local; f.launch.LocalSize > 1 && !fs.Changed("threads") {
		m.threads = max(1, m.threads/f.launch.LocalSize)
	}
	return nil
}

// join joins the other ranks. When one of them is lost the process ends: it may wait for it inside a library.
func (f *rankFlags) join(cmd *cobra.Command, b backend.Backend, quiet bool) error {
	if f.launch.Size == 1 {
		return nil
	}
	l := f.launch
	if openRanks == nil {
		return fmt.Errorf("%s started this process as rank %d of %d, and this program was built to train alone: build it with -tags dist, "+
			"or give --ranks none", l.By, l.Rank, l.Size)
	}
	program, err := programHash()
	if err != nil {
		return fmt.Errorf("ranks: reading this program: %w", err)
	}
	stderr := cmd.ErrOrStderr()
	f.group, err = openRanks(rankOptions{
		launch: l, library: f.library, mode: f.allreduce, facts: []dist.Fact{{Name: "the program", Value: program}},
		lost: func(err error) {
			fmt.Fprintln(stderr, "mito:", plain(err.Error()))
			time.Sleep(300 * time.Millisecond) // some launchers lose what a process says as it ends
			os.Exit(exitFailure)
		},
	}, b)
	if err != nil {
		return err
	}
	if !quiet && l.Rank == 0 {
		fmt.Fprintf(stderr, "%d ranks: %s\n", l.Size, f.group.Engine())
	}
	return nil
}

// leave leaves the other ranks at the end of a command, and keeps its error.
func (f *rankFlags) leave(err *error) {
	if f.group == nil {
		return
	}
	cause := *err
	if errors.As(cause, new(*train.StoppedError)) { // all have stopped, and what they did is saved
		cause = nil
	}
	if e := f.group.Close(cause); *err == nil {
		*err = e
	}
}

// rankOptions are what joining takes.
type rankOptions struct {
	launch        dist.Launch
	library, mode string
	facts         []dist.Fact
	lost          func(error)
}

// openRanks joins the other ranks; nil where the program was built without that.
var openRanks func(rankOptions, backend.Backend) (*dist.Ranks, error)

// programHash is the hash of this program.
func programHash() (_ string, err error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, file)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, file.Close())
}
