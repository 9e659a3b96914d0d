//go:build dist

package trials

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mito/engine/internal/imports"
)

// begun is a server with a job.
func begun(t *testing.T, o ServeOptions) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Serve(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Begin(t.Context(), "1", []byte(`"job"`), strings.NewReader("files")); err != nil {
		t.Fatal(err)
	}
	return s
}

func list(n int) (trials []Trial) {
	for i := range n {
		trials = append(trials, Trial{ID: fmt.Sprint("t", i), Text: []byte("x")})
	}
	return trials
}

// One machine, nothing configured: trials go through the queue and no port is open.
func TestNoPort(t *testing.T) {
	s := begun(t, ServeOptions{})
	if a := s.ns.Addr(); a != nil || s.URL() != "" {
		t.Errorf("listens at %v, %q", a, s.URL())
	}
	ran := map[string]int{}
	var last Status
	if err := s.Run(t.Context(), list(10), RunOptions{
		Here:  func(_ context.Context, t Trial) error { ran[t.ID]++; return nil },
		Watch: func(s Status) { last = s },
	}); err != nil {
		t.Fatal(err)
	}
	for id, n := range ran {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	if len(ran) != 10 || last.Done != 10 || last.Trials != 10 {
		t.Errorf("%d ran, %v", len(ran), last)
	}
}

// What listens without more said listens on the loopback only; else there must be credentials.
func TestLoopback(t *testing.T) {
	for address, open := range map[string]bool{"127.0.0.1:0": true, "localhost:0": true, "[::1]:0": true, "0.0.0.0:0": false, ":0": false, "192.0.2.1:0": false} {
		err := Check(ServeOptions{Dir: t.TempDir(), Address: address})
		if (err == nil) != open || err != nil && !errors.Is(err, ErrCredentials) {
			t.Errorf("%s: %v", address, err)
		}
		if err := Check(ServeOptions{Dir: t.TempDir(), Address: address, Password: "secret"}); err != nil {
			t.Errorf("%s with a password: %v", address, err)
		}
	}
	s := begun(t, ServeOptions{Address: "127.0.0.1:0"})
	if a, ok := s.ns.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		t.Errorf("listens at %v", s.ns.Addr())
	}
}

func connect(t *testing.T, s *Server, change func(o *WorkOptions)) (*Worker, error) {
	t.Helper()
	o := WorkOptions{URL: s.URL(), Version: "1", Patience: 2 * time.Second}
	if change != nil {
		change(&o)
	}
	w, text, err := Connect(t.Context(), o)
	if err == nil {
		t.Cleanup(w.Close)
		if string(text) != `"job"` {
			t.Errorf("the job is %s", text)
		}
	}
	return w, err
}

// Wrong credentials and another version are refused at once and in words.
func TestRefusedWorkers(t *testing.T) {
	s := begun(t, ServeOptions{Address: "127.0.0.1:0", Password: "secret"})
	began := time.Now()
	for _, password := range []string{"", "wrong"} {
		if _, err := connect(t, s, func(o *WorkOptions) { o.Password, o.Patience = password, time.Minute }); !errors.Is(err, ErrCredentials) {
			t.Errorf("password %q: %v", password, err)
		}
	}
	var version *VersionError
	if _, err := connect(t, s, func(o *WorkOptions) { o.Password, o.Version = "secret", "2" }); !errors.As(err, &version) || version.Server != "1" || version.Worker != "2" {
		t.Errorf("%v", err)
	}
	if spent := time.Since(began); spent > 20*time.Second {
		t.Errorf("refused after %v", spent)
	}
	w, err := connect(t, s, func(o *WorkOptions) { o.Password = "secret" })
	if err != nil {
		t.Fatal(err)
	}
	var files strings.Builder
	if err := w.Bundle(t.Context(), &files); err != nil || files.String() != "files" {
		t.Errorf("%q, %v", files.String(), err)
	}
	if _, err := connect(t, s, func(o *WorkOptions) { o.URL, o.Patience = "nats://127.0.0.1:1", 100*time.Millisecond }); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// Users and nkeys of a file of NATS hold, and the search itself gets in beside them.
func TestConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte("authorization { users = [ {user: mito, password: fromfile} ] }"), 0o666); err != nil {
		t.Fatal(err)
	}
	s := begun(t, ServeOptions{Address: "127.0.0.1:0", Config: path})
	if _, err := connect(t, s, nil); !errors.Is(err, ErrCredentials) {
		t.Errorf("%v", err)
	}
	if _, err := connect(t, s, func(o *WorkOptions) { o.Password = "fromfile" }); err != nil {
		t.Error(err)
	}
	if err := Check(ServeOptions{Dir: t.TempDir(), Address: "127.0.0.1:0", Config: path, Password: "x"}); !errors.Is(err, ErrCredentials) {
		t.Errorf("a password beside users: %v", err)
	}
}

func made(text string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }

// Workers share trials, each is kept once, and all are seen.
func TestShare(t *testing.T) {
	s := begun(t, ServeOptions{Address: "127.0.0.1:0"})
	var all sync.WaitGroup
	for i := range 2 {
		w, err := connect(t, s, func(o *WorkOptions) { o.Name = fmt.Sprint("worker ", i) })
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := w.Work(t.Context(), func(_ context.Context, one Trial) (io.ReadCloser, error) {
				time.Sleep(20 * time.Millisecond)
				return made("made " + one.ID)
			}); err != nil {
				t.Error(err)
			}
		})
	}
	kept, most := map[string]int{}, 0
	if err := s.Run(t.Context(), list(40), RunOptions{
		Take: func(one Trial, r io.Reader) error {
			b, err := io.ReadAll(r)
			if kept[one.ID]++; string(b) != "made "+one.ID {
				t.Errorf("%s came as %q", one.ID, b)
			}
			return err
		},
		Watch: func(s Status) {
			if most = max(most, len(s.Workers)); len(s.Workers) == 2 && !strings.Contains(s.String(), "worker 0") {
				t.Errorf("%v", s)
			}
		},
	}); err != nil {
		t.Fatal(err)
	}
	for id, n := range kept {
		if n != 1 {
			t.Errorf("%s was kept %d times", id, n)
		}
	}
	if len(kept) != 40 || most != 2 {
		t.Errorf("%d kept, %d workers seen", len(kept), most)
	}
	if err := s.End(t.Context()); err != nil {
		t.Error(err)
	}
	all.Wait()
}

