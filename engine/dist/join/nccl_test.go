//go:build dist && linux

package join

import (
	"net"
	"strings"
	"sync"
	"testing"

	"mito/backend/cpu"
	"mito/engine/dist"
)

// Ranks meet at the address that the launcher told them, on the loopback where that is one.
func TestGather(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var all sync.WaitGroup
	for rank := range 3 {
		all.Go(func() {
			h, err := gather(dist.Launch{Rank: rank, Size: 3, Address: address}, dist.Secret{1}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			got, err := h.Exchange([]byte{byte(rank)})
			if err != nil || len(got) != 3 || got[2][0] != 2 {
				t.Errorf("rank %d: %v, %v", rank, got, err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// A backend without a stream is no GPU's.
func TestNoStream(t *testing.T) {
	b := cpu.New(1)
	defer b.Close()
	if _, err := openNCCL(Options{}, b); err == nil || !strings.Contains(err.Error(), "--backend cpu") {
		t.Errorf("%v", err)
	}
}
