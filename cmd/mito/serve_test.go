package main

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// says wants a failure for a reason that the line without the flag does not have.
func says(words string) check {
	return func(t *testing.T, without, with outcome) {
		if without.code == 0 || with.code == 0 || strings.Contains(without.stderr, words) || !strings.Contains(with.stderr, words) {
			t.Errorf("status %d, %s; without the flag %d, %s", with.code, with.stderr, without.code, without.stderr)
		}
	}
}

// workerEffects are those of a worker that finds no search. What a worker does is in TestServedSearch, which needs the tag dist.
func workerEffects() commandRows {
	same := func(t *testing.T, without, with outcome) {
		if without.code != exitFailure || with.code != exitFailure || without.stderr != with.stderr {
			t.Errorf("%s; without the flag %s", with.stderr, without.stderr)
		}
	}
	base := "nats://127.0.0.1:1 --patience 0s"
	wrong := func(words string) check { // use, beside a line that fails for another reason
		return func(t *testing.T, without, with outcome) {
			if says(words)(t, without, with); with.code != exitUsage {
				t.Errorf("exit status %d", with.code)
			}
		}
	}
	rows := map[string][]effect{
		"threads":   {{base, "--threads 3", same}, {base, "--threads 0", wrong("--threads is 0")}},
		"backend":   {{base, "--backend cpu", same}, {base, "--backend abacus", wrong("abacus")}},
		"precision": {{base, "--precision fp32", same}, {base, "--precision int3", wrong("int3")}},
	}
	for name, list := range map[string][]effect{
		"quiet":         {{base, "--quiet", same}},
		"dir":           {{base, "--dir NONE", says("--dir")}},
		"password-file": {{base, "--password-file NONE", says("--password-file")}, {base, "--password-file BOOK --creds BOOK", wrong("contradict")}},
		"creds":         {{base, "--creds NONE", says("--creds")}},
		"tls-ca":        {{base, "--tls-ca NONE", says("--tls-ca")}},
		"tls-cert":      {{base, "--tls-cert BOOK", wrong("--tls-cert and --tls-key go together")}, {base, "--tls-cert NONE --tls-key BOOK", says("--tls-cert")}},
		"tls-key":       {{base, "--tls-key BOOK", wrong("go together")}, {base, "--tls-cert BOOK --tls-key NONE", says("--tls-key")}},
		"patience":      {{base, "--patience -1s", wrong("--patience is -1s")}},
	} {
		rows[name] = list
	}
	return commandRows{base: base, flags: rows}
}

// A worker is told the command line of the search, with its files in a bundle, and nothing that is this process's own.
func TestSearchArgs(t *testing.T) {
	cmd := newSearch()
	if err := cmd.ParseFlags(strings.Fields("--model parent --teacher big --corpus book.txt --out found --resume --threads 3 --serve 127.0.0.1:1 " +
		"--password-file secret --steps 7 --budget flash=9K")); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	args := searchArgs(cmd.Flags(), files)
	want := []string{"--budget=flash=9K", "--corpus={files}/corpus", "--model={files}/model", "--steps=7", "--teacher={files}/teacher"}
	if slices.Sort(args); !reflect.DeepEqual(args, want) {
		t.Errorf("%q, want %q", args, want)
	}
	if want := map[string]string{"model": "parent", "teacher": "big", "corpus": "book.txt"}; !reflect.DeepEqual(files, want) {
		t.Errorf("%v, want %v", files, want)
	}
	// Every flag of the command is one of these: what a new one is has to be decided.
	for _, name := range pathFlags {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("search has no --%s", name)
		}
	}
	for name := range ownFlags {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("search has no --%s", name)
		}
	}
}

// A password is the first line of its file.
func TestReadPassword(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for text, want := range map[string]string{"abc": "abc", " abc \r\nsecond": "abc", "": "", "\nabc": ""} {
		write(t, path, text)
		got, err := readPassword(path)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := readPassword(filepath.Join(path, "none")); err == nil {
		t.Error("read from nowhere")
	}
}

// A worker takes one address.
func TestWorkerAddress(t *testing.T) {
	for _, args := range [][]string{{"worker"}, {"worker", "host"}, {"worker", "nats://a:1", "nats://b:2"}} {
		fails(t, "", exitUsage, []string{"nats://HOST:PORT"}, args...)
	}
}
