//go:build dist && (linux || darwin)

package join

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"mito/backend"
	"mito/engine/dist"
	"mito/engine/dist/mpi"
)

// Options say whom to join.
type Options struct {
	Launch  dist.Launch
	Library string // file; "" for the usual names
	Mode    string // dist.Ordered or dist.Fast
	Facts   []dist.Fact
	Lost    func(error) // called once when a rank is lost
}

// Open joins the other ranks: by NCCL where the backend is a GPU's, else by MPI. Errors: *dist.LibraryError, and of ranks that cannot
// be reached.
func Open(o Options, b backend.Backend) (*dist.Ranks, error) {
	if b.Info().Name != "cpu" {
		return openNCCL(o, b)
	}
	e, err := mpi.Open(o.Library)
	if err != nil {
		return nil, err
	}
	if e.Size() != o.Launch.Size || e.Rank() != o.Launch.Rank {
		return nil, errors.Join(fmt.Errorf("%s started this process as rank %d of %d, for %s it is rank %d of %d: start the ranks with the mpiexec of this library, "+
			"or with srun --mpi=pmi2, or give --ranks none", o.Launch.By, o.Launch.Rank, o.Launch.Size, e.Name(), e.Rank(), e.Size()), e.Close())
	}
	hub, err := meet(o, e)
	if err != nil {
		return nil, err
	}
	return dist.Join(e, hub, o.Mode, append(o.Facts, dist.Fact{Name: "the library of MPI", Value: e.Name()})...)
}

// broadcaster is what MPI can do before there is a hub.
type broadcaster interface {
	Rank() int
	Size() int
	BroadcastBytes(b []byte, root int) error
}

// invitation is what rank 0 tells the others.
type invitation struct {
	Addresses []string
	Secret    dist.Secret
}

// mostText is the room for what is broadcast.
const mostText = 8192

// meet connects the ranks of an engine.
func meet(o Options, e broadcaster) (*dist.Hub, error) {
	one, err := oneMachine(e)
	if err != nil {
		return nil, err
	}
	var l net.Listener
	var in invitation
	if e.Rank() == 0 {
		if l, in.Addresses, err = listen(one); err != nil {
			return nil, err
		}
		if _, err := rand.Read(in.Secret[:]); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(in)
	if err == nil {
		text, err = broadcast(e, text, 0)
	}
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err != nil {
		return nil, fmt.Errorf("telling the ranks where rank 0 is: %w", err)
	}
	if e.Rank() == 0 {
		return dist.Host(l, e.Size(), in.Secret, o.Lost)
	}
	return dist.Dial(in.Addresses, e.Rank(), e.Size(), in.Secret, o.Lost)
}

// broadcast gives every rank the text of root.
func broadcast(e broadcaster, text []byte, root int) ([]byte, error) {
	if len(text) > mostText {
		return nil, fmt.Errorf("%d bytes, at most %d", len(text), mostText)
	}
	room := make([]byte, mostText)
	copy(room, text)
	err := e.BroadcastBytes(room, root)
	return bytes.TrimRight(room, "\x00"), err
}

// oneMachine says whether all ranks run on the same machine.
func oneMachine(e broadcaster) (bool, error) {
	host, err := os.Hostname()
	if err != nil {
		return false, err
	}
	one := true
	for rank := range e.Size() {
		other, err := broadcast(e, []byte(host), rank)
		if err != nil {
			return false, fmt.Errorf("comparing names of machines: %w", err)
		}
		one = one && string(other) == host
	}
	return one, nil
}

// listen makes rank 0's listener, and the addresses that others may reach it by.
func listen(one bool) (net.Listener, []string, error) {
	if one {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		return l, []string{l.Addr().String()}, nil
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, nil, err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	var list []string
	if host, err := os.Hostname(); err == nil {
		list = append(list, net.JoinHostPort(host, port))
	}
	addresses, err := net.InterfaceAddrs()
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			list = append(list, net.JoinHostPort(ip.IP.String(), port))
		}
	}
	return l, list, err
}
