package dist

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"gorgonia.org/tensor"

	"mito/backend"
)

// network is an Engine for ranks that are goroutines.
type network struct {
	size  int
	links map[[2]int]chan []float32
	spare map[[2]int]chan []float32 // of broadcasts and sums
}

func newNetwork(size int) *network {
	n := &network{size: size, links: map[[2]int]chan []float32{}, spare: map[[2]int]chan []float32{}}
	for from := range size {
		for to := range size {
			n.links[[2]int{from, to}] = make(chan []float32, 1000)
			n.spare[[2]int{from, to}] = make(chan []float32, 1000)
		}
	}
	return n
}

// local is one rank's end of it.
type local struct {
	*network
	rank  int
	b     backend.Backend
	sends int
	late  bool // Ready always says no
	slow  bool // Blocks says yes
}

func (l *local) Rank() int    { return l.rank }
func (l *local) Size() int    { return l.size }
func (l *local) Name() string { return "goroutines" }
func (l *local) Blocks() bool { return l.slow }
func (l *local) Wait() error  { return nil }
func (l *local) Close() error { return nil }

func (l *local) host(t *tensor.Dense) ([]float32, error) {
	x := make([]float32, t.Shape().TotalSize())
	return x, l.b.Download(x, t)
}

func (l *local) Send(t *tensor.Dense, to int) error {
	x, err := l.host(t)
	l.sends++
	l.links[[2]int{l.rank, to}] <- x
	return err
}

func take(c chan []float32) ([]float32, error) {
	select {
	case x := <-c:
		return x, nil
	case <-time.After(20 * time.Second):
		return nil, errors.New("nothing came")
	}
}

func (l *local) Receive(t *tensor.Dense, from int) error {
	x, err := take(l.links[[2]int{from, l.rank}])
	if err != nil {
		return err
	}
	return l.b.Upload(t, x)
}

func (l *local) Ready(from int) bool { return !l.late && len(l.links[[2]int{from, l.rank}]) > 0 }

func (l *local) Broadcast(t *tensor.Dense, root int) error {
	if l.rank != root {
		x, err := take(l.spare[[2]int{root, l.rank}])
		if err != nil {
			return err
		}
		return l.b.Upload(t, x)
	}
	x, err := l.host(t)
	for to := range l.size {
		if to != root {
			l.spare[[2]int{root, to}] <- x
		}
	}
	return err
}

func (l *local) Sum(t *tensor.Dense) error {
	x, err := l.host(t)
	if err != nil {
		return err
	}
	for to := range l.size {
		if to != l.rank {
			l.spare[[2]int{l.rank, to}] <- x
		}
	}
	sum := make([]float32, len(x))
	for from := range l.size {
		y := x
		if from != l.rank {
			if y, err = take(l.spare[[2]int{from, l.rank}]); err != nil {
				return err
			}
		}
		for i := range sum {
			sum[i] += y[i]
		}
	}
	return l.b.Upload(t, sum)
}

// hubs connects ranks over this machine's loopback.
func hubs(t *testing.T, size int, onLost func(rank int, err error)) []*Hub {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	list, errs := make([]*Hub, size), make([]error, size)
	lost := func(rank int) func(error) {
		if onLost == nil {
			return nil
		}
		return func(err error) { onLost(rank, err) }
	}
	var all sync.WaitGroup
	for rank := range size {
		all.Go(func() {
			if rank == 0 {
				list[0], errs[0] = Host(l, size, Secret{1}, lost(0))
				return
			}
			list[rank], errs[rank] = Dial([]string{l.Addr().String()}, rank, size, Secret{1}, lost(rank))
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var all sync.WaitGroup
		for _, h := range list {
			all.Go(func() { h.Close() })
		}
		all.Wait()
	})
	return list
}

// together runs f on every rank and joins their errors.
func together(size int, f func(rank int) error) error {
	errs := make([]error, size)
	var all sync.WaitGroup
	for rank := range size {
		all.Go(func() {
			if err := f(rank); err != nil {
				errs[rank] = fmt.Errorf("rank %d: %w", rank, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
