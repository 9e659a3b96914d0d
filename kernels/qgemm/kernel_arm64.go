//go:build !purego

package qgemm

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] { return nil }
