package task

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Marker marks answers.
type Marker interface {
	Name() string
	// Mark returns how right an answer is, from 0 to 1.
	Mark(ctx context.Context, prompt, answer string) (float64, error)
}

// Scorer is a program that marks answers. It reads lines, each a prompt, a tab and an answer, and for each of them writes one line
// before it reads the next: a number from 0 to 1, or the word right or wrong. Tabs and line ends inside an answer are written as
// spaces. The program must hand every line on as it writes it, and not collect them in a buffer.
type Scorer struct {
	name     string
	patience time.Duration
	cmd      *exec.Cmd
	in       io.WriteCloser
	lines    chan string // what the program writes, closed at its end
	stop     chan struct{}
	stderr   *lastBytes
	marked   int
	once     sync.Once
	ended    error
}

// ScorerPatience is how long a program may take for one answer.
const ScorerPatience = 30 * time.Second

// maxScorerLine bounds a line that a program writes.
const maxScorerLine = 4096

// ScorerError reports a program that does not mark as it should.
type ScorerError struct {
	Program string
	Answer  int // from 1; 0 at the start
	What    string
	Stderr  string // the end of what it wrote there
}

func (e *ScorerError) Error() string {
	at := ""
	if e.Answer > 0 {
		at = fmt.Sprintf(", at answer %d", e.Answer)
	}
	said := ""
	if e.Stderr != "" {
		said = fmt.Sprintf("; its last words: %q", e.Stderr)
	}
	return fmt.Sprintf("the scorer %s%s: %s%s", e.Program, at, e.What, said)
}

// StartScorer starts a program: words separated by spaces, the first of them its path, the others its arguments. patience is
// how long it may take for one answer. Close ends it. Errors: *ScorerError.
func StartScorer(command string, patience time.Duration) (*Scorer, error) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return nil, &ScorerError{Program: strconv.Quote(command), What: "no program is named"}
	}
	s := &Scorer{
		name: words[0], patience: patience, cmd: exec.Command(words[0], words[1:]...), lines: make(chan string), stop: make(chan struct{}),
		stderr: &lastBytes{},
	}
	s.cmd.Stderr = s.stderr
	s.cmd.WaitDelay = time.Second // a child of the program may keep its stderr open
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, s.fail(err.Error())
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, s.fail(err.Error())
	}
	if err := s.cmd.Start(); err != nil {
		return nil, s.fail(fmt.Sprintf("it does not start: %v", err))
	}
	go s.read(out)
	return s, nil
}

// read hands the lines of the program on.
func (s *Scorer) read(out io.Reader) {
	defer close(s.lines)
	r := bufio.NewScanner(out)
	r.Buffer(nil, maxScorerLine)
	for r.Scan() {
		select {
		case s.lines <- r.Text():
		case <-s.stop:
			return
		}
	}
	if errors.Is(r.Err(), bufio.ErrTooLong) {
		select {
		case s.lines <- strings.Repeat(".", maxScorerLine): // is no mark
		case <-s.stop:
		}
	}
}

// Name is the path of the program.
func (s *Scorer) Name() string { return s.name }

func (s *Scorer) fail(what string) error {
	return &ScorerError{Program: s.name, Answer: s.marked, What: what, Stderr: s.stderr.tail()}
}

var oneLine = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")

// Mark asks the program. Errors: *ScorerError where the program has ended, takes too long, writes something else or more than it was
// asked, after which it is not asked again; ctx's.
func (s *Scorer) Mark(ctx context.Context, prompt, answer string) (float64, error) {
	s.marked++
	select {
	case line, ok := <-s.lines:
		if !ok {
			return 0, s.died()
		}
		return 0, s.fail(fmt.Sprintf("it wrote %.40q before it was asked; it must write one line for each that it reads", line))
	default:
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(s.in, oneLine.Replace(prompt)+"\t"+oneLine.Replace(answer)+"\n")
		wrote <- err
	}()
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	select {
	case line, ok := <-s.lines:
		if !ok {
			return 0, s.died()
		}
		mark, ok := parseMark(line)
		if !ok {
			return 0, s.fail(fmt.Sprintf("it wrote %.40q, want a number from 0 to 1, right or wrong", line))
		}
		select {
		case err := <-wrote:
			if err != nil { // it answered without reading, and has ended
				return 0, s.died()
			}
			return mark, nil
		case <-timer.C:
			return 0, s.fail(fmt.Sprintf("it answered, and did not read the line within %v", s.patience))
		}
	case <-timer.C:
		return 0, s.fail(fmt.Sprintf("it wrote nothing for %v; does it hand each line on as it writes it (flush), and end no line without a mark?", s.patience))
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// died ends a program that has closed its output.
func (s *Scorer) died() error {
	err := s.end()
	what := "it ended by itself; it must mark every line that it reads"
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		what = fmt.Sprintf("it ended by itself (%v); it must mark every line that it reads", exit)
	}
	return s.fail(what)
}

// parseMark reads a line of the program.
func parseMark(line string) (mark float64, ok bool) {
	switch line = strings.TrimSpace(line); line {
	case "right":
		return 1, true
	case "wrong":
		return 0, true
	}
	mark, err := strconv.ParseFloat(line, 64)
	return mark, err == nil && mark >= 0 && mark <= 1
}

// end waits for the program after its input was closed, and kills it where it goes on.
func (s *Scorer) end() error {
	s.once.Do(func() {
		close(s.stop)
		s.in.Close()
		late := time.AfterFunc(2*time.Second, func() { _ = s.cmd.Process.Kill() })
		defer late.Stop()
		s.ended = s.cmd.Wait()
	})
	return s.ended
}

// Close ends the program: its input ends, and where it goes on for two seconds it is killed. How it ends is of no interest after the
// last mark.
func (s *Scorer) Close() error {
	_ = s.end()
	return nil
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	mu  sync.Mutex
	buf []byte
}

const lastKept = 300

func (l *lastBytes) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if extra := len(l.buf) - lastKept; extra > 0 {
		l.buf = append(l.buf[:0], l.buf[extra:]...)
	}
	return len(p), nil
}

func (l *lastBytes) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.buf))
}
