package data

import "slices"

// Soft holds, for each target of a batch, every token that is right there with its share: what one drawn answer
// after another amounts to in the mean, at once.
type Soft struct {
	K     int       // tokens listed for a target
	IDs   []int32   // [N,K], different within a row
	Probs []float32 // [N,K]; 0 for ids that only fill the row
}

// SoftSource is a source whose targets may have several right tokens.
type SoftSource interface {
	Source
	// Choices is the largest number of right tokens of a target; 0 where answers are longer than a token, so that
	// what is right depends on what was drawn.
	Choices() int
	// FillSoft lists the right tokens of every target of a step. It allocates nothing once s has the size.
	FillSoft(s *Soft, step int64) error
}

var _ SoftSource = (*Examples)(nil)

// Choices implements [SoftSource].
func (e *Examples) Choices() int { return e.set.choices }

// choices is what [SoftSource] says of Choices.
func choices(examples []tokenExample) (most int) {
	for i := range examples {
		for _, a := range examples[i].answers {
			if len(a) != 1 {
				return 0
			}
		}
		most = max(most, len(examples[i].answers))
	}
	return most
}

// FillSoft implements [SoftSource].
func (e *Examples) FillSoft(s *Soft, step int64) error {
	if err := e.checkStep(step); err != nil {
		return err
	}
	k := e.Choices()
	if k == 0 {
		return &ArgError{"soft targets", "the answers are longer than one token"}
	}
	n := e.rows * e.set.time * k
	if cap(s.IDs) < n {
		s.IDs, s.Probs = make([]int32, n), make([]float32, n)
	}
	s.K, s.IDs, s.Probs = k, s.IDs[:n], s.Probs[:n]
	clear(s.Probs)
	for i := range s.IDs {
		s.IDs[i] = int32(i % k)
	}
	for r := range e.rows {
		ex := e.example(step, r)
		at := (r*e.set.time + len(ex.prompt) - 1) * k
		ex.soft(s.IDs[at:][:k], s.Probs[at:][:k])
	}
	return nil
}

// soft puts the answers first and fills up with the smallest other ids.
func (t *tokenExample) soft(ids []int32, probs []float32) {
	for i, a := range t.answers {
		ids[i], probs[i] = a[0], t.weight()
	}
	used := ids[:len(t.answers)]
	fill := int32(0)
	for i := len(t.answers); i < len(ids); i++ {
		for slices.Contains(used, fill) {
			fill++
		}
		ids[i] = fill
		fill++
	}
}
