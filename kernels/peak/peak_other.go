//go:build !amd64 || purego

package peak

import "mito/kernels/isa"

func variants() []isa.Impl[loops] { return nil }
