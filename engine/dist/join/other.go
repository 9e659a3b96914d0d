//go:build dist && darwin

package join

import (
	"errors"

	"mito/backend"
	"mito/engine/dist"
)

func openNCCL(Options, backend.Backend) (*dist.Ranks, error) {
	return nil, errors.New("there is no NCCL on macOS: give --backend cpu")
}