// A worker does not go on with a search that was started again with other flags, with other files or by another program.
func TestRestarted(t *testing.T) {
	for _, next := range []struct{ version, text, files string }{{"1", `"other"`, "files"}, {"1", `"job"`, "others"}, {"2", `"job"`, "files"}, {"1", `"job"`, "files"}} {
		s := begun(t, ServeOptions{Address: "127.0.0.1:0"})
		w, err := connect(t, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Begin(t.Context(), next.version, []byte(next.text), strings.NewReader(next.files)); err != nil {
			t.Fatal(err)
		}
		if err := s.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		err = w.Work(t.Context(), func(context.Context, Trial) (io.ReadCloser, error) { return made("nothing") })
		var version *VersionError
		if ok := next.version == "1" && next.text == `"job"` && next.files == "files"; ok != (err == nil) ||
			!ok && !errors.Is(err, ErrRestarted) && !(errors.As(err, &version) && version.Server == "2") {
			t.Errorf("%v: %v", next, err)
		}
	}
}

// Trials that a killed search left in the queue are none of one that goes on with other flags.
func TestLeftTrials(t *testing.T) {
	s := begun(t, ServeOptions{})
	ctx, kill := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.Run(ctx, list(5), RunOptions{})
	}()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if stream, err := s.js.Stream(t.Context(), trialStream); err == nil && stream.CachedInfo().State.Msgs == 5 {
			break
		}
	}
	kill()
	<-kept
	ran := map[string]int{}
	next := []Trial{{ID: "t3", Text: []byte("x")}, {ID: "other", Text: []byte("x")}}
	if err := s.Run(t.Context(), next, RunOptions{Here: func(_ context.Context, t Trial) error { ran[t.ID]++; return nil }}); err != nil {
		t.Fatal(err)
	}
	if len(ran) != 2 || ran["t3"] != 1 || ran["other"] != 1 {
		t.Errorf("%v ran", ran)
	}
}

// A trial that fails ends the search with its name and its reason, and a resumed one tries it again.
func TestFailedTrial(t *testing.T) {
	s := begun(t, ServeOptions{})
	fail := true
	run := func() error {
		return s.Run(t.Context(), list(3), RunOptions{Here: func(_ context.Context, t Trial) error {
			if t.ID == "t1" && fail {
				return errors.New("it diverged")
			}
			return nil
		}})
	}
	var e *TrialError
	if err := run(); !errors.As(err, &e) || e.ID != "t1" || !strings.Contains(err.Error(), "it diverged") {
		t.Errorf("%v", err)
	}
	fail = false
	if err := run(); err != nil {
		t.Error(err)
	}
}

// A store without room is said to be full, with its place, wherever that shows: with the files of the job, or with what trials make.
func TestFullStore(t *testing.T) {
	s, err := Serve(t.Context(), ServeOptions{Dir: t.TempDir(), Address: "127.0.0.1:0", MaxStore: 1 << 18})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var full *StoreError
	if err := s.Begin(t.Context(), "1", []byte(`"job"`), strings.NewReader(strings.Repeat("x", 1<<19))); !errors.As(err, &full) || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("the files: %v", err)
	}
	s = begun(t, ServeOptions{Address: "127.0.0.1:0", MaxStore: 1 << 18})
	w, err := connect(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	worked := make(chan error, 1)
	go func() {
		worked <- w.Work(t.Context(), func(context.Context, Trial) (io.ReadCloser, error) { return made(strings.Repeat("y", 1<<19)) })
	}()
	select {
	case err := <-worked:
		if err == nil || !strings.Contains(err.Error(), "full") {
			t.Errorf("the worker: %v", err)
		}
	case err := <-func() chan error {
		c := make(chan error, 1)
		go func() {
			c <- s.Run(t.Context(), list(1), RunOptions{Take: func(Trial, io.Reader) error { return nil }})
		}()
		return c
	}():
		if !errors.As(err, &full) {
			t.Errorf("the server: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("nobody says that the store is full")
	}
}

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) { imports.Direct(t) }

// Rate is how many trials a second one server hands out and takes back, with students of 64 KB. It is for the documentation; run it
// with -v.
func TestRate(t *testing.T) {
	const trials, bytes = 200, 64 << 10
	s := begun(t, ServeOptions{Address: "127.0.0.1:0"})
	student := strings.Repeat("s", bytes)
	for range 2 {
		w, err := connect(t, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		go w.Work(t.Context(), func(context.Context, Trial) (io.ReadCloser, error) { return made(student) })
	}
	began, taken := time.Now(), 0
	if err := s.Run(t.Context(), list(trials), RunOptions{Take: func(_ Trial, r io.Reader) error {
		n, err := io.Copy(io.Discard, r)
		if taken++; n != bytes {
			t.Errorf("%d bytes", n)
		}
		return err
	}}); err != nil || taken != trials {
		t.Fatalf("%d of %d: %v", taken, trials, err)
	}
	t.Logf("%.0f trials/s, each with a student of %d bytes, two workers in this process", trials/time.Since(began).Seconds(), bytes)
}
