//go:build cuda && cudaemu && linux && (amd64 || arm64)

package cuda

import _ "mito/backend/cuda/cudaemu" // takes the place of the driver
