//go:build dist && linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mito/engine/dist"
	"mito/engine/dist/mpi"
)

// launcher finds the mpiexec of a library that has the standard ABI, or skips: 'pip install mpich' has both.
func launcher(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("mpiexec")
	if err != nil {
		t.Skip("no mpiexec in PATH; 'pip install mpich' has one: put its bin into PATH and its lib into LD_LIBRARY_PATH")
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")), filepath.Join(filepath.Dir(path), "../lib")) {
		for _, name := range mpi.Names {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				t.Setenv("LD_LIBRARY_PATH", dir)
				return path
			}
		}
	}
	t.Skipf("none of %v in LD_LIBRARY_PATH or beside %s", mpi.Names, path)
	return ""
}

// ranked runs command lines as ranks, one each, in a folder.
func ranked(t *testing.T, mpiexec, dir string, options []string, lines ...[]string) *exec.Cmd {
	t.Helper()
	args := append([]string{}, options...)
	for i, line := range lines {
		if i > 0 {
			args = append(args, ":")
		}
		args = append(args, "-n", "1")
		args = append(append(args, os.Args[0]), line...)
	}
	cmd := command(t, dir)
	cmd.Path, cmd.Args = mpiexec, append([]string{mpiexec}, args...)
	return cmd
}

// rankedFails wants words in what the ranks say before they end.
func rankedFails(t *testing.T, mpiexec string, words string, lines ...[]string) {
	t.Helper()
	o := finish(t, ranked(t, mpiexec, "", nil, lines...))
	if o.code == 0 || !strings.Contains(o.stderr, words) {
		t.Errorf("status %d, want %q in %s", o.code, words, o.stderr)
	}
}

const rankedTrain = "train --task tictactoe --positions 300 --arch micro --steps 50 --batch 16 --eval-every 20 --threads 1 --quiet --out"

func rankedLine(out, more string) []string {
	return strings.Fields(rankedTrain + " " + out + " " + more)
}

// Two ranks come to the bits of one process, for any accumulation; what they began one process ends, to the same bits.
func TestRanksGiveTheBitsOfOne(t *testing.T) {
	mpiexec, dir := launcher(t), t.TempDir()
	works(t, dir, rankedLine("one", "")...)
	want := read(t, filepath.Join(dir, "one/model/model.safetensors"))
	for _, micro := range []string{"1", "2", "4"} {
		line := rankedLine("two"+micro, "--micro-batches "+micro)
		if o := finish(t, ranked(t, mpiexec, dir, nil, line, line)); o.code != 0 {
			t.Fatal(o.stderr)
		}
		if got := read(t, filepath.Join(dir, "two"+micro, "model/model.safetensors")); got != want {
			t.Errorf("two ranks of %s micro-batches have other weights than one process", micro)
		}
		// Rank 0 alone keeps the run, and keeps what one process does.
		for _, name := range []string{"loss/eval", "loss/train"} {
			if a, b := series(t, filepath.Join(dir, "one"), name), series(t, filepath.Join(dir, "two"+micro), name); a != b || a == "" {
				t.Errorf("%s of two ranks of %s micro-batches: %s, in one process %s", name, micro, b, a)
			}
		}
	}
	line := rankedLine("fast", "--allreduce fast --micro-batches 2")
	if o := finish(t, ranked(t, mpiexec, dir, nil, line, line)); o.code != 0 {
		t.Error(o.stderr)
	}
	bits := func(name string) float64 {
		var last float64
		fmt.Sscan(lastOf(series(t, filepath.Join(dir, name), "loss/eval")), &last)
		return last
	}
	if a, b := bits("one"), bits("fast"); a-b > 0.02 || b-a > 0.02 || b == 0 {
		t.Errorf("with the engine's reduction the loss is %v, in one process %v", b, a)
	}
}

// series are the values of a measurement of a run.
func series(t *testing.T, dir, name string) string {
	t.Helper()
	var list []string
	for line := range strings.Lines(read(t, filepath.Join(dir, "metrics.jsonl"))) {
		var row map[string]json.Number
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if v := row[name]; v != "" {
			list = append(list, v.String())
		}
	}
	return strings.Join(list, " ")
}

func lastOf(list string) string { return list[strings.LastIndex(list, " ")+1:] }

