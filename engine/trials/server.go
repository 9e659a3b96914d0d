//go:build dist

package trials

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Names in the store.
const (
	jobBucket     = "JOB"
	jobKey        = "job"
	stateKey      = "state"
	stateDone     = "done"
	aliveKey      = "alive"
	blobStore     = "BLOBS"
	bundleName    = "bundle"
	trialStream   = "TRIALS"
	trialSubject  = "trial."
	trialConsumer = "workers"
	resultBucket  = "RESULTS"
	workerBucket  = "WORKERS"

	// subjectFull is the error code of a subject that has its one message.
	subjectFull = 10077
	opTimeout   = 10 * time.Second
	writeTime   = 5 * time.Second
	writeBytes  = 5000      // more than a block of a disk, the rest of which may still be there when the disk is full
	blobTime    = time.Hour // for files, over a network of any speed
	statusEvery = time.Second
	workerTTL   = 15 * time.Second
)

// Server serves trials.
type Server struct {
	o      ServeOptions
	ns     *server.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	secret []nats.Option // what lets this process in

	job, results, workers jetstream.KeyValue
	blobs                 jetstream.ObjectStore
}

// Check refuses what cannot be served, before anything is begun. Errors: as Serve.
func Check(o ServeOptions) error {
	s := &Server{o: o}
	opts, err := s.options()
	if err != nil || opts.DontListen {
		return err
	}
	return listens(opts.Host, opts.Port)
}

// Serve starts a server, or goes on with what lies in its store. Errors: ErrCredentials, *StoreError, those of the address.
func Serve(ctx context.Context, o ServeOptions) (*Server, error) {
	s := &Server{o: o}
	opts, err := s.options()
	if err != nil {
		return nil, err
	}
	if s.ns, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("trials: %w", err)
	}
	if !opts.DontListen { // the server ends the process where it cannot listen
		if err := listens(opts.Host, opts.Port); err != nil {
			return nil, fmt.Errorf("trials: %w", err)
		}
	}
	s.ns.Start()
	if !s.ns.ReadyForConnections(opTimeout) || !s.ns.JetStreamEnabled() {
		s.ns.Shutdown()
		return nil, &StoreError{o.Dir, errors.New("the server of the queue did not start")}
	}
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func listens(host string, port int) error {
	if port <= 0 {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

// options are those of NATS.
func (s *Server) options() (*server.Options, error) {
	opts := &server.Options{}
	if s.o.Config != "" {
		var err error
		if opts, err = server.ProcessConfigFile(s.o.Config); err != nil {
			return nil, fmt.Errorf("trials: %s: %w", s.o.Config, err)
		}
	}
	opts.ServerName, opts.JetStream, opts.StoreDir, opts.NoSigs, opts.NoLog = "mito", true, s.o.Dir, true, true
	opts.JetStreamMaxStore = s.o.MaxStore
	opts.DontListen = s.o.Address == "" && s.o.Config == ""
	if s.o.Address != "" {
		host, port, err := net.SplitHostPort(s.o.Address)
		if err != nil {
			return nil, fmt.Errorf("trials: the address %q: want HOST:PORT, such as 127.0.0.1:4222: %w", s.o.Address, err)
		}
		if opts.Host = host; host == "" {
			opts.Host = "0.0.0.0"
		}
		if opts.Port, err = strconv.Atoi(port); err != nil || opts.Port < 0 || opts.Port > 65535 {
			return nil, fmt.Errorf("trials: the port of %q is no number below 65536", s.o.Address)
		}
		if opts.Port == 0 {
			opts.Port = server.RANDOM_PORT
		}
	}
	return opts, s.credentials(opts)
}

// credentials finds who may connect, and lets this process in.
func (s *Server) credentials(opts *server.Options) error {
	if s.o.Password != "" {
		if opts.Username != "" || len(opts.Users) > 0 || len(opts.Nkeys) > 0 || opts.Authorization != "" || len(opts.TrustedOperators) > 0 {
			return fmt.Errorf("trials: a password beside users in %s: give one of them: %w", s.o.Config, ErrCredentials)
		}
		opts.Username, opts.Password = User, s.o.Password
	}
	open := false
	switch {
	case len(opts.TrustedOperators) > 0:
		return fmt.Errorf("trials: %s has operators, whose accounts a search cannot use; give it users or nkeys: %w", s.o.Config, ErrCredentials)
	case opts.Username != "":
		s.secret = append(s.secret, nats.UserInfo(opts.Username, opts.Password))
	case opts.Authorization != "":
		s.secret = append(s.secret, nats.Token(opts.Authorization))
	case len(opts.Users) > 0 || len(opts.Nkeys) > 0:
		me := &server.User{Username: "search-" + rand.Text(), Password: rand.Text()}
		opts.Users = append(opts.Users, me)
		s.secret = append(s.secret, nats.UserInfo(me.Username, me.Password))
	default:
		open = true
	}
	if open && !opts.DontListen && !loopback(opts.Host) {
		return fmt.Errorf("trials: %s can be reached from other machines: give a password, or users in a file of NATS, or listen on 127.0.0.1: %w",
			net.JoinHostPort(opts.Host, strconv.Itoa(opts.Port)), ErrCredentials)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// open connects this process, through no port, and makes what is not in the store yet.
func (s *Server) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*opTimeout)
	defer cancel()
	if s.nc, err = nats.Connect("", append(s.secret, nats.InProcessServer(s.ns))...); err != nil {
		return fmt.Errorf("trials: %w", err)
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return err
	}
	wait := s.o.AckWait
	if wait == 0 {
		wait = AckWait
	}
	_, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: trialStream, Subjects: []string{trialSubject + ">"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgsPerSubject: 1,
	})
	if err == nil {
		_, err = s.js.CreateOrUpdateConsumer(ctx, trialStream, jetstream.ConsumerConfig{
			Durable: trialConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: wait, MaxDeliver: -1, MaxAckPending: 10000,
		})
	}
	bucket := func(to *jetstream.KeyValue, name string, ttl time.Duration) {
		if err == nil {
			*to, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, TTL: ttl})
		}
	}
	bucket(&s.job, jobBucket, 0)
	bucket(&s.results, resultBucket, 0)
	bucket(&s.workers, workerBucket, workerTTL)
	if err == nil {
		s.blobs, err = s.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: blobStore})
	}
	return s.full(err)
}

