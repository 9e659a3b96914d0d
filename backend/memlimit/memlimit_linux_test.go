package memlimit

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

func tree(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func TestCgroups(t *testing.T) {
	const none = "9223372036854771712\n"
	v1 := map[string]string{
		"proc/self/cgroup":    "9:cpu,cpuacct:/a\n4:memory:/jobs/mine\n0::/\n",
		"proc/self/mountinfo": "31 23 0:28 / /cg rw - tmpfs tmpfs rw\n32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu\n35 31 0:32 / /cg/memory rw,relatime shared:4 - cgroup cgroup rw,memory\n",
	}
	v2 := func(group, inner string) map[string]string {
		return map[string]string{
			"proc/self/cgroup":    "0::" + group + "\n",
			"proc/self/mountinfo": "30 23 0:26 " + inner + " /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
		}
	}
	for _, c := range []struct {
		name  string
		base  map[string]string
		files map[string]string
		want  []Limit
	}{
		{"version 1, own and outer", v1, map[string]string{
			"cg/memory/jobs/mine/memory.limit_in_bytes": "1000\n", "cg/memory/jobs/mine/memory.usage_in_bytes": "700\n",
			"cg/memory/jobs/mine/memory.stat":      "cache 600\ntotal_inactive_file 50\ntotal_active_file 25\ntotal_rss 9\n",
			"cg/memory/jobs/memory.limit_in_bytes": "3000\n", "cg/memory/memory.limit_in_bytes": none,
		}, []Limit{{1000, 375, Cgroup}, {3000, 3000, Cgroup}}},
		{"version 1, no limit", v1, map[string]string{"cg/memory/jobs/mine/memory.limit_in_bytes": none}, nil},
		{"version 2, outer only", v2("/a.slice/b", "/"), map[string]string{
			"sys/fs/cgroup/a.slice/b/memory.max": "max\n", "sys/fs/cgroup/a.slice/memory.max": "2000\n",
			"sys/fs/cgroup/a.slice/memory.current": "500\n", "sys/fs/cgroup/a.slice/memory.stat": "anon 1\ninactive_file 10\nactive_file 20\n",
		}, []Limit{{2000, 1530, Cgroup}}},
		{"version 2, a container that sees its own root", v2("/", "/"), map[string]string{"sys/fs/cgroup/memory.max": "800\n"}, []Limit{{800, 800, Cgroup}}},
		{"version 2, the mount shows the container's group", v2("/docker/abc", "/docker/abc"),
			map[string]string{"sys/fs/cgroup/memory.max": "900\n"}, []Limit{{900, 900, Cgroup}}},
		{"version 2, a group outside the mount", v2("/docker/abcdef", "/docker/abc"),
			map[string]string{"sys/fs/cgroup/memory.max": "900\n"}, []Limit{{900, 900, Cgroup}}},
		{"rubbish", v2("/", "/"), map[string]string{"sys/fs/cgroup/memory.max": "-5\n"}, nil},
		{"nothing", map[string]string{"proc/self/cgroup": "x\n", "proc/self/mountinfo": "y - z\n"}, nil, nil},
		{"no proc", nil, nil, nil},
	} {
		files := map[string]string{}
		for _, m := range []map[string]string{c.base, c.files} {
			for k, v := range m {
				files[k] = v
			}
		}
		got := cgroups(tree(files))
		if len(got) != len(c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: got %v, want %v", c.name, got, c.want)
			}
		}
	}
}

func TestPhysical(t *testing.T) {
	got, ok := physical(tree(map[string]string{"proc/meminfo": "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:  1024 kB\n"}))
	if !ok || got != (Limit{2 << 20, 1 << 20, Physical}) {
		t.Errorf("got %v, %v", got, ok)
	}
	if got, ok := physical(tree(map[string]string{"proc/meminfo": "MemTotal:  2048 kB\n"})); !ok || got.Free != 2<<20 {
		t.Errorf("without MemAvailable: %v, %v", got, ok)
	}
	if _, ok := physical(tree(map[string]string{"proc/meminfo": "MemTotal: -1 kB\n"})); ok {
		t.Error("a negative size is believed")
	}
}

// TestRlimit asks in a process that has the limit.
func TestRlimit(t *testing.T) {
	const limit = 3 << 30
	if os.Getenv("MEMLIMIT_CHILD") != "" {
		if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			t.Skip(err)
		}
		for _, l := range system() {
			if l.Source == RlimitAS {
				os.Stdout.WriteString("limit " + strconv.FormatInt(l.Bytes, 10) + " free " + strconv.FormatBool(l.Free > 0 && l.Free < limit) + "\n")
			}
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRlimit$", "-test.v")
	cmd.Env = append(os.Environ(), "MEMLIMIT_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("SKIP")) {
		t.Skipf("%s", out)
	}
	if !strings.Contains(string(out), "limit 3221225472 free true") {
		t.Errorf("got %s", out)
	}
}