// When a rank is killed the others end within seconds, whether or not the launcher ends them, and one process goes on from the last
// checkpoint to the bits of a run without a break.
func TestKilledRank(t *testing.T) {
	mpiexec, dir := launcher(t), t.TempDir()
	works(t, dir, rankedLine("whole", "--steps 60 --save-every 5")...)
	for _, options := range [][]string{nil, {"-disable-auto-cleanup"}} {
		out := filepath.Join(dir, "killed"+strconv.Itoa(len(options)))
		line := rankedLine(out, "--steps 60 --save-every 5 --log-every 1")
		cmd := ranked(t, mpiexec, dir, options, line, line)
		var stderr strings.Builder
		cmd.Stderr, cmd.Stdout = &stderr, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, filepath.Join(out, "last", "model.safetensors"))
		pid := rankProcess(t, cmd.Process.Pid, 1)
		killed := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if spent := time.Since(killed); err == nil || spent > 10*time.Second {
			t.Errorf("%v: the others ended after %v: %v", options, spent, err)
		} else {
			t.Logf("%v: the others ended after %v", options, spent)
		}
		if options != nil && !strings.Contains(stderr.String(), fmt.Sprintf("process %d) ended without a word", pid)) {
			t.Errorf("the rank that is left says %s", stderr.String())
		}
		works(t, dir, rankedLine(out, "--steps 60 --save-every 5 --log-every 1 --resume")...)
		if read(t, filepath.Join(out, "model/model.safetensors")) != read(t, filepath.Join(dir, "whole/model/model.safetensors")) {
			t.Errorf("%v: other weights after a break", options)
		}
	}
}

// When one rank is told to stop, all end with what was done saved, say how to go on, and count none of them as lost.
func TestStoppedRank(t *testing.T) {
	mpiexec, dir := launcher(t), t.TempDir()
	line := rankedLine("out", "--steps 100000 --save-every 5 --log-every 1 --eval-every 100000")
	cmd := ranked(t, mpiexec, dir, []string{"-disable-auto-cleanup"}, line, line)
	var stderr strings.Builder
	cmd.Stderr, cmd.Stdout = &stderr, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, filepath.Join(dir, "out", "last", "model.safetensors"))
	if err := syscall.Kill(rankProcess(t, cmd.Process.Pid, 1), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || strings.Count(stderr.String(), "What was done is saved") != 2 || strings.Contains(stderr.String(), "cannot go on without it") {
		t.Errorf("%v: %s", err, stderr.String())
	}
	steps := regexp.MustCompile(`stopped after step (\d+) of 100000`).FindStringSubmatch(stderr.String())
	if state := read(t, filepath.Join(dir, "out", "last", "state.json")); steps == nil || !strings.Contains(state, `"step": `+steps[1]+",") {
		t.Errorf("%v: saved %s", steps, state)
	}
}

// waitFor waits until a file is there.
func waitFor(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatalf("no %s", path)
}

// rankProcess finds the process of a rank below a launcher.
func rankProcess(t *testing.T, launcher, rank int) int {
	t.Helper()
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		env, _ := os.ReadFile(path)
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		self, _ := os.Executable()
		if exe == self && strings.Contains(string(env), fmt.Sprintf("PMI_RANK=%d\x00", rank)) && below(pid, launcher) {
			return pid
		}
	}
	t.Fatalf("no process of rank %d", rank)
	return 0
}

var parentOf = regexp.MustCompile(`(?m)^PPid:\s*(\d+)$`)

func below(pid, ancestor int) bool {
	for pid > 1 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		m := parentOf.FindSubmatch(status)
		if err != nil || m == nil {
			return false
		}
		if pid, _ = strconv.Atoi(string(m[1])); pid == ancestor {
			return true
		}
	}
	return false
}

