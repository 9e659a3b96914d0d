//go:build (!amd64 && !arm64) || purego

package peak

import "mito/kernels/isa"

func variants() []isa.Impl[loops] { return nil }
