//go:build cudaemu

package cuda

import "embed"

// Sources are the kernels as the emulator compiles them.
//
//go:embed *.cu *.cuh
var Sources embed.FS
