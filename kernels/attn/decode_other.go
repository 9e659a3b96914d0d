//go:build purego || !(amd64 || arm64)

package attn

import "mito/kernels/isa"

func decodeVariants() []isa.Impl[decodeFuncs] { return nil }
