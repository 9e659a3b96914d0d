package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The NumPy file has the header that NumPy reads and a row for each token.
func TestLogits(t *testing.T) {
	need(t)
	out := filepath.Join(t.TempDir(), "l.npy")
	r := works(t, "", "logits", "--model", fixtures.text, "--prompt", "the fox", "--out", out, "--json")
	o := r.object(t)
	vocab, tokens := int(o["vocab_size"].(float64)), o["tokens"].([]any)
	data := []byte(read(t, out))
	n := int(binary.LittleEndian.Uint16(data[8:]))
	if string(data[:8]) != "\x93NUMPY\x01\x00" || (10+n)%64 != 0 || data[9+n] != '\n' || len(tokens) != 7 {
		t.Fatalf("header %q, tokens %v", data[:10+n], tokens)
	}
	if len(data) != 10+n+4*7*vocab || !strings.Contains(string(data[10:10+n]), "'shape': (7, "+strings.TrimSpace(jsonNumber(vocab))+")") {
		t.Errorf("%d bytes, header %q", len(data), data[10:10+n])
	}
	for at := 10 + n; at < len(data); at += 4 {
		if v := math.Float32frombits(binary.LittleEndian.Uint32(data[at:])); v-v != 0 || v == 0 {
			t.Fatalf("logit %v", v)
		}
	}
	fails(t, "", exitFailure, []string{"context is 16"}, "logits", "--model", fixtures.text, "--tokens", strings.Repeat("1,", 16)+"1", "--out", out+"2")
	fails(t, "", exitFailure, []string{"9999"}, "logits", "--model", fixtures.text, "--tokens", "9999", "--out", out+"2")
	if _, err := os.Stat(out + "2"); err == nil {
		t.Error("a file of a failed command is left")
	}
}

func jsonNumber(n int) string {
	text, _ := json.Marshal(n)
	return string(text)
}

// An exported model works in every command that takes one, and an export does not write over anything.
func TestExported(t *testing.T) {
	need(t)
	dir := t.TempDir()
	float, int8, back := filepath.Join(dir, "float"), filepath.Join(dir, "int8"), filepath.Join(dir, "back")
	works(t, "", "export", "hf", "--model", fixtures.float, "--out", float, "--check")
	works(t, "", "export", "hf", "--model", fixtures.int8, "--out", int8, "--check")
	works(t, "", "import", "hf", "--from", float, "--out", back, "--check")
	fails(t, "", exitFailure, []string{"holds"}, "export", "hf", "--model", fixtures.float, "--out", float)
	fails(t, "", exitFailure, []string{"quantization_config", "float weights"}, "import", "hf", "--from", int8, "--out", filepath.Join(dir, "x"))
	a := works(t, "", "verify", "--model", fixtures.int8, "--json")
	b := works(t, "", "verify", "--model", int8, "--json")
	if a.object(t)["digest"] != b.object(t)["digest"] {
		t.Error("an exported student has another digest")
	}
	for _, model := range []string{float, back} {
		works(t, "", "generate", "--model", model, "--prompt", "012345678=", "--max-tokens", "1")
		works(t, "", "quantize", "--model", model, "--out", model+"-q")
		works(t, "", "distill", "--teacher", model, "--task", "tictactoe", "--positions", "200", "--arch", "micro", "--steps", "1", "--batch", "2", "--out", model+"-s")
	}
}

// What a trained model cannot be said as is told when it is saved, with the way out.
func TestNoteOnSaving(t *testing.T) {
	need(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "c.json")
	write(t, config, `{"sliding_window": 4, "hidden_act": "relu2"}`)
	args := strings.Fields("train --context 16 --arch micro --steps 1 --batch 2 --corpus " + fixtures.book + " --config " + config + " --out " + filepath.Join(dir, "w"))
	o := works(t, "", args...)
	if !strings.Contains(o.stderr, "trust_remote_code") || !strings.Contains(o.stderr, "--full-attention") {
		t.Errorf("stderr %q", o.stderr)
	}
	twin := filepath.Join(dir, "twin")
	works(t, "", "export", "hf", "--model", filepath.Join(dir, "w"), "--out", twin, "--full-attention", "--check")
	if text := read(t, filepath.Join(twin, "config.json")); strings.Contains(text, "auto_map") || !strings.Contains(text, `"max_position_embeddings": 4`) {
		t.Error(text)
	}
}

// A teacher with more logits than its tokenizer has ids has a student with as many.
func TestPaddedVocabulary(t *testing.T) {
	need(t)
	dir := t.TempDir()
	config, teacher, student := filepath.Join(dir, "c.json"), filepath.Join(dir, "t"), filepath.Join(dir, "s")
	write(t, config, `{"vocab_size": 64}`)
	base := strings.Fields("--task tictactoe --positions 200 --arch micro --steps 1 --batch 2")
	works(t, "", append([]string{"train", "--config", config, "--out", teacher}, base...)...)
	works(t, "", append([]string{"distill", "--teacher", teacher, "--out", student}, base...)...)
	works(t, "", append([]string{"distill", "--teacher", teacher, "--out", student, "--resume"}, base...)...)
	if text := read(t, filepath.Join(student, "model", "config.json")); !strings.Contains(text, `"vocab_size": 64`) {
		t.Error(text)
	}
}

// Texts become ids and ids texts; what is neither is named by its place.
func TestTokens(t *testing.T) {
	need(t)
	ids := works(t, "", "tokens", "--model", fixtures.text, "--text", "the fox").stdout
	tokens := func(stdin string, code int, words ...string) string {
		o := does(t, "", "tokens --model TEXT", stdin)
		for _, word := range words {
			if !strings.Contains(o.stderr, word) {
				t.Errorf("%s: %q, want %q", stdin, o.stderr, word)
			}
		}
		if o.code != code {
			t.Errorf("%s: exit status %d, want %d", stdin, o.code, code)
		}
		return o.stdout
	}
	if both := tokens(`"the fox" `+ids, 0); both != ids+"\"the fox\"\n" {
		t.Errorf("got %q after %q", both, ids)
	}
	tokens(`"the" 7`, exitFailure, "value 2 of stdin", "neither a string")
	tokens(`[9999]`, exitFailure, "9999")
	tokens(`"the`, exitFailure, "value 1", "not JSON")
	fails(t, "", exitFailure, []string{"--text", "is not among"}, "tokens", "--model", fixtures.text, "--text", "日")
}
