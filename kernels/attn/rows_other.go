//go:build !amd64 || purego

package attn

import "mito/kernels/isa"

func rowVariants() []isa.Impl[rowFuncs] { return nil }
