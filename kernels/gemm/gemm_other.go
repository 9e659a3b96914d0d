//go:build amd64 || !amd64

package gemm

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] { return nil }
