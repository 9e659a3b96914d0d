//go:build cuda && cudaemu

package cudax_test

import _ "mito/backend/cuda/cudaemu" // takes the place of the driver
