//go:build purego || !(amd64 || arm64)

package kv

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] { return nil }
