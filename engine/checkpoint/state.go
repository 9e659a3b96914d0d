package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// State is what a run needs, beside its weights, to continue as if it had never stopped: optimiser moments and averaged
// weights as tensors, and step, seeds, best loss and the like as scalars.
type State struct {
	Scalars any // state.json; a struct or json.RawMessage
	Tensors []Tensor
}

// SavedState is a State as read back.
type SavedState struct {
	Scalars json.RawMessage
	Tensors *File
}

const stateVersion = 1

// stateFile ties the files of one checkpoint together by their hashes: optimiser moments of another step beside these
// weights would train on without a complaint.
type stateFile struct {
	Version int             `json:"version"`
	Weights string          `json:"weights_sha256"`
	Tensors string          `json:"tensors_sha256"`
	Scalars json.RawMessage `json:"scalars"`
}

func writeState(dir string, s *State, weights string) error {
	for i := range s.Tensors {
		if err := s.Tensors[i].CheckFinite(); err != nil {
			return err
		}
	}
	hash, err := writeHashed(filepath.Join(dir, StateTensorsName), s.Tensors)
	if err != nil {
		return err
	}
	scalars, err := encodeJSON(s.Scalars)
	if err != nil {
		return fmt.Errorf("%s: %w", StateName, err)
	}
	return WriteJSON(filepath.Join(dir, StateName), &stateFile{stateVersion, weights, hash, scalars})
}

// State reads the training state of the folder. Errors: fs.ErrNotExist without one; *FormatError, also when it does not
// belong to the weights beside it.
func (f *Folder) State() (*SavedState, error) {
	path := filepath.Join(f.Dir, StateName)
	var s stateFile
	if err := ReadJSON(path, &s, 0); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s holds no training state to resume from: %w", f.Dir, err)
		}
		return nil, err
	}
	if s.Version != stateVersion {
		return nil, &FormatError{Path: path, Tensor: "version", Err: ErrRange, Detail: fmt.Sprintf("is %d, expected %d", s.Version, stateVersion)}
	}
	for _, part := range []struct{ name, want string }{{WeightsName, s.Weights}, {StateTensorsName, s.Tensors}} {
		got, err := FileSHA256(filepath.Join(f.Dir, part.name))
		if err != nil {
			return nil, err
		}
		if got != part.want {
			return nil, &FormatError{Path: filepath.Join(f.Dir, part.name), Err: ErrHash,
				Detail: "sha256 " + got + ", " + StateName + " says " + part.want}
		}
	}
	tensors, err := ReadFile(filepath.Join(f.Dir, StateTensorsName))
	if err != nil {
		return nil, err
	}
	if err := tensors.CheckFinite(); err != nil {
		return nil, err
	}
	return &SavedState{Scalars: s.Scalars, Tensors: tensors}, nil
}

// Decode reads the scalars into v. See [DecodeJSON].
func (s *SavedState) Decode(v any) error { return withPath(DecodeJSON(s.Scalars, v), StateName) }
