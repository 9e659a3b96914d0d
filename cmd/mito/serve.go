package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/backend"
	"mito/engine/runs"
	"mito/engine/train"
	"mito/engine/trials"
)

// serveFlags say who else runs the trials of a search.
type serveFlags struct {
	address, passwordFile, config string
	alone                         bool // this process runs none
}

func (f *serveFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.address, "serve", "", "HOST:PORT at which mito worker gets trials, such as 127.0.0.1:4222; other machines reach 0.0.0.0:4222, which needs --password-file or --serve-config; \"\" for none")
	fs.StringVar(&f.passwordFile, "password-file", "", "with --serve: file with the password that workers give")
	fs.StringVar(&f.config, "serve-config", "", "with --serve: file of a server of NATS with its TLS and its users, https://docs.nats.io")
	fs.BoolVar(&f.alone, "serve-only", false, "with --serve: leave all trials to workers")
}

// check refuses what cannot be meant.
func (f *serveFlags) check(fs *pflag.FlagSet) error {
	if f.address == "" {
		return without(fs, "a search without --serve", "password-file", "serve-config", "serve-only")
	}
	if serveTrials == nil {
		return errors.New("--serve: this program was built without it: build it with -tags dist, or leave --serve out")
	}
	return nil
}

// begin prepares the server of a search, which begins with its first round, and gives what ends it.
func (f *serveFlags) begin(cmd *cobra.Command, s *searchFlags, b backend.Backend) (end func(failed error) error, err error) {
	if f.address == "" {
		return func(error) error { return nil }, nil
	}
	password, err := readPassword(f.passwordFile)
	if err != nil {
		return nil, err
	}
	version, err := workerVersion(b)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	job := searchJob{Args: searchArgs(cmd.Flags(), files)}
	pool, end, err := serveTrials(serveOptions{
		ServeOptions: trials.ServeOptions{Address: f.address, Password: password, Config: f.config}, dir: s.o.Out, version: version,
		job: job, files: files, alone: f.alone, lines: !s.output.quiet, stderr: cmd.ErrOrStderr(),
	})
	if err != nil {
		return nil, fmt.Errorf("--serve: %w", err)
	}
	s.o.Pool = pool
	return end, nil
}

// searchJob is what a worker is told: the search's command line, whose files are in the bundle.
type searchJob struct {
	Args []string `json:"args"`
}

// inBundle stands for the folder of the files in the arguments of a job.
const inBundle = "{files}/"

// pathFlags are those of search that name what workers need.
var pathFlags = []string{"model", "teacher", "corpus", "examples"}

// ownFlags are those that are each process's own.
var ownFlags = map[string]bool{
	"out": true, "resume": true, "serve": true, "password-file": true, "serve-config": true, "serve-only": true, "json": true,
	"quiet": true, "threads": true, "backend": true, "precision": true,
}

// searchArgs are the flags of a search for its workers, and into files goes what they name.
func searchArgs(fs *pflag.FlagSet, files map[string]string) (args []string) {
	paths := map[string]bool{}
	for _, name := range pathFlags {
		paths[name] = true
	}
	fs.Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		switch {
		case ownFlags[f.Name] || paths[f.Name] && value == "":
			return
		case paths[f.Name]:
			from := value
			if f.Name == "model" || f.Name == "teacher" {
				from = runs.ResolveModel(value)
			}
			value = inBundle + f.Name
			files[f.Name] = from
		}
		args = append(args, "--"+f.Name+"="+value)
	})
	return args
}

// workerVersion is what a worker must have in common with the search: the program and the arithmetic of its training.
func workerVersion(b backend.Backend) (string, error) {
	hash, err := programHash()
	return fmt.Sprintf("%.16s, %s", hash, train.Arithmetic(b.Info())), err
}

// readPassword reads the first line of a file; "" without a file.
func readPassword(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("--password-file: the first line of %s is empty: want a password", path)
	}
	return line, nil
}

// workerFlags describe a worker.
type workerFlags struct {
	machine machineFlags
	quiet   bool
	dir     string
	o       trials.WorkOptions
	file    string // with the password
}

func newWorker() *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker nats://HOST:PORT",
		Short: "Run trials of a search that another process serves",
		Long: `Run trials of a search that another process serves with mito search --serve, on this machine or another, until the search
is done. The worker gets the model and the data from there. Start as many as there are machines, at any time; a worker that is stopped
or killed leaves its trial to another. It must be the same program as the search, on a machine whose arithmetic is the same.`,
		Example: "  mito worker nats://127.0.0.1:4222\n  mito worker nats://node7:4222 --password-file secret --threads 4",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !strings.Contains(args[0], "://") {
				return usagef("%q takes the address that the search was started with: nats://HOST:PORT, or tls://HOST:PORT", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.o.URL = args[0]
			return f.run(cmd)
		},
	}
	fs := cmd.Flags()
	f.machine.register(fs)
	fs.BoolVar(&f.quiet, "quiet", false, "no progress on stderr")
	fs.StringVar(&f.dir, "dir", "", "folder for what the worker needs while it works, which is removed at its end, but left by one that is killed; the system's for such where it is left out")
	fs.StringVar(&f.file, "password-file", "", "file with the password that the search was started with")
	fs.StringVar(&f.o.Creds, "creds", "", "credentials file of NATS, where the search has --serve-config")
	fs.StringVar(&f.o.CA, "tls-ca", "", "file with the authorities that the search's certificate is checked with; the system's where it is left out")
	fs.StringVar(&f.o.Cert, "tls-cert", "", "file with this worker's certificate, where the search asks for one")
	fs.StringVar(&f.o.Key, "tls-key", "", "file with the key of --tls-cert")
	fs.DurationVar(&f.o.Patience, "patience", 10*time.Minute, "how long to wait for a search that cannot be reached")
	return cmd
}

func (f *workerFlags) run(cmd *cobra.Command) (err error) {
	if (f.o.Cert == "") != (f.o.Key == "") {
		return usagef("--tls-cert and --tls-key go together: give both")
	}
	if f.o.Patience < 0 {
		return usagef("--patience is %v, want 0 or more", f.o.Patience)
	}
	if f.o.Password, err = readPassword(f.file); err != nil {
		return err
	}
	if f.o.Password != "" && f.o.Creds != "" {
		return usagef("--password-file and --creds contradict each other: give what the search was started with")
	}
	for _, file := range []struct{ flag, path string }{
		{"creds", f.o.Creds}, {"tls-ca", f.o.CA}, {"tls-cert", f.o.Cert}, {"tls-key", f.o.Key},
	} {
		if file.path == "" {
			continue
		}
		if _, err := os.Stat(file.path); err != nil {
			return fmt.Errorf("--%s: %w", file.flag, err)
		}
	}
	b, err := f.machine.open(cmd, f.quiet)
	if err != nil {
		return err
	}
	f.o.Version, err = workerVersion(b)
	if err = errors.Join(err, b.Close()); err != nil { // the search's command line opens its own
		return err
	}
	dir, err := os.MkdirTemp(cmp.Or(f.dir, os.TempDir()), "mito-worker-")
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if workTrials == nil {
		return errors.New("this program was built without what a worker needs: build it with -tags dist")
	}
	return workTrials(cmd, f, dir)
}
