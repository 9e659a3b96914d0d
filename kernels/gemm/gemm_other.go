//go:build (!amd64 && !arm64) || purego

package gemm

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] { return nil }
