package runs

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mito/engine/checkpoint"
	"mito/engine/files"
	"mito/engine/internal/imports"
)

const childVar = "MITO_TEST_RUN"

// TestChild is the other process of TestTwoProcesses: it claims a folder and works there until it is killed.
func TestChild(t *testing.T) {
	dir := os.Getenv(childVar)
	if dir == "" {
		t.Skip("runs as a child only")
	}
	if _, err := Claim(dir, false); err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("claimed\n")
	time.Sleep(time.Minute)
}

// A folder in which a process works is refused with its number, and nothing in it is touched; after its death it is free.
func TestTwoProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childVar+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "claimed\n" {
		t.Fatalf("%q, %v", line, err)
	}
	// What the other process is writing at this moment.
	half := filepath.Join(dir, ".last.mito-tmp-0123456789abcdef")
	if err := os.Mkdir(half, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, resume := range []bool{false, true} {
		var used *files.InUseError
		if _, err := Claim(dir, resume); !errors.As(err, &used) || used.PID != cmd.Process.Pid {
			t.Errorf("resume %v: %v, want in use by %d", resume, err, cmd.Process.Pid)
		}
		if err := Check(dir, resume); !errors.As(err, &used) {
			t.Errorf("check with resume %v: %v", resume, err)
		}
	}
	if _, err := os.Stat(half); err != nil {
		t.Fatal("the temporary folder of the running process is gone")
	}
	cmd.Process.Kill()
	cmd.Wait()
	lock, err := Claim(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("the temporary folder of the dead process is still there")
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

// A refused folder is left as it was: no marker, no lock, and its temporary files stay.
func TestRefusedFolderIsUntouched(t *testing.T) {
	for name, c := range map[string]struct {
		texts  map[string]string
		resume bool
	}{
		"a run that has begun":         {map[string]string{"mito.json": `{"mito":1,"kind":"run"}`, "last/x": "", ".a.mito-tmp-0123456789abcdef": ""}, false},
		"a run that lost its last":     {map[string]string{"mito.json": `{"mito":1,"kind":"run"}`, "model/x": ""}, false},
		"a run that has only its best": {map[string]string{"mito.json": `{"mito":1,"kind":"run"}`, "best/x": ""}, false},
		"a pipeline":                   {map[string]string{"mito.json": `{"mito":1,"kind":"run"}`, "teacher/x": ""}, false},
		"a model":                      {map[string]string{"mito.json": `{"mito":1,"kind":"model"}`, ".a.mito-tmp-0123456789abcdef": ""}, true},
		"a thesis":                     {map[string]string{"thesis.tex": ""}, true},
	} {
		dir := t.TempDir()
		for file, text := range c.texts {
			path := filepath.Join(dir, file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
				t.Fatal(err)
			}
		}
		before := list(t, dir)
		if _, err := Claim(dir, c.resume); err == nil {
			t.Errorf("%s: claimed", name)
		}
		if after := list(t, dir); after != before {
			t.Errorf("%s: was\n%s\nis\n%s", name, before, after)
		}
	}
}

func list(t *testing.T, root string) string {
	t.Helper()
	var names strings.Builder
	if err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		names.WriteString(path + "\n")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names.String()
}

func TestClaimMakesMissingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		lock, err := Claim(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
		if got := list(t, dir); got != dir+"\n"+filepath.Join(dir, files.MarkerName)+"\n" {
			t.Errorf("holds %s", got)
		}
	}
}

func save(t *testing.T, dir, extra string) {
	t.Helper()
	err := checkpoint.Save(dir, &checkpoint.Contents{Config: json.RawMessage(`{"model_type":"mito"` + extra + `}`)})
	if err != nil {
		t.Fatal(err)
	}
}

const int8Config = `,"quantization_config":{"quant_method":"compressed-tensors"}`

// Nothing that lies at an output of a model is replaced unless it is made again by its own pipeline.
func TestFreeAndReplaceable(t *testing.T) {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	save(t, at("float"), "")
	save(t, at("int8"), int8Config)
	lock, err := Claim(at("run"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if err := errors.Join(os.Mkdir(at("empty"), 0o777), os.Mkdir(at("foreign"), 0o777),
		os.WriteFile(filepath.Join(at("foreign"), "thesis.tex"), nil, 0o666), os.WriteFile(at("file"), nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ free, replaceable string }{
		"none": {"", ""}, "empty": {"", ""},
		"float":   {"holds the float weights of a model", "holds the float weights of a model"},
		"int8":    {"holds an INT8 student", ""},
		"run":     {"holds a run of mito", "holds a run of mito"},
		"foreign": {"thesis.tex", "thesis.tex"},
		"file":    {"is not a folder", "is not a folder"},
	} {
		for what, got := range map[string]struct {
			err  error
			want string
		}{"free": {CheckFree(at(name)), c.free}, "replaceable": {CheckReplaceable(at(name)), c.replaceable}} {
			var foreign *files.ForeignError
			switch {
			case got.want == "" && got.err != nil:
				t.Errorf("%s, %s: %v", name, what, got.err)
			case got.want != "" && (!errors.As(got.err, &foreign) || !strings.Contains(got.err.Error(), got.want)):
				t.Errorf("%s, %s: %v, want %q", name, what, got.err, got.want)
			}
		}
	}
}

// A run's own places are not free before it fills them: the end of a long run would find another's model there, and with
// --resume take it for its own. Only a pipeline may put its INT8 student where that belongs.
func TestPartsOfARunAreNotFree(t *testing.T) {
	root := t.TempDir()
	run := filepath.Join(root, "run")
	lock, err := Claim(run, false)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for _, name := range []string{ModelDir, LastDir, BestDir, TeacherDir, StudentDir, CompressedDir} {
		var foreign *files.ForeignError
		if err := CheckFree(filepath.Join(run, name)); !errors.As(err, &foreign) || !strings.Contains(err.Error(), "the run in "+run+" keeps its "+name) {
			t.Errorf("%s of a run: %v", name, err)
		}
		if err := CheckReplaceable(filepath.Join(run, name)); err != nil {
			t.Errorf("%s of a pipeline: %v", name, err)
		}
		if err := CheckFree(filepath.Join(root, name)); err != nil {
			t.Errorf("%s that is of no run: %v", name, err)
		}
	}
	// A run may begin where a pipeline keeps its models, and not inside another run.
	for name, inside := range map[string]bool{ModelDir: true, LastDir: true, BestDir: true, TeacherDir: false, StudentDir: false} {
		if err := Check(filepath.Join(run, name), false); (err != nil) != inside {
			t.Errorf("a run in %s of a run: %v", name, err)
		}
	}
	if err := CheckFree(filepath.Join(run, "another")); err != nil {
		t.Errorf("a name in a run that is none of its parts: %v", err)
	}
	t.Chdir(run)
	if CheckFree(ModelDir) == nil {
		t.Error("a part of the run in the working folder is free")
	}
}

func TestResolveModel(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if got := ResolveModel(dir); got != dir {
		t.Errorf("a folder that is not there resolves to %s", got)
	}
	save(t, filepath.Join(dir, ModelDir), "")
	if got := ResolveModel(dir); got != filepath.Join(dir, ModelDir) {
		t.Errorf("a run resolves to %s", got)
	}
}

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Closure(t, "mito/engine/checkpoint", "mito/engine/files", "mito/kernels/sentinel", "golang.org/x/sys/...")
}
