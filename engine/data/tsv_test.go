package data

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/files"
)

func tsv(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "examples.tsv")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadTSV(t *testing.T) {
	got, err := LoadTSV(tsv(t, "\ufeffone\t1\n\n two \tzwei\tdeux \r\ndrei\t3"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Line{
		{1, Example{Prompt: "one", Answers: []string{"1"}}}, {3, Example{Prompt: " two ", Answers: []string{"zwei", "deux "}}}, {4, Example{Prompt: "drei", Answers: []string{"3"}}},
	}
	if !slices.EqualFunc(got, want, func(a, b Line) bool {
		return a.Number == b.Number && a.Prompt == b.Prompt && slices.Equal(a.Answers, b.Answers)
	}) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLoadTSVRefuses(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"a\tb\nno answer\n", "line 2: there is no tab"},
		{"\n\t1\n", "line 2: the prompt is empty"},
		{"  \t1\n", "line 1: the prompt is empty"},
		{"a\t1\t\n", "line 1: answer 2 is empty"},
		{"a\t1\nb\t\xff\n", "line 2: it is not UTF-8"},
		{"a\t1\nb\t\x00\n", "line 2: it holds a zero byte"},
	} {
		_, err := LoadTSV(tsv(t, c.text))
		var line *LineError
		if !errors.As(err, &line) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %s", c.text, err, c.says)
		}
	}
	for _, text := range []string{"", "\n\r\n"} {
		if _, err := LoadTSV(tsv(t, text)); !errors.Is(err, ErrEmpty) {
			t.Errorf("%q: %v, want ErrEmpty", text, err)
		}
	}
	if _, err := LoadTSV(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := LoadTSV(t.TempDir()); err == nil {
		t.Error("a folder is accepted")
	}
	huge := filepath.Join(t.TempDir(), "huge.tsv")
	if err := os.WriteFile(huge, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, MaxTSVBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadTSV(huge); !errors.Is(err, files.ErrTooLarge) {
		t.Errorf("a huge file: %v", err)
	}
}

func FuzzLoadTSV(f *testing.F) {
	f.Add([]byte("a\tb\tc\n\nd\te"))
	f.Add([]byte("\xef\xbb\xbf\t\t\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines, err := LoadTSV(tsv(t, string(text)))
		if (err == nil) != (len(lines) > 0) {
			t.Errorf("%d lines and error %v", len(lines), err)
		}
		for _, l := range lines {
			if l.Prompt == "" || len(l.Answers) == 0 || slices.Contains(l.Answers, "") || l.Number < 1 {
				t.Errorf("accepted %+v", l)
			}
		}
	})
}