// full makes a *StoreError of an error that the store's size has.
func (s *Server) full(err error) error {
	if err == nil || !isFull(err) {
		return err
	}
	return &StoreError{s.o.Dir, err}
}

// isFull says that a store takes no more.
func isFull(err error) bool {
	text := err.Error()
	for _, words := range []string{"insufficient resources", "insufficient storage", "maximum bytes exceeded", "no space left", "resource limits exceeded", "insufficient memory"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// URL is where workers find the server; "" where it has no port.
func (s *Server) URL() string {
	if s.o.Address == "" && s.o.Config == "" {
		return ""
	}
	return s.ns.ClientURL()
}

// job is what workers read first.
type job struct {
	Version string          `json:"version"`
	Files   string          `json:"files"` // digest of the bundle
	Text    json.RawMessage `json:"text"`
}

// Begin says what trials have in common, for workers that are the same program, with files that they need.
func (s *Server) Begin(ctx context.Context, version string, text []byte, bundle io.Reader) error {
	info, err := s.blobs.Put(ctx, jetstream.ObjectMeta{Name: bundleName}, bundle)
	if err != nil {
		return s.full(fmt.Errorf("trials: storing the files of the search: %w", err))
	}
	packed, err := json.Marshal(job{Version: version, Files: info.Digest, Text: text})
	if err != nil {
		return err
	}
	if _, err = s.job.Put(ctx, jobKey, packed); err == nil {
		_, err = s.job.PutString(ctx, stateKey, "open")
	}
	return s.full(err)
}

// result is what a worker writes of a trial.
type result struct {
	Worker string `json:"worker"`
	Error  string `json:"error,omitempty"`
	Here   bool   `json:"here,omitempty"` // the serving process keeps what it made
}

// RunOptions say what comes of trials.
type RunOptions struct {
	// Here runs a trial in this process, and keeps what it makes; nil leaves all to workers.
	Here func(ctx context.Context, t Trial) error
	// Take keeps what a trial made elsewhere.
	Take func(t Trial, made io.Reader) error
	// Watch is told how far it is; may be nil.
	Watch func(Status)
}

// Run has trials run, and returns when each has been. Errors: *TrialError, *StoreError, ctx's.
func (s *Server) Run(ctx context.Context, list []Trial, o RunOptions) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	open := map[string]Trial{}
	for _, t := range list {
		open[t.ID] = t
	}
	if err := s.clear(ctx, open); err != nil {
		return s.full(fmt.Errorf("trials: what another search left in the queue: %w", err))
	}
	for _, t := range list {
		if err := s.offer(ctx, t); err != nil {
			return err
		}
	}
	watch, err := s.results.WatchAll(ctx)
	if err != nil {
		return s.full(err)
	}
	defer watch.Stop()
	here := make(chan struct{})
	go func() {
		defer close(here)
		if o.Here != nil {
			if err := s.workHere(ctx, o.Here); err != nil {
				stop(err)
			}
		}
	}()
	err = s.gather(ctx, open, len(list), watch, o)
	stop(nil)
	<-here
	return err
}

// clear takes trials out of the queue that are none of open: a search that was killed left them, and one with other flags goes on.
func (s *Server) clear(ctx context.Context, open map[string]Trial) error {
	stream, err := s.js.Stream(ctx, trialStream)
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(trialSubject+">"))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		if _, ok := open[strings.TrimPrefix(subject, trialSubject)]; !ok {
			if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
				return err
			}
		}
	}
	return nil
}

// offer queues a trial, once.
func (s *Server) offer(ctx context.Context, t Trial) error {
	if _, err := s.results.Get(ctx, t.ID); err == nil {
		return nil // what came of it is taken from there
	} else if !errors.Is(err, jetstream.ErrKeyNotFound) {
		return s.full(err)
	}
	_, err := s.js.Publish(ctx, trialSubject+t.ID, t.Text)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == subjectFull {
		return nil
	}
	return s.full(err)
}

