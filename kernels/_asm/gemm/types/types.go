// Package types names the parameter type of the micro-kernels for the generator, which cannot load kernels/gemm: that
// does not build before its stubs are generated.
package types

type tile struct{}

var _ tile
