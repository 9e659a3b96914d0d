//go:build purego || !amd64

package edge

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] { return nil }
