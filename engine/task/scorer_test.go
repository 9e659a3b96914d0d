package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mito/engine/data"
)

// TestMain lets this program be a scorer of its own tests.
func TestMain(m *testing.M) {
	if kind := os.Getenv("MITO_TEST_SCORER"); kind != "" {
		playScorer(kind)
		return
	}
	m.Run()
}

// playScorer marks lines as the kind of scorer says.
func playScorer(kind string) {
	fmt.Fprintln(os.Stderr, "scorer", kind)
	if kind == "dead" {
		os.Exit(3)
	}
	for n := 1; ; n++ {
		var line string
		for b := make([]byte, 1); ; {
			if _, err := os.Stdin.Read(b); err != nil {
				return
			}
			if b[0] == '\n' {
				break
			}
			line += string(b)
		}
		prompt, answer, _ := strings.Cut(line, "\t")
		switch {
		case kind == "same" && prompt == answer:
			fmt.Println("right")
		case kind == "same":
			fmt.Println("wrong")
		case kind == "half":
			fmt.Println("0.5")
		case kind == "twice":
			fmt.Print("1\n1\n")
		case kind == "mad":
			fmt.Println("perhaps")
		case kind == "large":
			fmt.Println("1.5")
		case kind == "long":
			fmt.Println(strings.Repeat("1", 3*maxScorerLine))
		case kind == "mortal" && n == 3:
			os.Exit(0)
		case kind == "mortal":
			fmt.Println(1)
		}
	}
}

func scorer(t *testing.T, kind string, patience time.Duration) *Scorer {
	t.Helper()
	t.Setenv("MITO_TEST_SCORER", kind)
	s, err := StartScorer(os.Args[0], patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestScorer(t *testing.T) {
	s := scorer(t, "same", time.Minute)
	for _, c := range []struct {
		prompt, answer string
		want           float64
	}{{"a", "a", 1}, {"a", "b", 0}, {"a b", "a\tb", 1}, {"a b", "a\nb", 1}} {
		if got, err := s.Mark(t.Context(), c.prompt, c.answer); err != nil || got != c.want {
			t.Errorf("%q, %q: %v, %v", c.prompt, c.answer, got, err)
		}
	}
	if got, err := scorer(t, "half", time.Minute).Mark(t.Context(), "a", "b"); err != nil || got != 0.5 {
		t.Errorf("half: %v, %v", got, err)
	}
}

func TestScorersThatDoNotMark(t *testing.T) {
	for _, c := range []struct {
		kind, says string
		patience   time.Duration
	}{
		{"dead", "ended by itself (exit status 3)", time.Minute}, {"mad", `wrote "perhaps"`, time.Minute}, {"large", `wrote "1.5"`, time.Minute},
		{"long", "want a number from 0 to 1", time.Minute}, {"mortal", "at answer 3: it ended by itself", time.Minute}, {"hangs", "wrote nothing for 200ms", 200 * time.Millisecond},
		{"twice", `wrote "1" before it was asked`, time.Minute},
	} {
		s := scorer(t, c.kind, c.patience)
		var err error
		for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); {
			_, err = s.Mark(t.Context(), "prompt", "answer")
		}
		var se *ScorerError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.kind, err, c.says)
		}
		if c.kind == "dead" && !strings.Contains(err.Error(), "scorer dead") {
			t.Errorf("%v does not give the program's last words", err)
		}
	}
	for _, command := range []string{"", "/nonexistent/program"} {
		var se *ScorerError
		if _, err := StartScorer(command, time.Second); !errors.As(err, &se) {
			t.Errorf("%q: %v", command, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := scorer(t, "hangs", time.Minute).Mark(ctx, "a", "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

func TestScoreWithAScorer(t *testing.T) {
	var list []data.Line
	for i := range 40 {
		p := fmt.Sprintf("p%d", i)
		list = append(list, data.Line{Number: i + 1, Example: data.Example{Prompt: p, Answers: []string{p}}})
	}
	task := examples(t, list, ExampleOptions{HeldOut: 0.5})
	same := scripted(func(p string) (string, bool) { return plain(p), true })
	s := mustScore(t, task, same, ScoreOptions{Marker: scorer(t, "same", time.Minute)})
	if m := s.Exact.Marks; m == nil || m.Marked != 20 || m.Right != 20 || m.Mean != 1 {
		t.Errorf("%+v", m)
	}
	if _, err := task.Score(t.Context(), same, ScoreOptions{Marker: scorer(t, "mad", time.Minute)}); err == nil {
		t.Error("a scorer that writes nonsense is believed")
	}
}
