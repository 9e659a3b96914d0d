//go:build dist

package trials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// mostDeliveries is how many workers may die of a trial before it counts as failed.
const mostDeliveries = 8

// Worker takes trials from a server.
type Worker struct {
	o     WorkOptions
	nc    *nats.Conn
	js    jetstream.JetStream
	id    string
	here  bool   // what trials make stays in this process
	begun []byte // the job as it was read first; nil in the process that serves

	job, results, workers jetstream.KeyValue
	blobs                 jetstream.ObjectStore
	consumer              jetstream.Consumer
	status                atomic.Pointer[WorkerStatus]
	done                  int
}

// Connect reaches a server, which may not be there yet, and reads what trials have in common. Errors: ErrCredentials, ErrUnreachable,
// *VersionError, ctx's.
func Connect(ctx context.Context, o WorkOptions) (w *Worker, text []byte, err error) {
	if o.Name == "" {
		host, _ := os.Hostname()
		o.Name = fmt.Sprintf("%s, process %d", host, os.Getpid())
	}
	w = &Worker{o: o}
	if err := w.connect(ctx); err != nil {
		return nil, nil, err
	}
	var packed []byte
	err = w.persist(ctx, func(ctx context.Context) error {
		if err := w.open(ctx); err != nil {
			return err
		}
		e, err := w.job.Get(ctx, jobKey)
		if err == nil {
			packed = e.Value()
		}
		return err
	})
	var j job
	if err == nil {
		err = json.Unmarshal(packed, &j)
	}
	if err == nil && j.Version != o.Version {
		err = &VersionError{Server: j.Version, Worker: o.Version}
	}
	if err != nil {
		w.nc.Close()
		return nil, nil, err
	}
	w.begun = packed
	return w, j.Text, nil
}

// same refuses to work for a search that was started again as another, which a worker finds where it left the one before.
func (w *Worker) same(ctx context.Context) error {
	if w.begun == nil {
		return nil
	}
	var packed []byte
	err := w.persist(ctx, func(ctx context.Context) error {
		e, err := w.job.Get(ctx, jobKey)
		if err == nil {
			packed = e.Value()
		}
		return err
	})
	if err != nil || bytes.Equal(packed, w.begun) {
		return err
	}
	var j job
	if err := json.Unmarshal(packed, &j); err == nil && j.Version != w.o.Version {
		return &VersionError{Server: j.Version, Worker: w.o.Version}
	}
	return ErrRestarted
}

