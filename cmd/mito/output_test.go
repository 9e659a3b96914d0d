package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// fullAfter is a stdout with room for so many bytes.
type fullAfter struct {
	room    int
	closing bool // says only when it is closed that it is full
}

var errFull = errors.New("no space left on device")

func (f *fullAfter) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 && !f.closing {
		return 0, errFull
	}
	return len(p), nil
}

func (f *fullAfter) Close() error {
	if f.closing && f.room < 0 {
		return errFull
	}
	return nil
}

// Every command fails when its result, or its help, could not be written.
func TestFullStdout(t *testing.T) {
	need(t)
	exchange(t)
	t.Chdir(t.TempDir())
	rows := commandEffects()
	fill := func(line, stdin string, stdout *fullAfter) {
		t.Helper()
		args := strings.Fields(strings.NewReplacer("OUT", filepath.Join(t.TempDir(), "out"), "FLOAT", fixtures.float, "INT8", fixtures.int8, "TEXT", fixtures.text).Replace(line))
		var stderr bytes.Buffer
		code := run(t.Context(), args, streams{strings.NewReader(stdin), stdout, &stderr})
		if code != exitFailure || !strings.Contains(stderr.String(), "stdout") || !strings.Contains(stderr.String(), errFull.Error()) {
			t.Errorf("mito %s: exit status %d, %s", line, code, stderr.String())
		}
	}
	eachCommand(newRoot(), func(cmd *cobra.Command) {
		path := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "mito"), " ")
		line := path + " " + rows[path].base
		stdin := rows[path].stdin
		if cmd.HasSubCommands() {
			line = path
		}
		if path != "worker" { // which has nothing to say without a search
			fill(line, stdin, &fullAfter{})
			fill(line, stdin, &fullAfter{room: 1, closing: true})
		}
		fill(path+" --help", "", &fullAfter{room: 20})
		fill("help "+path, "", &fullAfter{})
		if path != "worker" && cmd.Flags().Lookup("json") != nil {
			fill(line+" --json", stdin, &fullAfter{room: 1})
		}
	})
	fill("--version", "", &fullAfter{})
	fill("completion bash", "", &fullAfter{})
}

// The same with a device that is full.
func TestFullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here:", err)
	}
	defer full.Close()
	need(t)
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range []string{"--help", "info", "verify --model " + fixtures.int8, "quantize --model " + fixtures.float + " --out " + out} {
		cmd := command(t, "", strings.Fields(args)...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != exitFailure || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("mito %s: exit status %d, %s", args, code, stderr.String())
		}
	}
	works(t, "", "verify", "--model", out) // what was saved is whole, as the message says
}
