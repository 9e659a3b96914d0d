package train

import (
	"gorgonia.org/tensor"

	"mito/engine/model"
)

// share is what one rank updates of the matrices: those from first on, below end, which lie side by side in the flat tensors.
type share struct {
	first, end     int
	offset, length int
}

// share divides Muon's matrices among the ranks, so that each orthogonalises about as much: an m×n matrix costs m·n·min(m,n). Every
// rank has the whole gradient, so that a matrix comes out the same whoever updates it.
func (p *optimizer) share(list []*model.Param) {
	total := 0
	cost := func(q *model.Param) int { return q.Size() * min(q.Shape[0], q.Shape[1]) }
	for _, q := range list {
		total += cost(q)
	}
	p.shares = make([]share, p.ranks.Size())
	at, spent := 0, 0
	for rank := range p.shares {
		s := &p.shares[rank]
		s.first = at
		// A matrix belongs to the rank in whose part of the whole cost its middle lies.
		for at < len(list) && (rank == len(p.shares)-1 || (2*spent+cost(list[at]))*len(p.shares) <= 2*total*(rank+1)) {
			spent += cost(list[at])
			at++
		}
		if s.end = at; s.end > s.first {
			last := list[s.end-1]
			s.offset = list[s.first].Offset()
			s.length = last.Offset() + last.Size() - s.offset
		}
	}
}

// exchange brings every rank what the others have in a flat tensor of the matrices that they update.
func (p *optimizer) exchange(flat *tensor.Dense) error {
	for rank, s := range p.shares {
		if s.length == 0 {
			continue
		}
		part, err := p.b.View(flat, s.offset, s.length)
		if err != nil {
			return err
		}
		if err := p.ranks.Broadcast(part, rank); err != nil {
			return err
		}
	}
	return nil
}
