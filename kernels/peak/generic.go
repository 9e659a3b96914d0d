package peak

import (
	"runtime"
	"unsafe"
)

const genericChains = 4

// KeepAlive keeps the compiler from dropping the loops.

func fmaGeneric(n int, x float32) {
	var a, b, c, d float32
	for range n {
		a += float32(x * x)
		b += float32(x * x)
		c += float32(x * x)
		d += float32(x * x)
		x = -x
	}
	runtime.KeepAlive(a + b + c + d)
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
	runtime.KeepAlive(a + b + c + d)
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
	runtime.KeepAlive(a + b + c + d)
}
