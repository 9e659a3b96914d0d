package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mito/engine/verify"
)

// The proof covers the kernels, a second reading of the file and the backends.
func TestVerifyCovers(t *testing.T) {
	need(t)
	o := works(t, "", "verify", "--model", fixtures.int8)
	for _, variant := range []string{"1 thread, batch 1", "pages of 3", "loaded again", "backend cpu, "} {
		if !strings.Contains(o.stdout, variant) {
			t.Errorf("no variant %q in\n%s", variant, o.stdout)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		identical bool
		want      string
		says      string
	}{
		{true, "", ""}, {true, "a", ""}, {true, "b", "the digest is a, expected b"}, {false, "", errDiffers.Error()}, {false, "a", errDiffers.Error()},
	} {
		err := verdict(verify.Report{Digest: "a", Identical: c.identical}, c.want)
		if (err == nil) != (c.says == "") || err != nil && err.Error() != c.says || errors.Is(err, errDiffers) == c.identical {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A transcript proves texts, and a changed one is found, at the token that was changed.
func TestVerifyTranscript(t *testing.T) {
	need(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "t.json")
	for _, model := range []string{fixtures.text, fixtures.float} {
		line := command(t, dir, "generate", "--model", model, "--stdin", "--json", "--temperature", "2", "--spec", "ngram", "--transcript", file)
		prompt := "the"
		if model == fixtures.float {
			prompt = "A123e567i="
		}
		line.Stdin = strings.NewReader(strings.Repeat(`{"prompt": "`+prompt+`", "max_tokens": 9}`+"\n", 3))
		if o := finish(t, line); o.code != 0 {
			t.Fatal(o.stderr)
		}
		proof := func(o output) map[string]any { return o.object(t) }
		p := proof(works(t, dir, "verify", "--model", model, "--transcript", file, "--json", "--threads", "2"))
		if p["identical"] != true || p["texts"] != 3.0 || p["tokens"].(float64) < 3 || p["logits"] != true {
			t.Errorf("%v", p)
		}
		fails(t, dir, exitFailure, []string{"t.json exists already"}, "generate", "--model", model, "--prompt", prompt, "--transcript", file)
		text := read(t, file)
		changed := regexp.MustCompile(`("tokens": \[\s*)(\d+)`).ReplaceAllString(text, "${1}1$2")
		if changed == text {
			t.Fatalf("no tokens in %s", text)
		}
		write(t, file, changed)
		fails(t, dir, exitFailure, []string{"text 1 of the transcript, token 0: it says"}, "verify", "--model", model, "--transcript", file)
		write(t, file, text)
		if model == fixtures.text {
			fails(t, dir, exitFailure, []string{"SHA-256", "give the model that wrote it"}, "verify", "--model", fixtures.float, "--transcript", file)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, dir, exitFailure, []string{"t.json"}, "verify", "--model", fixtures.text, "--transcript", "t.json")
	fails(t, dir, exitUsage, []string{"--draft", "contradict"}, "generate", "--model", fixtures.text, "--prompt", "the", "--draft", fixtures.text, "--temperature", "1", "--transcript", "x")
	fails(t, dir, exitUsage, []string{"contradict"}, "verify", "--model", fixtures.text, "--transcript", "x", "--digest", strings.Repeat("0", 64))
}

// Lines of stdin may bring their own choices, and bad forms are told where they are bad.
func TestForms(t *testing.T) {
	need(t)
	dir := t.TempDir()
	line := command(t, dir, "generate", "--model", fixtures.float, "--stdin", "--json", "--temperature", "2", "--max-tokens", "3")
	line.Stdin = strings.NewReader(strings.Repeat(`{"prompt": "A123e567i=", "choices": ["5", "9"]}`+"\n", 3) + `{"prompt": "A123e567i=", "choices": []}` + "\n")
	o := finish(t, line)
	if n := strings.Count(o.stdout, `"end":"grammar"`); o.code != exitFailure || n != 3 || !strings.Contains(o.stdout, `\"choices\": there are no texts`) {
		t.Errorf("exit status %d, %s", o.code, o.stdout)
	}
	bad := filepath.Join(dir, "bad.gbnf")
	for text, says := range map[string]string{
		"root ::= \"the\" rest":                        `line 1, column 16: rule "rest" is used and not defined`,
		"root ::= \"the\" rest\nrest ::= [0-9]":        `rule "rest", line 2, column 10 wants '0' to '9', which no token has`,
		"root ::= \"the\" root2\nroot2 ::= root \"x\"": "never ends",
	} {
		write(t, bad, text)
		o := mito(t, dir, "generate", "--model", fixtures.text, "--prompt", "the", "--grammar", bad)
		if o.code == 0 || !strings.Contains(o.stderr, says) {
			t.Errorf("%q: exit status %d, %s", text, o.code, o.stderr)
		}
	}
	fails(t, dir, exitFailure, []string{"none.gbnf"}, "generate", "--model", fixtures.text, "--prompt", "the", "--grammar", "none.gbnf")
}
