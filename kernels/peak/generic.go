package peak

import "unsafe"

const genericChains = 4

// The results land here so that the compiler cannot drop the loops.
var (
	sinkF32 float32
	sinkI32 int32
	sinkU64 uint64
)

func fmaGeneric(n int, x float32) {
	var a, b, c, d float32
	for range n {
		a += float32(x * x)
		b += float32(x * x)
		c += float32(x * x)
		d += float32(x * x)
		x = -x
	}
	sinkF32 = a + b + c + d
}

func macGeneric(n int) {
	var a, b, c, d int32
	x := [4]int8{1, 2, 3, int8(n)}
	for range n {
		a += int32(x[0]) * int32(x[1])
		b += int32(x[1]) * int32(x[2])
		c += int32(x[2]) * int32(x[3])
		d += int32(x[3]) * int32(x[0])
		x[0]++
	}
	sinkI32 = a + b + c + d
}

func readGeneric(p *byte, n int) {
	var a, b, c, d uint64
	for i := 0; i < n; i += 64 {
		w := (*[8]uint64)(unsafe.Add(unsafe.Pointer(p), i))
		a += w[0] + w[4]
		b += w[1] + w[5]
		c += w[2] + w[6]
		d += w[3] + w[7]
	}
	sinkU64 = a + b + c + d
}