// gather takes results as they come.
func (s *Server) gather(ctx context.Context, open map[string]Trial, all int, watch jetstream.KeyWatcher, o RunOptions) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for len(open) > 0 {
		select {
		case entry := <-watch.Updates():
			if entry == nil || entry.Operation() != jetstream.KeyValuePut {
				continue
			}
			t, ok := open[entry.Key()]
			if !ok {
				continue
			}
			taken, err := s.take(ctx, t, entry.Value(), o)
			if err != nil {
				return err
			}
			if taken {
				delete(open, t.ID)
			}
			s.tell(ctx, all-len(open), all, o)
		case <-tick.C:
			if !s.ns.JetStreamEnabled() {
				return &StoreError{s.o.Dir, errors.New("the queue has stopped writing")}
			}
			if err := s.room(); err != nil {
				return err
			}
			if err := s.writes(ctx); err != nil {
				return err
			}
			s.tell(ctx, all-len(open), all, o)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// room refuses to wait for workers that cannot store anything.
func (s *Server) room() error {
	info, err := s.ns.Jsz(nil)
	if err != nil || info.Config.MaxStore <= 0 || info.Store < uint64(info.Config.MaxStore)/20*19 {
		return nil
	}
	return &StoreError{s.o.Dir, fmt.Errorf("%d of %d bytes are in use", info.Store, info.Config.MaxStore)}
}

// writes refuses to wait for a store that does not write, as where the disk was filled by others: NATS is silent about that.
func (s *Server) writes(ctx context.Context) error {
	one, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	_, err := s.job.Put(one, aliveKey, make([]byte, writeBytes))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout):
		return &StoreError{s.o.Dir, errors.New("the queue has stopped writing")}
	}
	return s.full(err)
}

// take keeps a result; false where it has to be made again.
func (s *Server) take(ctx context.Context, t Trial, value []byte, o RunOptions) (bool, error) {
	var r result
	if err := json.Unmarshal(value, &r); err != nil {
		return false, fmt.Errorf("trials: the result of %s: %w", t.ID, err)
	}
	if r.Error != "" {
		// A resumed search tries it again.
		return false, errors.Join(&TrialError{t.ID, r.Worker, r.Error}, s.results.Purge(ctx, t.ID))
	}
	if r.Here {
		return true, nil
	}
	long, cancel := context.WithTimeout(ctx, blobTime) // Get's own bound is that of a small message
	defer cancel()
	made, err := s.blobs.Get(long, t.ID)
	if errors.Is(err, jetstream.ErrObjectNotFound) { // it was taken, and then lost from the disk
		if err := s.results.Purge(ctx, t.ID); err != nil {
			return false, err
		}
		return false, s.offer(ctx, t)
	}
	if err == nil {
		err = errors.Join(o.Take(t, made), made.Error(), made.Close())
	}
	if err == nil {
		err = s.blobs.Delete(ctx, t.ID)
	}
	if err != nil {
		return false, s.full(fmt.Errorf("trials: keeping what trial %s made: %w", t.ID, err))
	}
	return true, nil
}

// tell says how far it is.
func (s *Server) tell(ctx context.Context, done, all int, o RunOptions) {
	if o.Watch == nil {
		return
	}
	status := Status{Done: done, Trials: all}
	keys, err := s.workers.ListKeys(ctx)
	if err == nil {
		for key := range keys.Keys() {
			var w WorkerStatus
			if e, err := s.workers.Get(ctx, key); err == nil && json.Unmarshal(e.Value(), &w) == nil {
				status.Workers = append(status.Workers, w)
			}
		}
	}
	o.Watch(status)
}

// workHere is a worker in this process.
func (s *Server) workHere(ctx context.Context, do func(context.Context, Trial) error) error {
	w := &Worker{o: WorkOptions{Name: "this process", AckWait: s.o.AckWait, Patience: opTimeout}, nc: s.nc, js: s.js}
	if err := w.open(ctx); err != nil {
		return err
	}
	w.here = true
	err := w.Work(ctx, func(ctx context.Context, t Trial) (io.ReadCloser, error) { return nil, do(ctx, t) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// End tells the workers that no more trials come, and waits a moment until they have gone.
func (s *Server) End(ctx context.Context) error {
	_, err := s.job.PutString(ctx, stateKey, stateDone)
	for end := time.Now().Add(5 * time.Second); err == nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if keys, e := s.workers.Keys(ctx); errors.Is(e, jetstream.ErrNoKeysFound) || e == nil && len(keys) == 0 {
			break
		}
	}
	return err
}

// Close stops the server. What is in its store stays.
func (s *Server) Close() error {
	if s.nc != nil {
		s.nc.Close()
	}
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	return nil
}

// StoreIn is the folder of a server's store in that of a search.
func StoreIn(dir string) string { return filepath.Join(dir, "queue") }
