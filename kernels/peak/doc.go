// Package peak measures what one core of this processor can do, so that a benchmark can print its rate beside the
// limit that was measured in the same run: fused multiply-adds in registers, INT8 multiply-adds in registers, and
// reading a buffer once.
//
// Every function takes the best of several short trials, a few milliseconds together: the machine may be shared, and
// the best is what it can do.
package peak

//go:generate go run -C ../_asm ./peak -out ../peak/peak_amd64.s -stubs ../peak/stubs_amd64.go -pkg peak
