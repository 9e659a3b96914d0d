package data

import "math/bits"

// The draws below are part of what a seed means: a run resumed by a later
// version must draw the same batches, so a test pins their values.

// Mix hashes words to 64 bits, each word through SplitMix64's finaliser
// (Steele, Lea and Flood, OOPSLA 2014): a bijection of the last word whose
// outputs look independent of the words. Whatever a step draws is Mix of the
// seed and the step, so that it needs no state.
func Mix(words ...uint64) uint64 {
	h := uint64(0)
	for _, w := range words {
		h = (h ^ w) + 0x9E3779B97F4A7C15
		h = (h ^ h>>30) * 0xBF58476D1CE4E5B9
		h = (h ^ h>>27) * 0x94D049BB133111EB
		h ^= h >> 31
	}
	return h
}

// below maps a hash to [0, n), n > 0, with a bias under n/2^64.
func below(h uint64, n int) int {
	hi, _ := bits.Mul64(h, uint64(n))
	return int(hi)
}

// feistelRounds is twice what makes a Feistel network of random functions a
// strong pseudo-random permutation (Luby and Rackoff, 1988): the halves are
// only a few bits wide here.
const feistelRounds = 8

// permute maps i in [0, n) to its place in the permutation of [0, n) that key
// names, without a table: a Feistel network over the next power of four,
// repeated until the value is below n again.
func permute(i, n int, key uint64) int {
	half := uint(bits.Len64(uint64(n-1))+1) / 2
	if half == 0 {
		return 0
	}
	mask := uint64(1)<<half - 1
	v := uint64(i)
	for {
		l, r := v>>half, v&mask
		for round := range uint64(feistelRounds) {
			l, r = r, l^Mix(key, round, r)&mask
		}
		if v = l<<half | r; v < uint64(n) {
			return int(v)
		}
	}
}

// What a draw is for, so that no two kinds share their numbers.
const (
	drawCrop uint64 = iota + 1
	drawEpoch
	drawAnswer
)
