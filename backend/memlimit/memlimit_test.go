package memlimit

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func TestSmallest(t *testing.T) {
	m, known := smallest([]Limit{
		{Bytes: 100, Free: 10, Source: Physical},
		{Bytes: 50, Free: 40, Source: Cgroup},
		{Bytes: 60, Free: -5, Source: RlimitAS},
		{Bytes: 70, Free: 90, Source: JobObject},
	})
	if !known || m.Total != (Limit{50, 40, Cgroup}) || m.Free != (Limit{60, 0, RlimitAS}) {
		t.Errorf("got %+v, %v", m, known)
	}
	if m, _ := smallest([]Limit{{Bytes: 70, Free: 90}}); m.Free.Free != 70 {
		t.Errorf("%d of 70 bytes are free", m.Free.Free)
	}
	if _, known := smallest(nil); known {
		t.Error("no limit at all is called known")
	}
}

func TestProcess(t *testing.T) {
	m, known := Process()
	switch runtime.GOOS {
	case "linux", "darwin", "windows":
		if !known || m.Total.Bytes < 16<<20 || m.Free.Free > m.Free.Bytes || m.Total.Source == "" {
			t.Errorf("got %+v, %v", m, known)
		}
	default:
		t.Skip("this system tells nothing")
	}
}

func TestFormat(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 1536 << 20: "1.5 GiB", 1<<20 - 1: "1.0 MiB",
		1<<40 - 1<<29: "1023.5 GiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := Format(bytes); got != want {
			t.Errorf("%d: %q, want %q", bytes, got, want)
		}
	}
}

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skip("no go command: ", err)
	}
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		first, _, _ := strings.Cut(dep, "/")
		if first == "mito" && dep != "mito/backend/memlimit" || strings.Contains(first, ".") && !strings.HasPrefix(dep, "golang.org/x/sys/") {
			t.Errorf("imports %s", dep)
		}
	}
}
