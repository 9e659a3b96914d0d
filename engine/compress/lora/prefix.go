package lora

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/bits"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/model"
)

// PrefixOptions say where a Prefix keeps rows.
type PrefixOptions struct {
	Budget int64  // bytes of rows at most; what does not fit is computed every time
	Path   string // of a file; "" keeps them in memory
	Base   string // hash of the base's weights, by which a file is known
}

// PrefixStats count rows.
type PrefixStats struct {
	Found    int64 `json:"found"`    // that were kept
	Computed int64 `json:"computed"` // that were not
	Bytes    int64 `json:"bytes"`    // that are kept
}

// Prefix keeps the residual stream before a layer, [T,C] for each row of a source, where everything below is frozen: a row that
// comes again is not computed again. What is kept has the bits of what would be computed, so no result depends on it.
type Prefix struct {
	m      *model.Model
	source data.Source
	layer  int
	size   int // values of a row, T·C

	step    int64
	batch   data.Batch
	store   store
	most    int                        // rows that the budget allows
	slots   map[rowKey]int             // of kept rows
	acts    map[int]*model.Activations // by rows, powers of two
	stream  []float32                  // of a micro-batch
	part    []float32                  // of what is computed at once
	missing []int
	stats   PrefixStats
}

// rowKey is a hash of the tokens of a row. Positions count from 0 in every row.
type rowKey [16]byte

// store holds rows by number.
type store interface {
	get(dst []float32, slot int) (bool, error)
	put(slot int, key rowKey, row []float32) error
	Close() error
}

// NewPrefix keeps what the layers before layer compute of the rows of source. Errors: those of the file at o.Path.
func NewPrefix(m *model.Model, source data.Source, layer int, o PrefixOptions) (*Prefix, error) {
	rows, time := source.Shape()
	p := &Prefix{
		m: m, source: source, layer: layer, size: time * m.Config.HiddenSize, step: -1, slots: map[rowKey]int{},
		acts: map[int]*model.Activations{},
	}
	p.stream, p.part = make([]float32, rows*p.size), make([]float32, rows*p.size)
	p.most = int(max(0, o.Budget) / int64(4*p.size))
	if o.Path == "" {
		p.store = &memory{size: p.size}
		return p, nil
	}
	var err error
	p.store, err = openDisk(o.Path, diskKey{Base: o.Base, Source: source.Hash(), Layer: layer, Time: time, Width: m.Config.HiddenSize}, p.slots)
	return p, err
}

// Layer is the layer before which the stream is kept.
func (p *Prefix) Layer() int { return p.layer }

// Stats says how often rows were found.
func (p *Prefix) Stats() PrefixStats {
	s := p.stats
	s.Bytes = int64(len(p.slots)) * int64(4*p.size)
	return s
}

// Close frees the memory and closes the file.
func (p *Prefix) Close() error {
	err := p.store.Close()
	for _, a := range p.acts {
		err = errors.Join(err, a.Close())
	}
	return err
}

// Fill sets a.Hidden(Layer()) to the stream of rows of a step's batch, from row on. Errors: those of the source, the backend and
// the file.
func (p *Prefix) Fill(a *model.Activations, step int64, row, rows int) error {
	if p.step != step {
		if err := p.source.Fill(&p.batch, step); err != nil {
			return err
		}
		p.step = step
	}
	p.missing = p.missing[:0]
	for i := range rows {
		slot, ok := p.slots[p.key(row+i)]
		if ok {
			var err error
			if ok, err = p.store.get(p.stream[i*p.size:][:p.size], slot); err != nil {
				return err
			}
		}
		if !ok {
			p.missing = append(p.missing, i)
		}
	}
	p.stats.Found += int64(rows - len(p.missing))
	p.stats.Computed += int64(len(p.missing))
	for todo := p.missing; len(todo) > 0; {
		n := 1 << (bits.Len(uint(len(todo))) - 1)
		if err := p.compute(row, todo[:n]); err != nil {
			return err
		}
		todo = todo[n:]
	}
	return p.m.Backend().Upload(a.Hidden(p.layer), p.stream[:rows*p.size])
}

func (p *Prefix) key(row int) (k rowKey) {
	t := p.batch.Time
	buf := make([]byte, 0, 4*t)
	for _, id := range p.batch.Inputs[row*t:][:t] {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(id))
	}
	sum := sha256.Sum256(buf)
	copy(k[:], sum[:])
	return k
}

// compute runs the layers below on rows of the batch, counted from row on.
func (p *Prefix) compute(row int, which []int) error {
	b, t, n := p.m.Backend(), p.batch.Time, len(which)
	a := p.acts[n]
	if a == nil {
		var err error
		if a, err = p.m.NewActivations(n, t, false); err != nil {
			return err
		}
		p.acts[n] = a
	}
	inputs, positions := make([]int32, 0, n*t), make([]int32, 0, n*t)
	for _, i := range which {
		at := (row + i) * t
		inputs, positions = append(inputs, p.batch.Inputs[at:][:t]...), append(positions, p.batch.Positions[at:][:t]...)
	}
	part := p.part[:n*p.size]
	if err := backend.First(
		b.Upload(a.Inputs, inputs), b.Upload(a.Positions, positions), p.m.ForwardTo(a, p.layer), b.Download(part, a.Hidden(p.layer)),
	); err != nil {
		return err
	}
	for j, i := range which {
		stream := part[j*p.size:][:p.size]
		copy(p.stream[i*p.size:], stream)
		k := p.key(row + i)
		slot, again := p.slots[k]
		if !again {
			slot = len(p.slots)
		}
		if slot >= p.most {
			continue
		}
		if err := p.store.put(slot, k, stream); err != nil {
			return err
		}
		p.slots[k] = slot
	}
	return nil
}

// memory keeps rows in blocks, so that growing moves nothing.
type memory struct {
	size   int
	blocks [][]float32
}

const blockRows = 64

func (m *memory) get(dst []float32, slot int) (bool, error) {
	copy(dst, m.blocks[slot/blockRows][slot%blockRows*m.size:][:m.size])
	return true, nil
}

func (m *memory) put(slot int, _ rowKey, row []float32) error {
	for slot/blockRows >= len(m.blocks) {
		m.blocks = append(m.blocks, make([]float32, blockRows*m.size))
	}
	copy(m.blocks[slot/blockRows][slot%blockRows*m.size:], row)
	return nil
}

func (m *memory) Close() error { return nil }
