//go:build dist && linux

package join

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"

	"mito/backend"
	"mito/engine/dist"
	"mito/engine/dist/nccl"
)

// openNCCL joins the ranks of GPUs. They meet where the launcher says, since NCCL's id has to reach them before NCCL can carry it.
func openNCCL(o Options, b backend.Backend) (*dist.Ranks, error) {
	on, ok := b.(nccl.Streamer)
	if !ok {
		return nil, fmt.Errorf("the backend %s has no stream that NCCL can queue on: give --backend cpu", b.Info().Name)
	}
	lib, err := nccl.Load(o.Library)
	if err != nil {
		return nil, err
	}
	l := o.Launch
	if l.Address == "" {
		return nil, fmt.Errorf("%s does not say where rank 0 is: set MASTER_ADDR, and MASTER_PORT where 29500 is taken", l.By)
	}
	// Another run on the same machines has another address.
	secret := dist.Secret(sha256.Sum256(fmt.Appendf(nil, "mito %s %d", l.Address, l.Size)))
	hub, err := gather(l, secret, o.Lost)
	if err != nil {
		return nil, err
	}
	id, err := lib.NewID()
	if err != nil {
		return nil, errors.Join(err, hub.Close())
	}
	all, err := hub.Exchange(id[:])
	if err == nil && len(all[0]) != len(id) {
		err = fmt.Errorf("rank 0 gave an id of NCCL of %d bytes, want %d", len(all[0]), len(id))
	}
	if err != nil {
		return nil, errors.Join(err, hub.Close())
	}
	e, err := nccl.Open(lib, on, nccl.ID(all[0]), l.Rank, l.Size)
	if err != nil {
		hub.Leave(err)
		return nil, err
	}
	return dist.Join(e, hub, o.Mode, append(o.Facts, dist.Fact{Name: "the library of NCCL", Value: e.Name()})...)
}

// gather connects ranks at an address that all know.
func gather(l dist.Launch, secret dist.Secret, lost func(error)) (*dist.Hub, error) {
	if l.Rank > 0 {
		return dist.Dial([]string{l.Address}, l.Rank, l.Size, secret, lost)
	}
	host, port, err := net.SplitHostPort(l.Address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		host = "" // a name of this machine may be that of one of its networks only
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("rank 0 listens at %s (%s): %w", l.Address, l.AddressFrom, err)
	}
	return dist.Host(listener, l.Size, secret, lost)
}
