package attn

import "mito/kernels/isa"

func decodeVariants() []isa.Impl[decodeFuncs] { return nil }
