//go:build !linux

package kerneltest

import "testing"

const (
	guardLen  = 256
	guardByte = 0xA5
)

// guardedBytes surrounds the elements by bytes that are checked when the test ends. Reads beyond them go unseen.
func guardedBytes(t testing.TB, n int, side Side, skip int) []byte {
	t.Helper()
	_ = side // both ends are exact
	b := make([]byte, guardLen+skip+n+guardLen)
	at := guardLen + skip
	for i := range b {
		if i < at || i >= at+n {
			b[i] = guardByte
		}
	}
	t.Cleanup(func() {
		for i, v := range b {
			if (i < at || i >= at+n) && v != guardByte {
				t.Errorf("kerneltest: byte %d beside an operand of %d bytes was overwritten", i-at, n)
				return
			}
		}
	})
	return b[at : at+n : at+n]
}