// Ranks that do not do the same are told so before the first step, and nothing is left behind that looks like a run.
func TestDifferentRanks(t *testing.T) {
	mpiexec := launcher(t)
	for words, more := range map[string]string{
		"the seed is 7, on rank 0 1":          "--seed 7",
		"the corpus is":                       "--positions 290",
		"the settings is":                     "--lr 0.002",
		`"dropout":0.1`:                       "--dropout 0.1",
		"the way to add up gradients is fast": "--allreduce fast",
		"the model is":                        "--config narrow.json",
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "narrow.json"), `{"intermediate_size": 64}`)
		o := finish(t, ranked(t, mpiexec, dir, nil, rankedLine("out", ""), rankedLine("out", more)))
		if o.code == 0 || !strings.Contains(o.stderr, "rank 1 is not doing what rank 0 does: ") || !strings.Contains(o.stderr, words) {
			t.Errorf("%s: status %d, want %q in %s", more, o.code, words, o.stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "out", "last")); err == nil {
			t.Errorf("%s: a run was begun", more)
		}
	}
	line := rankedLine("out", "--micro-batches 9")
	rankedFails(t, mpiexec, "at most 8 on each of 2 ranks", line, line)
}

// A copy of the program with one byte more is another program.
func TestOtherProgram(t *testing.T) {
	mpiexec, dir := launcher(t), t.TempDir()
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, append(self, 0), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := ranked(t, mpiexec, dir, nil, rankedLine("out", ""), rankedLine("out", ""))
	for i := len(cmd.Args) - 1; i >= 0; i-- {
		if cmd.Args[i] == os.Args[0] {
			cmd.Args[i] = other
			break
		}
	}
	if o := finish(t, cmd); o.code == 0 || !strings.Contains(o.stderr, "rank 1 is not doing what rank 0 does: the program is") {
		t.Errorf("status %d: %s", o.code, o.stderr)
	}
}

// Students of teachers are the same for two ranks; a cache of what teachers say is refused.
func TestRanksDistil(t *testing.T) {
	mpiexec, dir := launcher(t), t.TempDir()
	works(t, dir, rankedLine("teacher", "--steps 10")...)
	line := func(out, more string) []string {
		return strings.Fields("distill --teacher teacher --task tictactoe --positions 300 --arch micro --steps 10 --batch 16 --threads 1 --quiet --out " + out + " " + more)
	}
	works(t, dir, line("one", "")...)
	if o := finish(t, ranked(t, mpiexec, dir, nil, line("two", ""), line("two", ""))); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if read(t, filepath.Join(dir, "one/model/model.safetensors")) != read(t, filepath.Join(dir, "two/model/model.safetensors")) {
		t.Error("two ranks have another student than one process")
	}
	o := finish(t, ranked(t, mpiexec, dir, nil, line("three", "--cache"), line("three", "--cache")))
	if o.code == 0 || !strings.Contains(o.stderr, "several ranks cannot keep a cache") {
		t.Errorf("status %d: %s", o.code, o.stderr)
	}
}

// A library that is missing, of another ABI, or of another launcher is refused in words.
func TestNoLibrary(t *testing.T) {
	t.Setenv("PMI_RANK", "0")
	t.Setenv("PMI_SIZE", "2")
	t.Setenv("LD_LIBRARY_PATH", "")
	o := fails(t, "", exitFailure, []string{"no library of the standard ABI of MPI 5.0", "libmpi_abi.so.1", "pip install mpich"}, rankedLine("out", "")...)
	if strings.Contains(o.stderr, "panic") {
		t.Error(o.stderr)
	}
	text := filepath.Join(t.TempDir(), "libmpi_abi.so.1")
	write(t, text, "this is no library")
	fails(t, "", exitFailure, []string{"MPI cannot be used", "libmpi_abi.so.1"}, rankedLine("out", "--dist-lib "+text)...)
	// A library with none of the functions: the C library.
	fails(t, "", exitFailure, []string{"lacks MPI_Abi_get_version", "MPICH 5.0.1"}, rankedLine("out", "--dist-lib libc.so.6")...)
	if _, err := mpi.Open("libc.so.6"); !errors.As(err, new(*dist.LibraryError)) {
		t.Errorf("%v", err)
	}
}

// What torchrun starts is not what MPI started.
func TestOtherLauncher(t *testing.T) {
	launcher(t)
	t.Setenv("RANK", "0")
	t.Setenv("WORLD_SIZE", "2")
	fails(t, "", exitFailure, []string{"torchrun started this process as rank 0 of 2", "rank 0 of 1", "mpiexec"}, rankedLine("out", "")...)
}
