package runs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"mito/engine/checkpoint"
	"mito/engine/files"
)

// The parts of the folder of a run.
const (
	ModelDir    = "model"
	LastDir     = "last"
	BestDir     = "best"
	MetricsName = "metrics.jsonl"
	CacheName   = "teacher.cache"
)

// The models in the folder of a pipeline.
const (
	TeacherDir    = "teacher"
	StudentDir    = "student"
	CompressedDir = "compressed"
)

// ResolveModel returns the folder of the model that dir names: dir/model where that exists, as in the folder of a run,
// else dir itself.
func ResolveModel(dir string) string {
	inner := filepath.Join(dir, ModelDir)
	if at, err := files.Resolve(inner); err == nil {
		if info, err := os.Stat(at); err == nil && info.IsDir() {
			return inner
		}
	}
	return dir
}

// BegunError refuses to begin a run where one lies that can be resumed.
type BegunError struct{ Path string }

func (e *BegunError) Error() string {
	return e.Path + " already holds a run: --resume continues it, another --out begins a new one"
}

// Check refuses a folder for a run before any work is done for it, and changes nothing. With resume the folder may hold a
// run. Errors: *files.ForeignError, *files.InUseError, *BegunError, those of the file system.
func Check(dir string, resume bool) error {
	if err := files.CheckOutput(dir, files.KindRun); err != nil {
		return err
	}
	if err := files.CheckInside(dir); err != nil {
		return err
	}
	// The models of a pipeline are runs in its folder; what is inside a run is none.
	if err := checkPart(dir, ModelDir, LastDir, BestDir); err != nil {
		return err
	}
	return checkBegun(dir, resume)
}

func checkBegun(dir string, resume bool) error {
	if resume {
		return nil
	}
	// What was begun but has saved nothing yet can be begun again.
	for _, name := range []string{LastDir, BestDir, ModelDir, TeacherDir, StudentDir, CompressedDir} {
		if _, err := files.Resolve(filepath.Join(dir, name)); err == nil {
			return &BegunError{Path: dir}
		}
	}
	return nil
}

// Claim makes dir the folder of a run of this process, until the lock is released: it makes the folder where there is none,
// marks it, and removes what a killed process left half written. A folder that is refused stays as it was.
// Errors: as Check.
func Claim(dir string, resume bool) (*files.Lock, error) {
	if err := Check(dir, resume); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	lock, err := files.LockInside(dir)
	if err != nil {
		return nil, err
	}
	// Another process may have begun and ended a run since the check.
	err = checkBegun(dir, resume)
	if err == nil {
		err = files.MarkRun(dir)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return lock, nil
}

// CheckFree refuses a folder for a model unless nothing lies there, and changes nothing. What lies there may be a model that
// cost days, whoever made it. A place that a run keeps for a part of its own is refused too, before the run has put it there.
// Errors: *files.ForeignError that says what lies there, those of the file system.
func CheckFree(dir string) error {
	if err := checkNothing(dir); err != nil {
		return err
	}
	return checkPart(dir, ModelDir, LastDir, BestDir, TeacherDir, StudentDir, CompressedDir)
}

// checkPart refuses the place of a part of a run or a pipeline.
func checkPart(dir string, parts ...string) error {
	at, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	run, name := filepath.Split(at)
	if !slices.Contains(parts, name) {
		return nil
	}
	var m files.Marker
	if files.ReadJSON(filepath.Join(run, files.MarkerName), &m, 0) != nil || m.Kind != files.KindRun {
		return nil
	}
	return &files.ForeignError{Path: at, Reason: fmt.Sprintf("is where the run in %s keeps its %s", filepath.Clean(run), name)}
}

func checkNothing(dir string) error {
	kind, err := files.CheckFree(dir)
	var foreign *files.ForeignError
	if kind != files.KindModel || !errors.As(err, &foreign) {
		return err
	}
	what := "the float weights of a model"
	switch quantised, err := isQuantised(dir); {
	case err != nil:
		what = "a model of mito that cannot be read"
	case quantised:
		what = "an INT8 student"
	}
	return &files.ForeignError{Path: foreign.Path, Reason: "holds " + what}
}

// CheckReplaceable is CheckFree for what a pipeline makes again each time that it is resumed: its own part, where an INT8
// student may lie.
func CheckReplaceable(dir string) error {
	err := checkNothing(dir)
	if err == nil {
		return nil
	}
	if quantised, e := isQuantised(dir); e == nil && quantised && files.CheckOutput(dir, files.KindModel) == nil {
		return nil
	}
	return err
}

func isQuantised(dir string) (bool, error) {
	at, err := files.Resolve(dir)
	if err != nil {
		return false, err
	}
	f := checkpoint.Folder{Dir: at}
	if err := files.ReadJSON(filepath.Join(at, checkpoint.ConfigName), &f.Config, 0); err != nil {
		return false, err
	}
	q, err := f.Quantization()
	return q != nil, err
}
