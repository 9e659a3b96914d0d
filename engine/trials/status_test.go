package trials

import (
	"errors"
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	s := Status{Done: 3, Trials: 9, Workers: []WorkerStatus{{Name: "a, process 1", Trial: "t5", Done: 2}, {Name: "b, process 2", Done: 1}}}
	if got, want := s.String(), "3 of 9 trials, 2 workers; a, process 1: 2 done, at t5; b, process 2: 1 done, idle"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("no space left on device")
	full := &StoreError{"found/queue", cause}
	if !errors.Is(full, cause) || !strings.Contains(full.Error(), "found/queue") || !strings.Contains(full.Error(), "--resume") {
		t.Errorf("%v", full)
	}
	if e := (&VersionError{Server: "1", Worker: "2"}).Error(); !strings.Contains(e, "(1)") || !strings.Contains(e, "(2)") {
		t.Error(e)
	}
}
