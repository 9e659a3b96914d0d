package report

import "slices"

// The candidates whose numbers scripts find at the top of a report too.
const (
	TeacherName    = "teacher"
	StudentName    = "student"
	CompressedName = "compressed"
)

// Candidate is one model that a pipeline made and measured. All losses of a report come from the runtime that decodes.
type Candidate struct {
	Name string `json:"name"`
	Model
	ActiveBytes int64  `json:"active_bytes"` // of the weights that one token reads
	Scheme      string `json:"scheme"`       // of the weights, such as "float32" or "int8"
	Bits        Number `json:"bits"`         // of a weight of the matrices
	Sparsity    Number `json:"sparsity"`     // share of zero weights by construction, 0 to 1
	Speed       Number `json:"tok_s"`        // decoding one sequence
	Disturbed   bool   `json:"disturbed"`    // other programs used the processors while the speed was measured
	Digest      string `json:"digest"`       // SHA-256 of its logits over the stated stream; "" where it has none
	Parent      string `json:"parent"`       // the candidate that it was made from or taught by; "" for none

	Variants []string `json:"variants,omitempty"` // that the digest was the same in
}

// SetCandidates makes list the candidates of the report: their Pareto front, and teacher, student, compressed and speed as
// far as the list has them; a teacher that it lacks has null for numbers.
func (r *Report) SetCandidates(list []Candidate) {
	r.Candidates, r.Front = list, Front(list)
	r.Teacher, r.Speed.Teacher = Model{LossNats: NotMeasured, BitsPerByte: NotMeasured}, NotMeasured
	for i := range list {
		switch c := &list[i]; c.Name {
		case TeacherName:
			r.Teacher, r.Speed.Teacher = c.Model, c.Speed
		case StudentName:
			r.Student, r.Speed.Student = c.Model, c.Speed
		case CompressedName:
			r.Compressed = Compressed{Model: c.Model, Scheme: c.Scheme, Sparsity: c.Sparsity, Digest: c.Digest, Variants: c.Variants}
			r.Speed.Compressed = c.Speed
		}
	}
}

// Front names the candidates that no other is better than: none has at most their loss and bytes and at least their
// speed, and is better in one of them. A candidate that lacks one of the three is neither named nor compared with.
func Front(list []Candidate) []string {
	comparable := func(c *Candidate) bool { return c.LossNats.Measured() && c.Speed.Measured() && c.Bytes > 0 }
	names := []string{}
	for i := range list {
		c := &list[i]
		if comparable(c) && !slices.ContainsFunc(list, func(o Candidate) bool { return comparable(&o) && o.dominates(c) }) {
			names = append(names, c.Name)
		}
	}
	return names
}

func (c *Candidate) dominates(o *Candidate) bool {
	mine, other := c.LossNats, o.LossNats
	if c.BitsPerByte.Measured() && o.BitsPerByte.Measured() { // models with other tokens too
		mine, other = c.BitsPerByte, o.BitsPerByte
	}
	return mine <= other && c.Bytes <= o.Bytes && c.Speed >= o.Speed && (mine < other || c.Bytes < o.Bytes || c.Speed > o.Speed)
}

func (r *Report) disturbed() bool {
	return slices.ContainsFunc(r.Candidates, func(c Candidate) bool { return c.Disturbed })
}
