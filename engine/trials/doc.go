// Package trials hands independent trials to workers on other machines, by NATS JetStream, and keeps what they come to. The server and
// the workers are there with the tag dist; without it nothing of NATS is in a program.
//
// One process serves: the server of NATS runs in it, with its store in a folder. What a trial is says its description, and its id is
// the hash of that. In the store lie
//
//	JOB      key-value bucket: what all trials have in common, and whether more are to come
//	BLOBS    object store: the files of the job, and what trials made
//	TRIALS   work queue, a subject for each trial: one message at most, which is gone when it is acknowledged
//	RESULTS  key-value bucket: the result of each trial, written once
//	WORKERS  key-value bucket whose entries expire: who is at what
//
// A worker takes a message, says now and then that it is still at it, stores what the trial made, then writes the result, which fails
// where there is one already, and then acknowledges. Killed at any point, it leaves a message that is delivered to another, or a
// result. The server survives as its store does: a search that is resumed finds the queue as it was.
//
// Of mito it imports nothing. A test holds it to that.
package trials

import (
	"errors"
	"fmt"
	"time"
)

// Trial is one thing to try.
type Trial struct {
	ID   string // letters, digits, - and _
	Text []byte // its description
}

// VersionError says that a worker is another program than the one that serves.
type VersionError struct{ Server, Worker string }

func (e *VersionError) Error() string {
	return fmt.Sprintf("trials: the search is run by another program (%.40s) than this worker is (%.40s): start the worker with the same build, "+
		"on a machine of the same kind", e.Server, e.Worker)
}

// TrialError says that a trial failed.
type TrialError struct{ ID, Worker, Reason string }

func (e *TrialError) Error() string {
	return fmt.Sprintf("trials: trial %s failed on %s: %s", e.ID, e.Worker, e.Reason)
}

// StoreError says that a server's store takes no more.
type StoreError struct {
	Dir string
	Err error
}

func (e *StoreError) Error() string {
	return fmt.Sprintf("trials: the store in %s is full: %v; make room on its disk, and go on with --resume", e.Dir, e.Err)
}

// Unwrap gives the reason.
func (e *StoreError) Unwrap() error { return e.Err }

// ErrCredentials refuses to serve others without credentials, or a worker whose credentials are wrong.
var ErrCredentials = errors.New("credentials")

// ErrUnreachable says that a worker has not reached the server for as long as it waits.
var ErrUnreachable = errors.New("the server of the search cannot be reached")

// ErrRestarted says that the search a worker works for was stopped and goes on as another.
var ErrRestarted = errors.New("trials: the search was started again with other flags or files: start the worker again")

// Status is how far a search has come.
type Status struct {
	Done, Trials int
	Workers      []WorkerStatus
}

// WorkerStatus is what one worker is at.
type WorkerStatus struct {
	Name  string    `json:"name"` // host and number of the process
	Trial string    `json:"trial,omitempty"`
	Done  int       `json:"done"` // trials
	Since time.Time `json:"since"`
}

// String is one line for people.
func (s Status) String() string {
	line := fmt.Sprintf("%d of %d trials, %d workers", s.Done, s.Trials, len(s.Workers))
	for _, w := range s.Workers {
		at := "idle"
		if w.Trial != "" {
			at = "at " + w.Trial
		}
		line += fmt.Sprintf("; %s: %d done, %s", w.Name, w.Done, at)
	}
	return line
}

// ServeOptions describe a server.
type ServeOptions struct {
	Dir      string // of the store
	Address  string // host and port, port 0 for any; "" for none: only this process reaches it
	Password string // of the user mito; "" for none
	Config   string // file of a server of NATS, for TLS and users; "" for none
	MaxStore int64  // bytes; 0 for three quarters of what is free on the disk
	AckWait  time.Duration
}

// User is the name that goes with ServeOptions.Password.
const User = "mito"

// WorkOptions describe a worker.
type WorkOptions struct {
	URL       string // nats://HOST:PORT
	Password  string // of the user mito; "" for none
	Creds     string // credentials file of NATS, or ""
	CA        string // file of the authorities that the server's certificate is checked with; "" for the system's
	Cert, Key string // files of the worker's own certificate, or ""
	Version   string // of this program
	Patience  time.Duration
	Name      string
	Log       func(string) // what happens, for people; may be nil
	AckWait   time.Duration
}

// AckWait is how long a message may be with a worker that says nothing.
const AckWait = 30 * time.Second
