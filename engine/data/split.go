package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"unicode/utf8"
)

// Part is a stretch of a text, with what is needed to prove later which one it was.
type Part struct {
	Name   string
	Text   string
	Start  int    // in bytes of the source
	End    int    // exclusive
	Source string // SHA-256 of the whole source, in hexadecimal
	Hash   string // SHA-256 of Text, in hexadecimal
}

// NewPart makes a whole text into a part.
func NewPart(name, text string) Part {
	h := hashText(text)
	return Part{Name: name, Text: text, End: len(text), Source: h, Hash: h}
}

func hashText(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Split cuts the last heldOut of text's bytes off, at the character that begins
// at or before that place: the first ⌊len·(1−heldOut)⌋ bytes are for training.
// It is by position, not random, so that no held-out passage has its
// neighbours in the training part. It fails with *ArgError unless
// 0 < heldOut < 1, and with *TooShortError if a part would be empty.
func Split(text string, heldOut float64) (train, val Part, err error) {
	if !(heldOut > 0 && heldOut < 1) {
		return train, val, &ArgError{"held-out fraction", fmt.Sprintf("%v is not between 0 and 1", heldOut)}
	}
	cut := int(float64(len(text)) * (1 - heldOut))
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	if cut == 0 || cut == len(text) {
		return train, val, &TooShortError{What: fmt.Sprintf("text, split with %v held out,", heldOut), Unit: "bytes", Have: len(text),
			Need: len(text) + 1}
	}
	train, val = NewPart("training part", text[:cut]), NewPart("held-out part", text[cut:])
	source := hashText(text)
	train.Source, val.Source = source, source
	val.Start, val.End = cut, len(text)
	return train, val, nil
}

// Passages that two texts share count as overlap from sharedRun bytes on, and
// texts of different sources count as overlapping when more than maxShared of
// the second is made of such passages. The allowance is for licence headers and
// quotations.
const (
	sharedRun = 128
	maxShared = 0.05
)

// CheckDisjoint refuses, with *OverlapError, to call test a test of what was
// learned, calibrated or selected on train: when the two take the same bytes of
// one source, when they are the same text, or when they come from different
// sources and more than 5% of test consists of passages of 128 bytes or more
// that train has too. Two separate stretches of one source are disjoint even
// where the author repeats himself; [Repeated] measures that.
func CheckDisjoint(train, test Part) error {
	for _, p := range []*Part{&train, &test} {
		if p.Source == "" || p.Hash == "" { // made by hand: only its text is known
			*p = NewPart(p.Name, p.Text)
		}
	}
	over := &OverlapError{A: train.Name, B: test.Name, Of: len(test.Text), Unit: "bytes"}
	if train.Source == test.Source {
		from, to := max(train.Start, test.Start), min(train.End, test.End)
		if from >= to {
			return nil
		}
		over.Shared, over.Sample = to-from, sampleOf(test.Text[from-test.Start:])
		return over
	}
	if train.Hash == test.Hash && test.Text != "" {
		over.Shared, over.Sample = len(test.Text), sampleOf(test.Text)
		return over
	}
	shared, at := repeated(train.Text, test.Text)
	if float64(shared) > maxShared*float64(len(test.Text)) {
		over.Shared, over.Sample = shared, sampleOf(test.Text[at:])
		return over
	}
	return nil
}

// Repeated is the number of bytes of b that lie in passages of 128 bytes or
// more which also occur in a. A held-out loss is flattered by that share.
func Repeated(a, b string) int {
	n, _ := repeated(a, b)
	return n
}

// Rolling hash of window bytes: h = Σ s[i]·hashBase^(window-1-i) mod 2^64. The
// windows of a are taken every window bytes: a shared run of 2·window-1 bytes
// holds one of them whole, so window is half of sharedRun. Of windows that
// recur in a, such as a ruled line, maxTries are tried at each place, which
// bounds the work; a run made of nothing else may be missed.
const (
	window   = sharedRun / 2
	hashBase = 0x9E3779B97F4A7C15
	maxTries = 16
)

// windows finds those of a text by their hash. The k-th window with a hash is
// followed by next of it, -1 at the end.
type windows struct {
	first map[uint64]int32
	next  []int32
}

func windowsOf(a string) windows {
	n := len(a) / window
	w := windows{make(map[uint64]int32, n), make([]int32, n)}
	for k := n - 1; k >= 0; k-- { // backwards: the chains ascend
		var h uint64
		for _, c := range []byte(a[k*window:][:window]) {
			h = h*hashBase + uint64(c)
		}
		w.next[k] = -1
		if after, ok := w.first[h]; ok {
			w.next[k] = after
		}
		w.first[h] = int32(k)
	}
	return w
}

// repeated also returns where in b the longest such passage begins.
func repeated(a, b string) (total, at int) {
	if len(a) < window || len(b) < window {
		return 0, 0
	}
	known := windowsOf(a)
	drop := uint64(1) // hashBase^window
	for range window {
		drop *= hashBase
	}
	longest, counted := 0, 0 // b[:counted] is settled
	var h uint64
	for end := 1; end <= len(b); end++ {
		h = h*hashBase + uint64(b[end-1])
		if end > window {
			h -= drop * uint64(b[end-1-window])
		}
		if end-window < counted {
			continue
		}
		k, ok := known.first[h]
		if !ok {
			continue
		}
		lo, hi := 0, 0
		for try := 0; k >= 0 && try < maxTries; try++ {
			if l, r := extend(a, b, int(k)*window, end-window, counted); r-l > hi-lo {
				lo, hi = l, r
			}
			k = known.next[k]
		}
		if hi-lo < sharedRun {
			continue
		}
		if hi-lo > longest {
			longest, at = hi-lo, lo
		}
		total += hi - lo
		counted = hi
	}
	return total, at
}

// extend grows the window that a has at i and b at j, as far as they agree but
// not below from in b. It returns the passage of b, empty if the windows differ.
func extend(a, b string, i, j, from int) (lo, hi int) {
	if a[i:i+window] != b[j:j+window] {
		return 0, 0
	}
	lo, hi = j, j+window
	for k := i + window; hi < len(b) && k < len(a) && b[hi] == a[k]; hi, k = hi+1, k+1 {
	}
	for k := i; lo > from && k > 0 && b[lo-1] == a[k-1]; lo, k = lo-1, k-1 {
	}
	return lo, hi
}

func sampleOf(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// CheckExamples refuses, with *OverlapError, a test set that has a prompt of
// the training set.
func CheckExamples(train, test []Example) error {
	known := make(map[string]bool, len(train))
	for _, e := range train {
		known[e.Prompt] = true
	}
	over := &OverlapError{A: "training examples", B: "test examples", Of: len(test), Unit: "prompts"}
	for _, e := range test {
		if known[e.Prompt] {
			if over.Shared == 0 {
				over.Sample = sampleOf(e.Prompt)
			}
			over.Shared++
		}
	}
	if over.Shared > 0 {
		return over
	}
	return nil
}
