//go:build purego || !amd64

package sparse

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] { return nil }
