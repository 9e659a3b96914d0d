package quant

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// Samples is a set of token sequences, kept as hashes: enough to say which data something has seen and whether two sets
// share any. The zero value is empty.
type Samples struct {
	set map[[sha256.Size]byte]struct{}
}

// Add adds one sequence.
func (s *Samples) Add(tokens []int32) {
	b := make([]byte, 0, 4*len(tokens))
	for _, t := range tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(t))
	}
	if s.set == nil {
		s.set = map[[sha256.Size]byte]struct{}{}
	}
	s.set[sha256.Sum256(b)] = struct{}{}
}

// Len returns the number of different sequences; nil has none.
func (s *Samples) Len() int {
	if s == nil {
		return 0
	}
	return len(s.set)
}

// Overlap returns the number of sequences that both sets hold.
func (s *Samples) Overlap(o *Samples) int {
	n := 0
	if s.Len() > 0 && o.Len() > 0 {
		for h := range s.set {
			if _, ok := o.set[h]; ok {
				n++
			}
		}
	}
	return n
}

// Hash returns a SHA-256 over the set, in hexadecimal, whatever the order of Add.
func (s *Samples) Hash() string {
	var all [][sha256.Size]byte
	if s != nil {
		for h := range s.set {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	sum := sha256.New()
	for _, h := range all {
		sum.Write(h[:])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Record says which data a calibration has seen, and refuses one that has seen what the result will be judged on. Errors:
// ErrMissing, ErrOverlap.
func (c *Calibration) Record(evaluation *Samples) (*CalibrationRecord, error) {
	if c.Samples.Len() == 0 {
		return nil, fmt.Errorf("quant: calibration without samples: %w", ErrMissing)
	}
	if n := c.Samples.Overlap(evaluation); n > 0 {
		return nil, fmt.Errorf("quant: %w: %d of %d samples", ErrOverlap, n, c.Samples.Len())
	}
	return &CalibrationRecord{Samples: c.Samples.Len(), Hash: c.Samples.Hash()}, nil
}
