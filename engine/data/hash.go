package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// sourceHash hashes what a source yields.
type sourceHash struct {
	buf []byte
	h   hash.Hash
}

func hashSource(kind string, words ...uint64) *sourceHash {
	s := &sourceHash{h: sha256.New()}
	s.buf = append(s.buf, kind...)
	for _, w := range words {
		s.buf = binary.LittleEndian.AppendUint64(s.buf, w)
	}
	return s
}

func (s *sourceHash) word(w uint64) { s.buf = binary.LittleEndian.AppendUint64(s.buf, w) }

// tokens enters a list with its length, so that lists cannot run together.
func (s *sourceHash) tokens(ids []int32) {
	s.word(uint64(len(ids)))
	for _, id := range ids {
		s.buf = binary.LittleEndian.AppendUint32(s.buf, uint32(id))
		if len(s.buf) >= 1<<15 {
			s.flush()
		}
	}
	s.flush()
}

// A hash never fails to write.
func (s *sourceHash) flush() {
	_, _ = s.h.Write(s.buf)
	s.buf = s.buf[:0]
}

func (s *sourceHash) sum() string {
	s.flush()
	return hex.EncodeToString(s.h.Sum(nil))
}
