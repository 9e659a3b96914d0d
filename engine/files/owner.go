package files

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
	KindRun   = "run"   // the output of a command: checkpoints, metrics and report, marked by MarkRun
)

// By these mito knows a model of its own that has no marker.
const (
	ConfigName = "config.json"
	ModelType  = "mito" // the model_type in it
)

// Marker is the content of mito.json.
type Marker struct {
	Version int      `json:"mito"`
	Kind    string   `json:"kind"`
	Files   []string `json:"files,omitempty"` // what mito wrote there, with '/' between folders
}

// ownership is what lies at a path.
type ownership struct {
	path    string
	exists  bool
	empty   bool
	marker  *Marker // nil without a valid mito.json
	model   bool    // config.json says model_type mito
	foreign string  // why it is not mito's, "" when it is, or is empty, or does not exist
	// unlisted are the files that mito may replace where no marker lists them.
	unlisted []string
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
	return o.model && slices.Contains(o.unlisted, name)
}

// kind is what mito made there, "" where it made nothing.
func (o *ownership) kind() string {
	switch {
	case o.marker != nil:
		return o.marker.Kind
	case o.model:
		return KindModel
	}
	return ""
}

// admits returns an error unless a folder of that kind may be written here.
func (o *ownership) admits(kind string) error {
	if o.foreign != "" {
		return &ForeignError{Path: o.path, Reason: o.foreign}
	}
	if have := o.kind(); have != "" && have != kind {
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
		if !isTemp(e.Name()) && !isLock(e.Name()) {
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

// CheckOutput reports whether a folder of that kind may be written at dir, before any work is done for it. It changes
// nothing. Errors: *ForeignError.
func CheckOutput(dir, kind string) error {
	dir, err := settle(dir)
	if err != nil {
		return err
	}
	o, err := inspect(dir)
	if err != nil {
		return err
	}
	return o.admits(kind)
}

// CheckFree reports whether nothing lies at dir: no folder, or an empty one. kind says what mito made there, "" where it
// made nothing. It changes nothing. Errors: *ForeignError, whose Reason names what lies there.
func CheckFree(dir string) (kind string, err error) {
	dir, err = settle(dir)
	if err != nil {
		return "", err
	}
	o, err := inspect(dir)
	switch {
	case err != nil:
		return "", err
	case o.foreign != "":
		return "", &ForeignError{Path: dir, Reason: o.foreign}
	case o.ours():
		return o.kind(), &ForeignError{Path: dir, Reason: "holds a " + o.kind() + " of mito"}
	}
	return "", nil
}

// MarkRun marks a folder as the output of a run and removes what a killed process left half written in it. The caller
// holds its lock. Errors: as CheckOutput.
func MarkRun(dir string) error {
	dir, err := settle(dir)
	if err != nil {
		return err
	}
	o, err := inspect(dir)
	if err != nil {
		return err
	}
	if err := o.admits(KindRun); err != nil {
		return err
	}
	if err := removeTemps(osDisk{}, dir, ""); err != nil || o.marker != nil {
		return err
	}
	return WriteJSON(filepath.Join(dir, MarkerName), &Marker{Version: markerVersion, Kind: KindRun})
}
