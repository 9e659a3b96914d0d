package dist

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// How long ranks wait for each other.
const (
	joinTime  = 60 * time.Second // for all to begin
	beatEvery = time.Second
	// silence is how long a rank may say nothing before it counts as lost. A process that ends is noticed at once; this is for a
	// machine that does, or a network.
	silence = 8 * time.Second
	// mostFrame bounds what one rank may bring to an exchange.
	mostFrame = 1 << 28
)

// Kinds of frames.
const (
	frameHello = iota
	frameMine  // to an exchange
	frameAll   // of an exchange
	frameBeat
	frameBye  // the rank is done
	frameFail // the rank ended with an error, or another is lost
)

// Hub connects the ranks by TCP: each has one connection, to rank 0. It carries small exchanges, and notices when a rank ends.
type Hub struct {
	rank, size int
	peers      []*peer // rank 0 has all others, by rank; the others have rank 0 first
	lost       chan struct{}
	once       sync.Once
	cause      error
	onLost     func(error)
	ending     chan struct{} // this rank is done
	endOnce    sync.Once
}

// peer is a connection to another rank.
type peer struct {
	rank  int
	name  string // host and number of its process
	conn  net.Conn
	write sync.Mutex
	in    chan []byte // payloads of exchanges
	done  chan struct{}
}

// LostError says that a rank ended before the run did.
type LostError struct {
	Rank int
	Who  string // host and number of the process
	Why  string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("dist: rank %d (%s) %s; the others cannot go on without it. --resume goes on from the last checkpoint, with any number of ranks",
		e.Rank, e.Who, e.Why)
}

// Secret is what ranks of one run show each other.
type Secret [32]byte

func self() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

// Host waits at a listener, which it closes, until all ranks have joined, and is rank 0's hub. onLost is called once when a rank is
// lost; it may be nil.
func Host(l net.Listener, size int, secret Secret, onLost func(error)) (*Hub, error) {
	defer l.Close()
	h := newHub(0, size, onLost)
	h.peers = make([]*peer, size)
	deadline := time.Now().Add(joinTime)
	if t, ok := l.(*net.TCPListener); ok {
		t.SetDeadline(deadline)
	}
	if missing, err := h.gather(l, secret, deadline); err != nil {
		h.closePeers()
		return nil, fmt.Errorf("dist: %d of %d ranks have not joined after %v: %w", missing, size, joinTime, err)
	}
	for _, p := range h.peers[1:] {
		if err := p.send(frameHello, []byte(self())); err != nil {
			h.closePeers()
			return nil, fmt.Errorf("dist: rank %d: %w", p.rank, err)
		}
	}
	h.start()
	return h, nil
}

// gather accepts the other ranks, and says how many are missing where it cannot. Who connects and says nothing holds up nobody.
func (h *Hub) gather(l net.Listener, secret Secret, deadline time.Time) (missing int, err error) {
	joined, failed, done := make(chan *peer), make(chan error, 1), make(chan struct{})
	defer close(done)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				failed <- err
				return
			}
			go func() {
				p, err := greet(conn, h.size, secret, deadline)
				if err != nil { // somebody else's
					conn.Close()
					return
				}
				select {
				case joined <- p:
				case <-done:
					conn.Close()
				}
			}()
		}
	}()
	for missing = h.size - 1; missing > 0; {
		select {
		case p := <-joined:
			if h.peers[p.rank] != nil { // twice the same
				p.conn.Close()
				continue
			}
			h.peers[p.rank] = p
			missing--
		case err := <-failed:
			return missing, err
		}
	}
	return 0, nil
}

// greet reads what a rank says first.
func greet(conn net.Conn, size int, secret Secret, deadline time.Time) (*peer, error) {
	limit := time.Now().Add(5 * time.Second)
	if limit.After(deadline) {
		limit = deadline
	}
	conn.SetReadDeadline(limit)
	kind, b, err := readFrame(conn, 4096)
	if err != nil {
		return &peer{}, err
	}
	if kind != frameHello || len(b) < 36 || subtle.ConstantTimeCompare(b[:32], secret[:]) != 1 {
		return &peer{}, errors.New("not a rank of this run")
	}
	rank := int(binary.LittleEndian.Uint32(b[32:]))
	if rank < 1 || rank >= size {
		return &peer{}, fmt.Errorf("rank %d of %d", rank, size)
	}
	return newPeer(rank, string(b[36:]), conn), nil
}

// Dial joins rank 0, at one of some addresses.
func Dial(addresses []string, rank, size int, secret Secret, onLost func(error)) (*Hub, error) {
	deadline := time.Now().Add(joinTime)
	hello := append(secret[:], binary.LittleEndian.AppendUint32(nil, uint32(rank))...)
	hello = append(hello, self()...)
	var last error
	for time.Now().Before(deadline) {
		for _, a := range addresses {
			conn, err := net.DialTimeout("tcp", a, 3*time.Second)
			if err != nil {
				last = err
				continue
			}
			p := newPeer(0, "", conn)
			if last = p.send(frameHello, hello); last == nil {
				conn.SetReadDeadline(deadline)
				var kind byte
				var name []byte
				if kind, name, last = readFrame(conn, 4096); last == nil && kind == frameHello {
					p.name = string(name)
					h := newHub(rank, size, onLost)
					h.peers = []*peer{p}
					h.start()
					return h, nil
				}
			}
			conn.Close()
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil, fmt.Errorf("dist: rank %d cannot reach rank 0 at %v: %w", rank, addresses, last)
}

func newHub(rank, size int, onLost func(error)) *Hub {
	return &Hub{rank: rank, size: size, onLost: onLost, lost: make(chan struct{}), ending: make(chan struct{})}
}

func newPeer(rank int, name string, conn net.Conn) *peer {
	return &peer{rank: rank, name: name, conn: conn, in: make(chan []byte, 1), done: make(chan struct{})}
}

// Rank is this process's.
func (h *Hub) Rank() int { return h.rank }

// Size is the number of ranks.
func (h *Hub) Size() int { return h.size }

func (h *Hub) start() {
	for _, p := range h.all() {
		go h.read(p)
		go h.beat(p)
	}
}

func (h *Hub) all() []*peer {
	if h.rank == 0 {
		return h.peers[1:]
	}
	return h.peers
}

// beat says regularly that this process is there.
func (h *Hub) beat(p *peer) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if p.send(frameBeat, nil) != nil {
				return // the reader says why
			}
		case <-p.done:
			return
		}
	}
}

