package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// MarkerName is the file by which mito knows its own folders.
const MarkerName = "mito.json"

const markerVersion = 1

// The kinds of folders that mito makes.
const (
	KindModel = "model" // a checkpoint, written by SaveDir
	KindRun   = "run"   // the output of a command: checkpoints, metrics and report, made by Claim
)

// Marker is the content of mito.json.
type Marker struct {
	Version int      `json:"mito"`
	Kind    string   `json:"kind"`
	Files   []string `json:"files,omitempty"` // what mito wrote there, with '/' between folders
}

// The names in a Hugging Face folder that mito may replace where a config.json says that the model is mito's, but no
// marker lists the files.
var ownNames = []string{ConfigName, WeightsName, TokenizerName, GenerationName, StateTensorsName, StateName}

// ownership is what lies at a path.
type ownership struct {
	path    string
	exists  bool
	empty   bool
	marker  *Marker // nil without a valid mito.json
	model   bool    // config.json says model_type mito
	foreign string  // why it is not mito's, "" when it is, or is empty, or does not exist
}

func (o *ownership) ours() bool { return o.marker != nil || o.model }

// wrote reports whether mito wrote that file of the folder.
func (o *ownership) wrote(name string) bool {
	if name == MarkerName {
		return o.marker != nil
	}
	if o.marker != nil && o.marker.Kind == KindModel {
		return slices.Contains(o.marker.Files, name)
	}
	return o.model && slices.Contains(ownNames, name)
}

// admits returns an error unless a folder of that kind may be written here.
func (o *ownership) admits(kind string) error {
	if o.foreign != "" {
		return &ForeignError{Path: o.path, Reason: o.foreign}
	}
	have := ""
	switch {
	case o.marker != nil:
		have = o.marker.Kind
	case o.model:
		have = KindModel
	}
	if have != "" && have != kind {
		return &ForeignError{Path: o.path, Reason: fmt.Sprintf("holds a %s of mito, not a %s", have, kind)}
	}
	return nil
}

func inspect(path string) (ownership, error) {
	o := ownership{path: path}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return o, nil
	case err != nil:
		return o, err
	case !info.IsDir():
		o.exists, o.foreign = true, "exists and is not a folder"
		return o, nil
	}
	o.exists = true
	entries, err := os.ReadDir(path)
	if err != nil {
		return o, err
	}
	var names []string
	for _, e := range entries {
		if !isTemp(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		o.empty = true
		return o, nil
	}
	var m Marker
	if ReadJSON(filepath.Join(path, MarkerName), &m, 0) == nil && m.Version >= 1 && m.Kind != "" {
		o.marker = &m
	}
	var c struct {
		ModelType string `json:"model_type"`
	}
	if ReadJSON(filepath.Join(path, ConfigName), &c, 0) == nil && c.ModelType == ModelType {
		o.model = true
	}
	if !o.ours() {
		if len(names) > 3 {
			names = append(names[:3], "…")
		}
		o.foreign = fmt.Sprintf("exists and holds something that mito did not make (%s)", strings.Join(names, ", "))
	}
	return o, nil
}

// Claim prepares an output folder for a run: it makes the folder where there is none, marks it, and removes what a killed
// process left half written. The result says whether a run of mito was there already.
// Errors: *ForeignError when the folder holds something else, or is not a folder.
func Claim(dir string) (existed bool, err error) {
	dir, err = settle(dir)
	if err != nil {
		return false, err
	}
	o, err := inspect(dir)
	if err != nil {
		return false, err
	}
	if err := o.admits(KindRun); err != nil {
		return false, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return false, err
	}
	if err := removeTemps(osDisk{}, dir, ""); err != nil {
		return false, err
	}
	if o.marker != nil {
		return true, nil
	}
	return false, WriteJSON(filepath.Join(dir, MarkerName), &Marker{Version: markerVersion, Kind: KindRun})
}

// CheckOutput reports whether SaveDir may write a model to dir, before any work is done for it.
// Errors: *ForeignError.
func CheckOutput(dir string) error {
	dir, err := settle(dir)
	if err != nil {
		return err
	}
	o, err := inspect(dir)
	if err != nil {
		return err
	}
	return o.admits(KindModel)
}
