package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mito/engine/files"
)

// IndexName is the file that says in which files the weights lie, where they are split over several.
const IndexName = WeightsName + ".index.json"

// shardIndex is that file; transformers writes more into it, which says nothing about where tensors lie.
type shardIndex struct {
	WeightMap map[string]string `json:"weight_map"` // tensor -> file in the same folder
}

// readWeights reads the tensors of a folder and lists their files: model.safetensors, or those of the index.
func readWeights(dir string) (*File, []string, error) {
	f, err := ReadFile(filepath.Join(dir, WeightsName))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, []string{WeightsName}, err
	}
	index := filepath.Join(dir, IndexName)
	if !exists(index) {
		if e := otherWeights(dir); e != nil {
			return nil, nil, e
		}
		return nil, nil, err
	}
	var list shardIndex
	if err := files.ReadJSON(index, &list, 0); err != nil {
		return nil, nil, err
	}
	return readShards(dir, &list)
}

// readShards joins the files of an index. Each tensor must lie in the file that the index says, and nowhere else.
func readShards(dir string, list *shardIndex) (*File, []string, error) {
	index := filepath.Join(dir, IndexName)
	names := slices.Sorted(maps.Values(list.WeightMap))
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil, nil, &FormatError{Path: index, Name: "weight_map", Err: ErrMissing, Detail: "it names no tensor"}
	}
	for _, name := range names {
		if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) || !strings.HasSuffix(name, ".safetensors") {
			return nil, nil, &FormatError{Path: index, Name: "weight_map", Err: ErrRange,
				Detail: fmt.Sprintf("names %q, expected a .safetensors file of this folder", name)}
		}
		if !exists(filepath.Join(dir, name)) {
			return nil, nil, &FormatError{Path: dir, Name: name, Err: ErrMissing,
				Detail: fmt.Sprintf("%s names %d files of weights, and this one is not there; fetch it too", IndexName, len(names))}
		}
	}
	all := &File{Path: index, index: map[string]int{}}
	for _, name := range names {
		shard, err := ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, err
		}
		for _, t := range shard.Tensors {
			if at, ok := list.WeightMap[t.Name]; !ok || at != name {
				return nil, nil, &FormatError{Path: shard.Path, Name: t.Name, Err: ErrUnexpected, Detail: IndexName + " does not say that it lies here"}
			}
			all.index[t.Name] = len(all.Tensors)
			all.Tensors = append(all.Tensors, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(list.WeightMap)) {
		if !all.Has(name) {
			return nil, nil, &FormatError{Path: filepath.Join(dir, list.WeightMap[name]), Name: name, Err: ErrMissing, Detail: IndexName + " says that it lies here"}
		}
	}
	return all, names, nil
}

// otherWeights says what to do with weights of a kind that is not read, nil where there are none.
func otherWeights(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // what is missing is reported already
	}
	for _, e := range entries {
		name := e.Name()
		switch ext := filepath.Ext(name); {
		case ext == ".bin" || ext == ".pt" || ext == ".pth" || ext == ".ckpt":
			return &FormatError{Path: filepath.Join(dir, name), Err: ErrSyntax,
				Detail: "is a pickle of PyTorch, which can run any program when it is read, so it is refused. In Python, " +
					"AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(OUT, safe_serialization=True) writes " + WeightsName}
		case ext == ".h5" || ext == ".msgpack":
			return &FormatError{Path: filepath.Join(dir, name), Err: ErrSyntax,
				Detail: "holds weights of TensorFlow or Flax; load it in transformers and save it as " + WeightsName}
		}
	}
	return nil
}

// WeightsSHA256 is the SHA-256 of the weights: of model.safetensors, or of the hashes of the files that they are split over.
func (f *Folder) WeightsSHA256() (string, error) {
	if len(f.WeightFiles) == 1 {
		return FileSHA256(filepath.Join(f.Dir, f.WeightFiles[0]))
	}
	all := sha256.New()
	for _, name := range f.WeightFiles {
		sum, err := FileSHA256(filepath.Join(f.Dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(all, sum)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

// NewFile makes a file in memory of tensors, whose names must differ. Errors: ErrDuplicate.
func NewFile(path string, tensors []Tensor) (*File, error) {
	f := &File{Path: path, Tensors: tensors, index: make(map[string]int, len(tensors))}
	for i := range tensors {
		if f.Has(tensors[i].Name) {
			return nil, &FormatError{Path: path, Name: tensors[i].Name, Err: ErrDuplicate}
		}
		f.index[tensors[i].Name] = i
	}
	return f, nil
}
