package c99

import (
	"fmt"

	"mito/engine/student"
)

const (
	codeGroup = 32 // neighbours in a row that share an integer
	ternary   = 2  // bits that stand for codes of -1, 0 and 1
)

// Codes say how a matrix is stored in fewer than 8 bits: its weights are codes from -(2^(Bits-1)-1) to 2^(Bits-1)-1, times an integer
// for every 32 neighbours in a row.
type Codes struct {
	Bits      int     // 2 (ternary) to 7
	Multiples []uint8 // [rows, ⌈cols/32⌉]; 0 where all are zero
}

func (c Codes) groups(cols int) int { return (cols + codeGroup - 1) / codeGroup }

// groupBytes is the size of 32 codes: five ternary ones to a byte.
func (c Codes) groupBytes() int {
	if c.Bits == ternary {
		return 7
	}
	return 4 * c.Bits
}

// check refuses codes that do not make the weights.
func (c Codes) check(name string, m *student.Matrix) error {
	n := c.groups(m.Cols)
	if c.Bits < ternary || c.Bits > 7 || len(c.Multiples) != m.Rows*n {
		return fmt.Errorf("%s: %d integers for codes of %d bits, want %d for 2 to 7 bits", name, len(c.Multiples), c.Bits, m.Rows*n)
	}
	most := 1<<(c.Bits-1) - 1
	for i, q := range m.Q {
		k := int(c.Multiples[i/m.Cols*n+i%m.Cols/codeGroup])
		if k == 0 && q != 0 || k > 0 && (int(q)%k != 0 || max(int(q), -int(q)) > k*most) {
			return fmt.Errorf("%s: weight [%d,%d] is %d, which is no code of %d bits times %d", name, i/m.Cols, i%m.Cols, q, c.Bits, k)
		}
	}
	return nil
}

// pack writes the codes group by group, as unpack in student.c reads them: from the lowest bit of the first byte on; of 4 bits, codes
// 16 to 31 lie above codes 0 to 15; of three values, five lie in a byte.
func (c Codes) pack(m *student.Matrix) []int8 {
	out := make([]int8, len(c.Multiples)*c.groupBytes())
	n, most := c.groups(m.Cols), 1<<(c.Bits-1)-1
	for g, k := range c.Multiples {
		var codes [codeGroup]byte
		row, first := g/n, g%n*codeGroup
		for i := range codes {
			codes[i] = byte(most)
			if first+i < m.Cols && k > 0 {
				codes[i] = byte(int(m.Q[row*m.Cols+first+i])/int(k) + most)
			}
		}
		c.packGroup(out[g*c.groupBytes():][:c.groupBytes()], codes)
	}
	return out
}

func (c Codes) packGroup(to []int8, codes [codeGroup]byte) {
	for i := len(codes) - 1; i >= 0; i-- {
		code := codes[i]
		switch c.Bits {
		case ternary:
			to[i/5] = int8(uint8(to[i/5])*3 + code)
		case 4:
			to[i%16] |= int8(code << (i / 16 * 4))
		default:
			at := i * c.Bits
			wide := uint16(code) << (at % 8)
			to[at/8] |= int8(wide)
			if wide > 0xff {
				to[at/8+1] |= int8(wide >> 8)
			}
		}
	}
}