// read takes what a rank sends.
func (h *Hub) read(p *peer) {
	defer close(p.done)
	for {
		p.conn.SetReadDeadline(time.Now().Add(silence))
		kind, b, err := readFrame(p.conn, mostFrame)
		switch {
		case err != nil:
			why := "ended without a word"
			if errors.Is(err, os.ErrDeadlineExceeded) {
				why = fmt.Sprintf("has said nothing for %v", silence)
			}
			h.lose(&LostError{Rank: p.rank, Who: p.name, Why: why})
			return
		case kind == frameMine || kind == frameAll:
			select {
			case p.in <- b:
			case <-h.lost:
				return
			}
		case kind == frameBye:
			return
		case kind == frameFail:
			h.lose(remote(b))
			return
		}
	}
}

// remote is the error that a rank passes on.
func remote(b []byte) error {
	if len(b) < 8 {
		return errors.New("dist: another rank failed")
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if int(n) > len(b)-8 {
		return errors.New("dist: another rank failed")
	}
	return &LostError{Rank: int(binary.LittleEndian.Uint32(b)), Who: string(b[8 : 8+n]), Why: string(b[8+n:])}
}

func (e *LostError) frame() []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(e.Rank))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Who)))
	return append(append(b, e.Who...), e.Why...)
}

// lose ends the hub, and on rank 0 all the others'.
func (h *Hub) lose(err error) {
	select {
	case <-h.ending:
		return
	default:
	}
	h.once.Do(func() {
		h.cause = err
		lost := (*LostError)(nil)
		if h.rank == 0 && errors.As(err, &lost) {
			for _, p := range h.all() {
				if p.rank != lost.Rank {
					p.send(frameFail, lost.frame())
				}
			}
		}
		close(h.lost)
		if h.onLost != nil {
			h.onLost(err)
		}
	})
}

// Exchange gives every rank what each has brought, by rank.
func (h *Hub) Exchange(mine []byte) ([][]byte, error) {
	if h.rank != 0 {
		if err := h.peers[0].send(frameMine, mine); err != nil {
			return nil, h.failed(err)
		}
		b, err := h.receive(h.peers[0])
		if err != nil {
			return nil, err
		}
		return unpack(b, h.size)
	}
	all := [][]byte{mine}
	for _, p := range h.all() {
		b, err := h.receive(p)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	packed := pack(all)
	for _, p := range h.all() {
		if err := p.send(frameAll, packed); err != nil {
			return nil, h.failed(err)
		}
	}
	return all, nil
}

// failed prefers the reason for which the hub ended.
func (h *Hub) failed(err error) error {
	select {
	case <-h.lost:
		return h.cause
	case <-time.After(time.Second): // the reader is about to find out
		return fmt.Errorf("dist: %w", err)
	}
}

func (h *Hub) receive(p *peer) ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-h.lost:
		return nil, h.cause
	case <-p.done:
		select {
		case b := <-p.in:
			return b, nil
		case <-h.lost:
			return nil, h.cause
		default:
			return nil, &LostError{Rank: p.rank, Who: p.name, Why: "was done before the others"}
		}
	}
}

// Leave tells the others that this rank is done, or with err that it failed.
func (h *Hub) Leave(err error) {
	h.endOnce.Do(func() {
		close(h.ending)
		for _, p := range h.all() {
			if err == nil {
				p.send(frameBye, nil)
			} else {
				e := LostError{Rank: h.rank, Who: self(), Why: "failed: " + err.Error()}
				p.send(frameFail, e.frame())
			}
		}
	})
}

// Close waits until the others are done too, for a while, and closes the connections.
func (h *Hub) Close() error {
	h.Leave(nil)
	limit := time.After(silence)
	for _, p := range h.all() {
		select {
		case <-p.done:
		case <-limit:
		}
	}
	h.closePeers()
	return nil
}

func (h *Hub) closePeers() {
	for _, p := range h.peers {
		if p != nil {
			p.conn.Close()
		}
	}
}

func (p *peer) send(kind byte, b []byte) error {
	p.write.Lock()
	defer p.write.Unlock()
	p.conn.SetWriteDeadline(time.Now().Add(silence))
	frame := append(binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(b))), b...)
	_, err := p.conn.Write(frame)
	return err
}

func readFrame(r io.Reader, most uint32) (kind byte, b []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > most {
		return 0, nil, fmt.Errorf("a message of %d bytes", n)
	}
	b = make([]byte, n)
	_, err = io.ReadFull(r, b)
	return head[0], b, err
}

// pack joins what ranks brought to an exchange.
func pack(all [][]byte) (b []byte) {
	for _, x := range all {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(x))), x...)
	}
	return b
}

func unpack(b []byte, size int) ([][]byte, error) {
	var all [][]byte
	for len(all) < size {
		if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, errors.New("dist: an exchange was cut short")
		}
		n := binary.LittleEndian.Uint32(b)
		all, b = append(all, b[4:4+n]), b[4+n:]
	}
	return all, nil
}
