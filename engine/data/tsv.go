package data

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"mito/engine/files"
)

// MaxTSVBytes bounds the file that [LoadTSV] reads.
const MaxTSVBytes = 64 << 20

// Line is one line of a file of examples: an [Example] and where it stands.
type Line struct {
	Number int // from 1
	Example
}

// LineError reports a line of a file of examples that cannot be used, and what to do about it.
type LineError struct {
	Path   string
	Line   int // from 1
	What   string
	Advice string
}

func (e *LineError) Error() string {
	return fmt.Sprintf("%s, line %d: %s: %s", e.Path, e.Line, e.What, e.Advice)
}

// LoadTSV reads a file of examples: each line is a prompt, a tab, and one or several right answers with tabs between them.
// Lines without any character are passed over, as are a byte-order mark at the beginning and a carriage return at the end of a line.
// Nothing else is changed: spaces count. Errors: *LineError, *CorpusError (ErrEmpty), those of files.ReadLimited.
func LoadTSV(path string) ([]Line, error) {
	text, err := files.ReadLimited(path, MaxTSVBytes)
	if err != nil {
		return nil, fmt.Errorf("examples: %w", err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var lines []Line
	for number := 1; len(text) > 0; number++ {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			continue
		}
		e, what, advice := parseTSV(line)
		if what != "" {
			return nil, &LineError{path, number, what, advice}
		}
		lines = append(lines, Line{number, e})
	}
	if len(lines) == 0 {
		return nil, &CorpusError{path, -1, ErrEmpty, tsvForm}
	}
	return lines, nil
}

const tsvForm = "write on each line a prompt, a tab, and a right answer (several with tabs between them)"

// parseTSV reads a line. What is wrong with it is in what, "" for nothing.
func parseTSV(line []byte) (e Example, what, advice string) {
	if !utf8.Valid(line) {
		return e, "it is not UTF-8", "save the file as UTF-8"
	}
	if bytes.IndexByte(line, 0) >= 0 {
		return e, "it holds a zero byte", "give a text file; " + tsvForm
	}
	fields := strings.Split(string(line), "\t")
	if len(fields) == 1 {
		return e, fmt.Sprintf("there is no tab in %q", sampleOf(fields[0])), tsvForm
	}
	if strings.TrimSpace(fields[0]) == "" {
		return e, "the prompt is empty", "write what is asked before the first tab"
	}
	for i, a := range fields[1:] {
		if strings.TrimSpace(a) == "" {
			return e, fmt.Sprintf("answer %d is empty", i+1), "write it, or take the tab before it away"
		}
	}
	return Example{Prompt: fields[0], Answers: fields[1:]}, "", ""
}
