//go:build dist && unix

package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// free is an address of this machine that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// searched is what a search found, without what differs from machine to machine.
func searched(t *testing.T, path string) any {
	t.Helper()
	var r map[string]any
	if err := json.Unmarshal([]byte(read(t, path)), &r); err != nil {
		t.Fatal(err)
	}
	var strip func(v any) any
	strip = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "tok_s")
			delete(v, "seconds")
			delete(v, "dir")
			for k := range v {
				v[k] = strip(v[k])
			}
		case []any:
			for i := range v {
				v[i] = strip(v[i])
			}
		}
		return v
	}
	return strip(r)
}

const servedSearch = "search --model MODEL --task tictactoe --positions 200 --budget flash=48K --trials 6 --steps 6 --batch 4 --calibrate 4 --quiet --out "

func servedArgs(model, out, more string) []string {
	return strings.Fields(strings.Replace(servedSearch, "MODEL", model, 1) + out + " " + more)
}

// A search whose workers and whose own process are killed finds what one process finds.
func TestServedSearch(t *testing.T) {
	need(t)
	dir, address := t.TempDir(), free(t)
	works(t, dir, servedArgs(fixtures.float, "alone", "")...)
	want := searched(t, filepath.Join(dir, "alone", "search.json"))
	start := func(args ...string) (*exec.Cmd, *strings.Builder) {
		cmd, out := command(t, dir, args...), new(strings.Builder)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, out
	}
	worker := []string{"worker", "nats://" + address, "--threads", "1", "--patience", "60s"}
	first, _ := start(worker...)
	second, said := start(worker...)
	search, _ := start(servedArgs(fixtures.float, "found", "--serve-only --serve "+address)...)
	outcomes := func() int {
		list, _ := filepath.Glob(filepath.Join(dir, "found/trials/*/outcome.json"))
		return len(list)
	}
	for end := time.Now().Add(time.Minute); outcomes() < 2 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	first.Process.Kill()
	search.Process.Kill()
	first.Wait()
	search.Wait()
	before := outcomes()
	works(t, dir, servedArgs(fixtures.float, "found", "--resume --serve "+address)...)
	if err := second.Wait(); err != nil {
		t.Errorf("the worker that was left: %v: %s", err, said)
	}
	if !strings.Contains(said.String(), "the search is done") {
		t.Errorf("the worker says %s", said)
	}
	if got := searched(t, filepath.Join(dir, "found", "search.json")); !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, in one process %v", got, want)
	}
	t.Logf("killed after %d trials", before)
}

// What others may reach needs credentials; a port that is taken and an address that is none are refused before any work.
func TestServeRefuses(t *testing.T) {
	need(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty"), "")
	write(t, filepath.Join(dir, "bad.conf"), "port: {")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for flags, words := range map[string]string{
		"--serve 0.0.0.0:0":                               "can be reached from other machines",
		"--serve :0":                                      "can be reached from other machines",
		"--serve somewhere":                               "want HOST:PORT",
		"--serve 127.0.0.1:99999":                         "no number below 65536",
		"--serve " + l.Addr().String():                    "address already in use",
		"--serve 127.0.0.1:0 --password-file empty":       "is empty",
		"--serve 127.0.0.1:0 --password-file none":        "--password-file",
		"--serve 127.0.0.1:0 --serve-config bad.conf":     "bad.conf",
		"--serve 127.0.0.1:0 --serve-config nowhere.conf": "nowhere.conf",
	} {
		fails(t, dir, exitFailure, []string{words}, servedArgs(fixtures.float, "out", flags)...)
		if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
			t.Errorf("%s: the folder was made", flags)
		}
	}
	fails(t, dir, exitFailure, []string{"cannot be reached"}, "worker", "nats://"+free(t), "--patience", "300ms")
}

// A worker gives a search nothing of its own machine.
func TestJobArgs(t *testing.T) {
	files := t.TempDir()
	write(t, filepath.Join(files, "model"), "")
	got, err := jobArgs(searchJob{Args: []string{"--model={files}/model", "--steps=3"}}, files)
	if want := []string{"--model=" + filepath.Join(files, "model"), "--steps=3"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"--model=/etc", "--corpus={files}/../..", "--corpus={files}/corpus", "--out=/home", "--serve=0.0.0.0:1", "model", "--resume"} {
		if args, err := jobArgs(searchJob{Args: []string{bad}}, files); err == nil {
			t.Errorf("%s: %v", bad, args)
		}
	}
}
