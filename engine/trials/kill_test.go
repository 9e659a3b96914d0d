//go:build dist && unix

package trials

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"mito/engine/compress/search"
)

// roleVar makes the program of the tests a server or a worker: role, folder, address.
const roleVar = "MITO_TEST_TRIALS"

const manyTrials = 100

func TestMain(m *testing.M) {
	role, rest, _ := strings.Cut(os.Getenv(roleVar), " ")
	dir, address, _ := strings.Cut(rest, " ")
	var err error
	switch role {
	case "server":
		err = serveMany(dir, address)
	case "worker":
		err = workMany(dir, address)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		os.Exit(1)
	}
}

func manyTrialsList() []Trial {
	var list []Trial
	for i := range manyTrials {
		list = append(list, Trial{ID: fmt.Sprintf("t%03d", i), Text: fmt.Appendf(nil, "%d", i)})
	}
	return list
}

// outcomeOf is what comes of a trial, whoever runs it.
func outcomeOf(id string) search.Outcome {
	h := fnv.New64a()
	h.Write([]byte(id))
	n := h.Sum64()
	return search.Outcome{Name: id, Flash: int64(n % 1000), Loss: float64(n/1000%1000) / 1000}
}

// serveMany serves trials until each has a result in dir, where those of before the server was killed are.
func serveMany(dir, address string) error {
	ctx := context.Background()
	s, err := Serve(ctx, ServeOptions{Dir: StoreIn(dir), Address: address, AckWait: time.Second})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Begin(ctx, "1", []byte(`"job"`), strings.NewReader("files")); err != nil {
		return err
	}
	var list []Trial
	for _, t := range manyTrialsList() {
		if _, err := os.Stat(filepath.Join(dir, t.ID)); err != nil {
			list = append(list, t)
		}
	}
	err = s.Run(ctx, list, RunOptions{Take: func(t Trial, made io.Reader) error {
		b, err := io.ReadAll(made)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, t.ID)
		if _, err := os.Stat(path); err == nil {
			return errors.New("a second result")
		}
		if err := os.WriteFile(path+".half", b, 0o666); err != nil {
			return err
		}
		return os.Rename(path+".half", path)
	}})
	return errors.Join(err, s.End(ctx))
}

func workMany(dir, address string) error {
	ctx := context.Background()
	w, _, err := Connect(ctx, WorkOptions{URL: "nats://" + address, Version: "1", Patience: 20 * time.Second, AckWait: time.Second})
	if err != nil {
		return err
	}
	defer w.Close()
	return w.Work(ctx, func(_ context.Context, t Trial) (io.ReadCloser, error) {
		time.Sleep(time.Duration(5+rand.IntN(25)) * time.Millisecond)
		return io.NopCloser(strings.NewReader(fmt.Sprint(outcomeOf(t.ID).Loss))), nil
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func role(t *testing.T, name, dir, address string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"="+name+" "+dir+" "+address)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

func resultsIn(dir string) int {
	list, _ := filepath.Glob(filepath.Join(dir, "t[0-9][0-9][0-9]"))
	return len(list)
}

// A hundred trials, three workers that are each killed once at a random moment, and a server that is killed once: each trial has one
// result, and the front is that of one process.
func TestKilled(t *testing.T) {
	dir, address := t.TempDir(), freeAddress(t)
	serving, _ := role(t, "server", dir, address)
	var all sync.WaitGroup
	var killed int
	var lock sync.Mutex
	for range 3 {
		at := 5 + rand.IntN(50) // results
		all.Go(func() {
			w, _ := role(t, "worker", dir, address)
			for resultsIn(dir) < at {
				time.Sleep(5 * time.Millisecond)
			}
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
			w.Process.Kill()
			if err := w.Wait(); err != nil {
				lock.Lock()
				killed++
				lock.Unlock()
			}
			w, out := role(t, "worker", dir, address)
			// One that is started again when the search is over finds nobody.
			if err := w.Wait(); err != nil && (resultsIn(dir) < manyTrials || !strings.Contains(out.String(), ErrUnreachable.Error())) {
				t.Errorf("a worker: %v: %s", err, out)
			}
		})
	}
	for resultsIn(dir) < 30 {
		time.Sleep(5 * time.Millisecond)
	}
	serving.Process.Kill()
	serving.Wait()
	before := resultsIn(dir)
	time.Sleep(300 * time.Millisecond)
	serving, said := role(t, "server", dir, address)
	if err := serving.Wait(); err != nil {
		t.Errorf("the server: %v: %s", err, said)
	}
	all.Wait()
	if killed != 3 || before >= manyTrials {
		t.Errorf("%d workers were killed, the server after %d results", killed, before)
	}
	var got, want []search.Outcome
	for _, trial := range manyTrialsList() {
		o := outcomeOf(trial.ID)
		want = append(want, o)
		b, err := os.ReadFile(filepath.Join(dir, trial.ID))
		if err != nil {
			t.Error(err)
			continue
		}
		fmt.Sscan(string(b), &o.Loss)
		got = append(got, o)
	}
	if len(got) != manyTrials || !reflect.DeepEqual(search.Front(got), search.Front(want)) {
		t.Errorf("%d results; the front is %v, want %v", len(got), search.Front(got), search.Front(want))
	}
	t.Logf("3 workers killed, the server killed after %d results: %d results", before, len(got))
}
