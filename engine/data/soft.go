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
	// Choices is the largest number of right tokens of a target; 0 where the answers of an example differ before their
	// last token, so that what is right depends on what was drawn.
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
		if !examples[i].lastOnly() {
			return 0
		}
		most = max(most, len(examples[i].answers))
	}
	return most
}

// lastOnly says whether the answers differ in their last token only, so that all of them can be taught at once.
func (t *tokenExample) lastOnly() bool {
	first := t.answers[0]
	n := len(first) - 1
	for _, a := range t.answers[1:] {
		if len(a) != len(first) || !slices.Equal(a[:n], first[:n]) {
			return false
		}
	}
	return true
}

// FillSoft implements [SoftSource].
func (e *Examples) FillSoft(s *Soft, step int64) error {
	if err := e.checkStep(step); err != nil {
		return err
	}
	k := e.Choices()
	if k == 0 {
		return &ArgError{"soft targets", "the answers of an example differ before their last token"}
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
		for _, i := range e.row(step, r) {
			ex := &e.set.examples[i]
			at := (r*e.set.time + len(ex.prompt) - 1) * k
			for j := range ex.answers[0] {
				ex.soft(j, s.IDs[at+j*k:][:k], s.Probs[at+j*k:][:k])
			}
		}
	}
	return nil
}

// soft puts the right tokens at a place of the answer first and fills up with the smallest other ids.
func (t *tokenExample) soft(place int, ids []int32, probs []float32) {
	n := 1
	if ids[0], probs[0] = t.answers[0][place], 1; place == len(t.answers[0])-1 {
		n = len(t.answers)
		for i, a := range t.answers {
			ids[i], probs[i] = a[place], t.weight()
		}
	}
	fill := int32(0)
	for i := n; i < len(ids); i++ {
		for slices.Contains(ids[:n], fill) {
			fill++
		}
		ids[i] = fill
		fill++
	}
}
