package asm

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// Constants holds the read-only vectors of a generator by their bits, each repeated through the widest register.
type Constants struct {
	prefix string
	made   map[uint32]Mem
}

// NewConstants returns no constants yet. The prefix begins their names, which must differ from package to package.
func NewConstants(prefix string) *Constants { return &Constants{prefix, map[uint32]Mem{}} }

// Bits returns the vector of a 32-bit pattern.
func (c *Constants) Bits(b uint32) Mem {
	if m, ok := c.made[b]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("%s%08x", c.prefix, b), attr.RODATA|attr.NOPTR)
	for i := range 16 {
		DATA(4*i, U32(b))
	}
	c.made[b] = m
	return m
}

// F32 returns the vector of a number.
func (c *Constants) F32(x float32) Mem { return c.Bits(math.Float32bits(x)) }
