// Package types names the parameter types of the micro-kernels for the generator, which cannot load kernels/gemm: that
// does not build before its stubs are generated.
package types

type (
	tile      struct{}
	blockTile struct{}
	gradTile  struct{}
)

var (
	_ tile
	_ blockTile
	_ gradTile
)
