//go:build unix

package checkpoint

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mito/engine/files"
)

const killDirVar = "MITO_TEST_KILL_DIR"

// TestKillChild is the victim of TestKilledProcess: it saves checkpoints until it is killed, and says so after each.
func TestKillChild(t *testing.T) {
	dir := os.Getenv(killDirVar)
	if dir == "" {
		t.Skip("runs as the child of TestKilledProcess only")
	}
	for i := 1; ; i++ {
		if err := Save(filepath.Join(dir, "last"), numbered(i)); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("saved " + strconv.Itoa(i) + "\n")
	}
}

func numbered(i int) *Contents {
	values := make([]float32, 4096)
	for j := range values {
		values[j] = float32(i)
	}
	return &Contents{
		Config:  map[string]any{"model_type": ModelType, "step": i},
		Tensors: []Tensor{FromF32("w", []int{4096}, values)},
		State:   &State{Scalars: map[string]int{"step": i}, Tensors: []Tensor{FromF32("m", []int{4096}, values)}},
	}
}

// TestKilledProcess sends SIGKILL to a process that saves without pause. What it leaves opens, is of one step, and is not
// older than the last step that it reported.
func TestKilledProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for round := range 6 {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillChild$", "-test.v")
		cmd.Env = append(os.Environ(), killDirVar+"="+dir)
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last := filepath.Join(dir, "last")
		for deadline := time.Now().Add(20 * time.Second); !exists(last) && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(200_000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) {
			t.Fatal(err)
		}
		reported := 0
		for line := range strings.Lines(out.String()) {
			if n, ok := strings.CutPrefix(strings.TrimSpace(line), "saved "); ok && strings.HasSuffix(line, "\n") {
				reported = must(strconv.Atoi(n))
			}
		}
		f, err := Open(last)
		if err != nil {
			t.Fatalf("round %d, after %d: %v", round, reported, err)
		}
		s, err := f.State()
		if err != nil {
			t.Fatalf("round %d, after %d: %v", round, reported, err)
		}
		var scalars, config struct{ Step int }
		if err := errors.Join(s.Decode(&scalars), files.DecodeJSON(f.Config, &config)); err != nil {
			t.Fatal(err)
		}
		w, m := must(must(f.Weights.Get("w", F32, 4096)).F32()), must(must(s.Tensors.Get("m", F32, 4096)).F32())
		if got := scalars.Step; got < reported || config.Step != got || int(w[0]) != got || int(m[4095]) != got {
			t.Fatalf("round %d: reported %d; state %d, config %d, weights %v, moments %v", round, reported, got, config.Step, w[0], m[4095])
		}
		if err := files.Recover(last); err != nil || len(hidden(t, dir)) > 0 {
			t.Fatalf("recovery: %v, left %v", err, hidden(t, dir))
		}
	}
}
