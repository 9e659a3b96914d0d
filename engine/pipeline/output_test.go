package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/files"
	"mito/engine/model"
	"mito/engine/runs"
)

// Quantize writes where nothing lies. A pipeline, which makes its INT8 student anew when it is resumed, replaces an INT8
// student, and a float model never.
func TestQuantizeOutput(t *testing.T) {
	shape, err := ShapeOf("micro")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(openBackend(t), shape.At(16, 16), false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Initialize(1, RecipeOf("tictactoe").Init); err != nil {
		t.Fatal(err)
	}
	weights, err := m.Tensors(m.Params.Value)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	float, int8 := filepath.Join(root, "float"), filepath.Join(root, "int8")
	if err := checkpoint.Save(float, &checkpoint.Contents{Config: m.Config, Tensors: weights}); err != nil {
		t.Fatal(err)
	}
	write := func(dir string) error {
		_, _, err := Quantize(t.Context(), float, dir, quant.Options{Method: quant.RoundToNearest})
		return err
	}
	again := func(dir string) error {
		_, _, err := quantize(t.Context(), float, dir, quant.Options{Method: quant.RoundToNearest}, runs.CheckReplaceable)
		return err
	}
	if err := write(int8); err != nil {
		t.Fatal(err)
	}
	if err := again(int8); err != nil {
		t.Errorf("made again: %v", err)
	}
	for says, err := range map[string]error{
		"int8: holds an INT8 student":            write(int8),
		"float: holds the float weights":         write(float),
		"float: holds the float weights of a mo": again(float),
	} {
		var foreign *files.ForeignError
		if !errors.As(err, &foreign) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	lock, err := files.LockBeside(int8)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	var used *files.InUseError
	if err := again(int8); !errors.As(err, &used) || used.PID != os.Getpid() {
		t.Errorf("while another works there: %v", err)
	}
}
