package dist

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// What each rank brings reaches every rank, in the order of the ranks and of the exchanges.
func TestExchange(t *testing.T) {
	const size, rounds = 4, 200
	list := hubs(t, size, nil)
	if err := together(size, func(rank int) error {
		for round := range rounds {
			mine := []byte(strings.Repeat(fmt.Sprint(rank, round), rank*round))
			all, err := list[rank].Exchange(mine)
			if err != nil {
				return err
			}
			for from, b := range all {
				if want := strings.Repeat(fmt.Sprint(from, round), from*round); string(b) != want {
					return fmt.Errorf("round %d: %q from %d, want %q", round, b, from, want)
				}
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// A rank that is gone ends the others at once, whoever it was, and they say who it was.
func TestLostRank(t *testing.T) {
	for gone := range 3 {
		lost := make(chan error, 3)
		list := hubs(t, 3, func(_ int, err error) { lost <- err })
		began := time.Now()
		list[gone].closePeers()
		for range 2 {
			select {
			case err := <-lost:
				var e *LostError
				if !errors.As(err, &e) || e.Who == "" {
					t.Errorf("rank %d gone: %v", gone, err)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("rank %d gone: not noticed", gone)
			}
		}
		if spent := time.Since(began); spent > 5*time.Second {
			t.Errorf("noticed after %v", spent)
		}
		if _, err := list[(gone+1)%3].Exchange(nil); err == nil {
			t.Error("an exchange with a lost rank")
		}
	}
}

// A rank that fails tells the others why.
func TestFailedRank(t *testing.T) {
	lost := make(chan error, 3)
	list := hubs(t, 3, func(rank int, err error) { lost <- fmt.Errorf("on %d: %w", rank, err) })
	list[2].Leave(errors.New("the disk is full"))
	for range 2 {
		var e *LostError
		if err := <-lost; !errors.As(err, &e) || e.Rank != 2 || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("%v", err)
		}
	}
}

// Ranks that are done one after another lose nobody.
func TestLeave(t *testing.T) {
	list := hubs(t, 3, func(rank int, err error) { t.Errorf("rank %d: %v", rank, err) })
	for _, rank := range []int{1, 0, 2} {
		list[rank].Leave(nil)
		time.Sleep(20 * time.Millisecond)
	}
}

// Who does not know the secret of a run, or writes something else, is not let in, and does not hold up who does.
func TestStrangers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff\xff\xff", ""} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte(text))
		conn.Close()
	}
	wrong, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	for range 3 { // who says nothing
		silent, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	began := time.Now()
	newPeer(0, "", wrong).send(frameHello, append(make([]byte, 32), 1, 0, 0, 0))
	if err := together(2, func(rank int) error {
		var h *Hub
		var err error
		if rank == 0 {
			h, err = Host(l, 2, Secret{9}, nil)
		} else {
			h, err = Dial([]string{"127.0.0.1:1", address}, 1, 2, Secret{9}, nil)
		}
		if err != nil {
			return err
		}
		_, err = h.Exchange(nil)
		return errors.Join(err, h.Close())
	}); err != nil {
		t.Error(err)
	}
	if spent := time.Since(began); spent > 4*time.Second {
		t.Errorf("strangers held up the ranks for %v", spent)
	}
}

// Ranks with another corpus, seed or program are told apart before the first step, by name, and all of them learn it.
func TestSame(t *testing.T) {
	facts := func() []Fact {
		return []Fact{{"the program", "aa"}, {"the corpus", "bb"}, {"the seed", "1"}}
	}
	list := hubs(t, 3, nil)
	check := func(change func(rank int, f []Fact) []Fact) []error {
		errs := make([]error, 3)
		together(3, func(rank int) error {
			errs[rank] = Same(list[rank], change(rank, facts()))
			return nil
		})
		return errs
	}
	for _, err := range check(func(_ int, f []Fact) []Fact { return f }) {
		if err != nil {
			t.Error(err)
		}
	}
	for i, f := range facts() {
		for _, err := range check(func(rank int, f []Fact) []Fact {
			if rank == 2 {
				f[i].Value = "other"
			}
			return f
		}) {
			var e *DifferentError
			if !errors.As(err, &e) || e.Rank != 2 || len(e.Facts) != 1 || !strings.HasPrefix(e.Facts[0], f.Name+" is other") {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	}
	for _, err := range check(func(rank int, f []Fact) []Fact { return f[:3-rank%2] }) {
		var e *DifferentError
		if !errors.As(err, &e) || e.Rank != 1 || !strings.Contains(err.Error(), "the seed is nothing") {
			t.Errorf("a rank that lacks one: %v", err)
		}
	}
}

// Long texts are shown from where they differ.
func TestApart(t *testing.T) {
	long := strings.Repeat("é", 200)
	for _, c := range [][4]string{
		{"1", "2", "1", "2"},
		{long + "x and more", long + "y", "…" + long[:60] + "x and more", "…" + long[:60] + "y"},
		{long, long + "y", "…" + long[:60], "…" + long[:60] + "y"},
		{"x" + long, "y" + long, "x" + long, "y" + long},
		{long, "nothing", long, "nothing"},
	} {
		if a, b := apart(c[0], c[1]); a != c[2] || b != c[3] {
			t.Errorf("%q and %q are shown as %q and %q", c[0], c[1], a, b)
		}
	}
}

// What the loader says of a library that is there, and lacks one that it needs, is not that it is not there.
func TestNotFound(t *testing.T) {
	for text, want := range map[string]bool{
		"libnccl.so.2: cannot open shared object file: No such file or directory":                                                                     true,
		"libcudart.so.13: cannot open shared object file: No such file or directory":                                                                  false,
		"libnccl.so.2: invalid ELF header":                                                                                                            false,
		"dlopen(libnccl.so.2, 0x000A): tried: 'libnccl.so.2' (no such file), '/usr/lib/libnccl.so.2' (no such file)":                                  true,
		"dlopen(libnccl.so.2, 0x000A): Library not loaded: libx.dylib\n  Referenced from: libnccl.so.2\n  Reason: tried: 'libx.dylib' (no such file)": false,
	} {
		if got := NotFound(errors.New(text), "libnccl.so.2"); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// Whatever comes over the network is data.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{1, 4, 0, 0, 0, 1, 2, 3, 4}, 2)
	f.Add(pack([][]byte{{1}, nil, {2, 3}}), 3)
	f.Add((&LostError{Rank: 1, Who: "host", Why: "failed"}).frame(), 1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		readFrame(strings.NewReader(string(b)), 1<<16)
		if all, err := unpack(b, size%64); err == nil && size%64 > 0 && len(all) != size%64 {
			t.Errorf("%d parts, want %d", len(all), size%64)
		}
		if remote(b) == nil {
			t.Error("no error")
		}
	})
}
