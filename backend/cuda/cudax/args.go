package cudax

import "math"

// Address is an address in a device's memory, as cu.DevicePtr is.
type Address uint64

// MaxArgs is the largest number of parameters that Args holds.
const MaxArgs = 32

// Args packs the parameters of a kernel as words of 8 bytes; the driver reads as many of the low bytes as the
// parameter has. More than MaxArgs parameters make Launch fail.
type Args struct {
	n     int
	words [MaxArgs]uint64
}

func (a *Args) push(w uint64) *Args {
	if a.n < MaxArgs {
		a.words[a.n] = w
	}
	a.n++
	return a
}

// Reset empties a.
func (a *Args) Reset() *Args { a.n = 0; return a }

// Len is the number of parameters.
func (a *Args) Len() int { return a.n }

// Ptr adds a device address.
func (a *Args) Ptr(p Address) *Args { return a.push(uint64(p)) }

// I32 adds an int.
func (a *Args) I32(v int) *Args { return a.push(uint64(uint32(int32(v)))) }

// I64 adds a long long.
func (a *Args) I64(v int64) *Args { return a.push(uint64(v)) }

// U64 adds an unsigned long long.
func (a *Args) U64(v uint64) *Args { return a.push(v) }

// F32 adds a float.
func (a *Args) F32(v float32) *Args { return a.push(uint64(math.Float32bits(v))) }

// Dim is the extent of a grid (in blocks) or of a block (in threads).
type Dim struct{ X, Y, Z int }

// Word is parameter i as it was packed, 0 where there is none.
func (a *Args) Word(i int) uint64 {
	if i < 0 || i >= min(a.n, MaxArgs) {
		return 0
	}
	return a.words[i]
}