// connect waits for the server, but not with credentials that it refuses.
func (w *Worker) connect(ctx context.Context) error {
	options := []nats.Option{nats.Name(w.o.Name), nats.MaxReconnects(-1), nats.ReconnectWait(300 * time.Millisecond)}
	for _, f := range []struct {
		value  string
		option func() nats.Option
	}{
		{w.o.Password, func() nats.Option { return nats.UserInfo(User, w.o.Password) }},
		{w.o.Creds, func() nats.Option { return nats.UserCredentials(w.o.Creds) }},
		{w.o.CA, func() nats.Option { return nats.RootCAs(w.o.CA) }},
		{w.o.Cert, func() nats.Option { return nats.ClientCert(w.o.Cert, w.o.Key) }},
	} {
		if f.value != "" {
			options = append(options, f.option())
		}
	}
	end := time.Now().Add(w.o.Patience)
	for {
		nc, err := nats.Connect(w.o.URL, options...)
		switch {
		case err == nil:
			w.nc = nc
			w.js, err = jetstream.New(nc)
			return err
		case errors.Is(err, nats.ErrAuthorization) || strings.Contains(strings.ToLower(err.Error()), "authorization violation"):
			return fmt.Errorf("trials: %s refuses this worker's %w: give those that the search was started with", w.o.URL, ErrCredentials)
		case !waits(err):
			return fmt.Errorf("trials: %s: %w", w.o.URL, err)
		case time.Now().After(end):
			return fmt.Errorf("trials: %s: %w: %w", w.o.URL, ErrUnreachable, err)
		}
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

// waits says that a server may be there later.
func waits(err error) bool {
	if errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrConnectionClosed) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "refused") || strings.Contains(text, "reset") || strings.Contains(text, "timeout") || strings.Contains(text, "EOF")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// open finds what lies in the store.
func (w *Worker) open(ctx context.Context) (err error) {
	if w.id == "" {
		w.id = nuid.Next()
	}
	if w.job, err = w.js.KeyValue(ctx, jobBucket); err == nil {
		w.results, err = w.js.KeyValue(ctx, resultBucket)
	}
	if err == nil {
		w.workers, err = w.js.KeyValue(ctx, workerBucket)
	}
	if err == nil {
		w.blobs, err = w.js.ObjectStore(ctx, blobStore)
	}
	if err == nil {
		w.consumer, err = w.js.Consumer(ctx, trialStream, trialConsumer)
	}
	return err
}

// persist repeats what fails while the server is away. It gives up when that takes longer than a worker waits.
func (w *Worker) persist(ctx context.Context, f func(context.Context) error) error {
	return w.persistFor(ctx, opTimeout, f)
}

// persistFor is persist with another time for each attempt.
func (w *Worker) persistFor(ctx context.Context, each time.Duration, f func(context.Context) error) error {
	end := time.Now().Add(w.o.Patience)
	for {
		one, cancel := context.WithTimeout(ctx, each)
		err := f(one)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case isFull(err):
			return fmt.Errorf("trials: the store of the search is full: %w", err)
		case time.Now().After(end):
			return fmt.Errorf("trials: %w: %w", ErrUnreachable, err)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// Bundle writes the files of the search.
func (w *Worker) Bundle(ctx context.Context, dst io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, blobTime)
	defer cancel()
	r, err := w.blobs.Get(ctx, bundleName)
	if err != nil {
		return fmt.Errorf("trials: the files of the search: %w", err)
	}
	_, err = io.Copy(dst, r)
	return errors.Join(err, r.Error(), r.Close())
}

// Work runs trials until the search is done. do runs one, and gives what it made. Errors: ErrUnreachable,
// ErrRestarted, *VersionError, ctx's.
func (w *Worker) Work(ctx context.Context, do func(ctx context.Context, t Trial) (io.ReadCloser, error)) error {
	w.at("")
	alive, stop := context.WithCancel(ctx)
	defer stop()
	go w.beat(alive)
	defer w.gone()
	for {
		if err := w.same(ctx); err != nil {
			return err
		}
		var message jetstream.Msg
		over := false
		err := w.persist(ctx, func(op context.Context) (err error) {
			if message, err = w.next(op); !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, jetstream.ErrNoMessages) {
				return err
			}
			e, err := w.job.Get(op, stateKey)
			over = err == nil && string(e.Value()) == stateDone
			return err
		})
		switch {
		case err != nil:
			return err
		case over:
			return nil
		case message == nil:
			continue
		}
		if err := w.one(ctx, message, do); err != nil {
			return err
		}
	}
}

// next waits a moment for a message.
func (w *Worker) next(ctx context.Context) (jetstream.Msg, error) {
	return w.consumer.Next(jetstream.FetchMaxWait(time.Second))
}

// one runs one trial.
func (w *Worker) one(ctx context.Context, m jetstream.Msg, do func(context.Context, Trial) (io.ReadCloser, error)) error {
	t := Trial{ID: strings.TrimPrefix(m.Subject(), trialSubject), Text: m.Data()}
	known := false
	if err := w.persist(ctx, func(ctx context.Context) error {
		_, err := w.results.Get(ctx, t.ID)
		known = err == nil
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		return err
	}); err != nil {
		m.Nak()
		return err
	}
	if known { // whoever ran it died before it was acknowledged
		return w.acknowledge(ctx, m)
	}
	if err := w.same(ctx); err != nil { // it may have been waiting for a message while the search was started again
		m.Nak()
		return err
	}
	w.at(t.ID)
	defer w.at("")
	r := result{Worker: w.o.Name, Here: w.here}
	var made io.ReadCloser
	if meta, err := m.Metadata(); err == nil && meta.NumDelivered > mostDeliveries {
		r.Error = fmt.Sprintf("%d workers ended while they were at it", meta.NumDelivered-1)
	} else {
		working, stop := context.WithCancel(ctx)
		defer stop() // when what it made is stored, which may take longer than a silent worker is given
		go w.keepAt(working, m)
		var err error
		made, err = do(ctx, t)
		if ctx.Err() != nil {
			m.Nak() // another takes it at once
			return ctx.Err()
		}
		if err != nil {
			r.Error = err.Error()
		}
	}
	if err := w.store(ctx, t, r, made); err != nil {
		m.Nak()
		return err
	}
	w.done++
	return w.acknowledge(ctx, m)
}

// store keeps what a trial made and then its result, which is written once.
func (w *Worker) store(ctx context.Context, t Trial, r result, made io.ReadCloser) error {
	if made != nil {
		b, err := io.ReadAll(made)
		if err = errors.Join(err, made.Close()); err != nil {
			return err
		}
		if err := w.persistFor(ctx, putTime(len(b)), func(ctx context.Context) error {
			_, err := w.blobs.PutBytes(ctx, t.ID, b)
			return err
		}); err != nil {
			return err
		}
	}
	packed, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return w.persist(ctx, func(ctx context.Context) error {
		_, err := w.results.Create(ctx, t.ID, packed)
		if errors.Is(err, jetstream.ErrKeyExists) {
			return nil // a worker that was thought dead was faster, with the same
		}
		return err
	})
}

// putTime is how long an attempt to store n bytes may take: long enough for a network of 16 KB a second, and no longer, since a server
// that was killed meanwhile never says so.
func putTime(n int) time.Duration {
	return opTimeout + time.Duration(n)*time.Second/(16<<10)
}

func (w *Worker) acknowledge(ctx context.Context, m jetstream.Msg) error {
	// A server that was killed may not know the delivery any more: then it delivers again, and the result is found.
	// What is done is acknowledged where the worker is told to stop, too: else a search that goes on would wait for AckWait.
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	m.DoubleAck(one)
	return ctx.Err()
}

// keepAt says that a trial is still being run.
func (w *Worker) keepAt(ctx context.Context, m jetstream.Msg) {
	wait := w.o.AckWait
	if wait == 0 {
		wait = AckWait
	}
	for pause(ctx, wait/3) == nil {
		m.InProgress()
	}
}

// at says what the worker is at.
func (w *Worker) at(trial string) {
	w.status.Store(&WorkerStatus{Name: w.o.Name, Trial: trial, Done: w.done, Since: time.Now()})
	w.publish()
}

func (w *Worker) publish() {
	if b, err := json.Marshal(w.status.Load()); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.workers.Put(ctx, w.id, b) // for people: without it the work goes on
	}
}

// beat says that the worker is there.
func (w *Worker) beat(ctx context.Context) {
	for pause(ctx, workerTTL/3) == nil {
		w.publish()
	}
}

func (w *Worker) gone() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	w.workers.Purge(ctx, w.id)
}

// Close ends the connection.
func (w *Worker) Close() { w.nc.Close() }
