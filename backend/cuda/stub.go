//go:build !cuda || !linux || !(amd64 || arm64)

package cuda

import (
	"fmt"

	"mito/backend"
)

func init() {
	backend.Register("cuda", func(backend.Options) (backend.Backend, error) {
		return nil, fmt.Errorf("%w: build with -tags cuda on linux", backend.ErrNotBuilt)
	})
}
