package cuda

import (
	"fmt"
	"math/bits"

	"mito/backend"
	"mito/backend/cuda/cudax"
	kernels "mito/kernels/cuda"
)

// Paper is a card that is not there: it notes what a backend sends to it, and nothing is computed. Uploads go nowhere and
// downloads give zeros. What a backend sends depends on shapes alone, so the notes are those that the card would get.
type Paper struct {
	Card
	notes     []Note
	drawn     *drawn // the recording under way, or nil
	next      cudax.Address
	allocated map[cudax.Address]int64
	used      int64
}

// Note is one thing that a card has to do: a launch of a kernel, or a copy or clearing of memory.
type Note struct {
	Op     string         // of the seam
	Kernel kernels.Kernel // KernelCount for a copy or a clearing
	Grid   cudax.Dim
	Block  cudax.Dim
	Args   cudax.Args
	Moved  int64 // bytes that a copy or a clearing reads and writes
	Replay bool  // it came from a recording: the host sent one call for all of that
	First  bool  // of its recording

	plan *backend.MuonPlan // of a launch on many matrices
}

// Launches tells whether a kernel is launched.
func (n *Note) Launches() bool { return n.Kernel != kernels.KernelCount }

// Name is the kernel's, or copy.
func (n *Note) Name() string {
	if n.Launches() {
		return n.Kernel.String()
	}
	return "copy"
}

// drawn is a recording on paper.
type drawn struct{ notes []Note }

func (d *drawn) Nodes() int   { return len(d.notes) }
func (*drawn) Destroy() error { return nil }

// paperBase is where addresses begin: where no Go memory lies.
const paperBase = 1 << 46

// OpenPaper opens a backend on paper. The error wraps backend.ErrUnsupported where addresses have 32 bits.
func OpenPaper(c Card, o backend.Options) (*Backend, *Paper, error) {
	if bits.UintSize < 64 {
		return nil, nil, fmt.Errorf("cuda: a card on paper needs addresses of 64 bits: %w", backend.ErrUnsupported)
	}
	p := &Paper{Card: c, next: paperBase, allocated: map[cudax.Address]int64{}}
	b, err := start(p, o)
	return b, p, err
}

// Take returns what was noted since the last call. The backend must have nothing under way: call it after Synchronize.
func (p *Paper) Take() []Note {
	notes := p.notes
	p.notes = nil
	return notes
}

func (p *Paper) note(n Note) error {
	if p.drawn != nil {
		p.drawn.notes = append(p.drawn.notes, n)
		return nil
	}
	p.notes = append(p.notes, n)
	return nil
}

func (p *Paper) moved(op string, bytes int64) error {
	return p.note(Note{Op: op, Kernel: kernels.KernelCount, Moved: bytes})
}

func (p *Paper) open(int) (card, error) {
	c := card{name: p.Name, major: p.Major, minor: p.Minor, processors: p.Processors, maxShared: p.MaxShared, memory: p.Memory}
	var err error
	c.workspace, err = p.allocate(workspaceBytes(p.Memory))
	return c, err
}

func (p *Paper) close() error { return nil }

func (p *Paper) room() (free, total int64, err error) { return p.Memory - p.used, p.Memory, nil }

func (p *Paper) allocate(bytes int64) (cudax.Address, error) {
	bytes = backend.Align(bytes)
	if bytes > p.Memory-p.used {
		return 0, errOutOfMemory
	}
	at := p.next
	p.next += cudax.Address(bytes)
	p.allocated[at] = bytes
	p.used += bytes
	return at, nil
}

func (p *Paper) release(at cudax.Address) error {
	p.used -= p.allocated[at]
	delete(p.allocated, at)
	return nil
}

func (p *Paper) upload(_ cudax.Address, src []byte) error { return p.moved("Upload", int64(len(src))) }

func (p *Paper) download(dst []byte, _ cudax.Address) error {
	clear(dst)
	return p.moved("Download", int64(len(dst)))
}

func (p *Paper) copy(_, _ cudax.Address, bytes int64) error { return p.moved("Copy", 2*bytes) }

func (p *Paper) zero(_ cudax.Address, bytes int64) error { return p.moved("Zero", bytes) }

func (p *Paper) synchronize() error { return nil }

func (p *Paper) launch(t *task) error {
	if want := len(kernels.Table[t.kernel].Params); t.args.Len() != want {
		return fmt.Errorf("kernel %s: %d arguments, want %d: %w", t.kernel, t.args.Len(), want, backend.ErrArgument)
	}
	return p.note(Note{Op: t.op, Kernel: t.kernel, Grid: t.grid, Block: t.block, Args: t.args, plan: t.plan})
}

func (p *Paper) loadAll() error { return nil }

func (p *Paper) begin() error {
	p.drawn = &drawn{}
	return nil
}

func (p *Paper) end() (recording, error) {
	d := p.drawn
	p.drawn = nil
	return d, nil
}

func (p *Paper) replay(r recording) error {
	for i, n := range r.(*drawn).notes {
		n.Replay, n.First = true, i == 0
		p.notes = append(p.notes, n)
	}
	return nil
}
