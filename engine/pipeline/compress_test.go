package pipeline

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/compress/calibrate"
	"mito/engine/task"
)

// A calibration over positions that the model is judged on is refused, as are more sequences than one may have.
func TestCalibrationIsNotOnTestData(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	f := fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "m")})
	_, floats, err := OpenFloat(f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	try := func(rows int) error {
		o, _, err := Calibrate(t.Context(), floats, w, rows, 1, calibrate.Options{Threads: 1})
		if err != nil {
			return err
		}
		_, _, err = Quantize(t.Context(), f.Dir, filepath.Join(t.TempDir(), "int8"), o)
		return err
	}
	if err := try(8); err != nil {
		t.Fatal(err)
	}
	most := MaxCalibration(w.Context)
	for _, rows := range []int{-1, 0, most + 1} {
		if err := try(rows); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("want 1 to %d sequences", most)) {
			t.Errorf("%d sequences: %v", rows, err)
		}
	}
	w.examples[task.Test] = w.examples[task.Train]
	if err := try(8); err == nil || !strings.Contains(err.Error(), "calibration") {
		t.Errorf("a calibration over test positions: %v", err)
	}
}
