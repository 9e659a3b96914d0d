package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"mito/engine/files"
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

// stateVersion counts the layouts of state.json. Version 1 had no hash of itself.
const stateVersion = 2

// stateFile ties the files of one checkpoint together by their hashes: optimiser moments of another step beside these
// weights would train on without a complaint, and so would a damaged step or seed. SHA256 is that of the file's other
// fields as compact JSON, so that it guards what is said and not how it is laid out.
type stateFile struct {
	Version int               `json:"version"`
	Files   map[string]string `json:"files_sha256"`
	Scalars json.RawMessage   `json:"scalars"`
	SHA256  string            `json:"sha256"`
}

func (s stateFile) hash() (string, error) {
	s.SHA256 = ""
	text, err := json.Marshal(s) // compact, names sorted
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// hashed lists the files of a checkpoint by which a run goes on, or which it goes on from. How text is drawn from the model
// (generation_config.json) may be changed.
var hashed = []string{WeightsName, StateTensorsName, ConfigName, TokenizerName}

// hashFiles hashes those files of dir that are there. known spares reading what is hashed already.
func hashFiles(dir string, known map[string]string) (map[string]string, error) {
	sums := maps.Clone(known)
	for _, name := range hashed {
		if sums[name] != "" {
			continue
		}
		sum, err := FileSHA256(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sums[name] = sum
	}
	return sums, nil
}

// writeState writes the state last of all files of a checkpoint; weights is the hash of model.safetensors.
func writeState(dir string, s *State, weights string) error {
	for i := range s.Tensors {
		if err := s.Tensors[i].CheckFinite(); err != nil {
			return err
		}
	}
	tensors, err := writeHashed(filepath.Join(dir, StateTensorsName), s.Tensors)
	if err != nil {
		return err
	}
	sums, err := hashFiles(dir, map[string]string{WeightsName: weights, StateTensorsName: tensors})
	if err != nil {
		return err
	}
	scalars, err := files.EncodeJSON(s.Scalars)
	if err != nil {
		return fmt.Errorf("%s: %w", StateName, err)
	}
	f := stateFile{Version: stateVersion, Files: sums, Scalars: scalars}
	if f.SHA256, err = f.hash(); err != nil {
		return fmt.Errorf("%s: %w", StateName, err)
	}
	return files.WriteJSON(filepath.Join(dir, StateName), &f)
}

// State reads the training state of the folder. Errors: fs.ErrNotExist without one; *FormatError, with ErrHash when the
// state was changed or does not belong to the files beside it, with ErrRange when another version of mito wrote it.
func (f *Folder) State() (*SavedState, error) {
	path := filepath.Join(f.Dir, StateName)
	var s stateFile
	if err := files.ReadJSON(path, &s, 0); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s holds no training state to resume from: %w", f.Dir, err)
		}
		return nil, err
	}
	if err := s.check(path); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		if !slices.Contains(hashed, name) {
			return nil, &FormatError{Path: path, Name: name, Err: ErrUnexpected, Detail: "it is not a file that a run goes on from"}
		}
		got, err := FileSHA256(filepath.Join(f.Dir, name))
		if err != nil {
			return nil, err
		}
		if got != s.Files[name] {
			return nil, &FormatError{Path: filepath.Join(f.Dir, name), Err: ErrHash,
				Detail: "sha256 " + got + ", " + StateName + " says " + s.Files[name] + "; " + damaged}
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

const damaged = "it was damaged or changed since: put back a copy of this folder, or begin a new run in another one"

// check refuses a state that says something else than what was saved.
func (s *stateFile) check(path string) error {
	if s.Version == 1 {
		return &FormatError{Path: path, Name: "version", Err: ErrRange,
			Detail: "an older mito wrote it, without a hash to tell damage by: end the run with that mito, or begin a new one in another folder"}
	}
	if s.Version != stateVersion {
		return &FormatError{Path: path, Name: "version", Err: ErrRange,
			Detail: fmt.Sprintf("is %d, expected %d: another version of mito wrote it, or it is damaged", s.Version, stateVersion)}
	}
	if got, err := s.hash(); err != nil || got != s.SHA256 {
		return &FormatError{Path: path, Err: ErrHash, Detail: fmt.Sprintf("its content has sha256 %s, it says %q; %s", got, s.SHA256, damaged)}
	}
	for _, name := range []string{WeightsName, StateTensorsName, ConfigName} {
		if s.Files[name] == "" {
			return &FormatError{Path: path, Name: name, Err: ErrMissing, Detail: "it has no hash of this file"}
		}
	}
	return nil
}

// Decode reads the scalars into v. See [files.DecodeJSON].
func (s *SavedState) Decode(v any) error {
	return files.WithPath(files.DecodeJSON(s.Scalars, v), StateName)
}

// FileSHA256 returns the SHA-256 of a regular file in hexadecimal.
func FileSHA256(path string) (string, error) {
	f, _, err := files.OpenRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := f.WriteTo(h); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
