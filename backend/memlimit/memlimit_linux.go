package memlimit

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func system() []Limit {
	root := os.DirFS("/")
	limits := cgroups(root)
	if l, ok := physical(root); ok {
		limits = append(limits, l)
	}
	for _, r := range []struct {
		resource int
		used     string // the field of /proc/self/status that the kernel holds against it
		source   string
	}{{unix.RLIMIT_AS, "VmSize:", RlimitAS}, {unix.RLIMIT_DATA, "VmData:", RlimitData}} {
		var rl unix.Rlimit
		if unix.Getrlimit(r.resource, &rl) != nil || rl.Cur >= math.MaxInt64 {
			continue
		}
		// The runtime of Go reserves address space before it uses it, so what is in use now is not free.
		used, _ := kibField(root, "proc/self/status", r.used)
		limits = append(limits, Limit{Bytes: int64(rl.Cur), Free: int64(rl.Cur) - used, Source: r.source})
	}
	return limits
}

func physical(root fs.FS) (Limit, bool) {
	total, ok := kibField(root, "proc/meminfo", "MemTotal:")
	if !ok {
		return Limit{}, false
	}
	free, ok := kibField(root, "proc/meminfo", "MemAvailable:")
	if !ok { // before Linux 3.14
		free = total
	}
	return Limit{Bytes: total, Free: free, Source: Physical}, true
}

// kibField reads a line such as "MemTotal:  24684092 kB".
func kibField(root fs.FS, file, name string) (bytes int64, ok bool) {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == name {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err == nil && kib >= 0 && kib < math.MaxInt64>>10
		}
	}
	return 0, false
}

// hierarchy is where a control group's files lie, in version 1 or 2.
type hierarchy struct {
	limit, usage string   // file names
	cache        []string // the fields of memory.stat that the kernel gives back when memory is asked for
}

var (
	version1 = hierarchy{"memory.limit_in_bytes", "memory.usage_in_bytes", []string{"total_inactive_file", "total_active_file"}}
	version2 = hierarchy{"memory.max", "memory.current", []string{"inactive_file", "active_file"}}
)

// cgroups returns the limits of the process's control group and of all groups round it.
func cgroups(root fs.FS) (limits []Limit) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(groups)) {
		// hierarchy id : controllers : path
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		h, kind := version2, "cgroup2"
		if part[1] != "" {
			if !hasWord(part[1], "memory") {
				continue
			}
			h, kind = version1, "cgroup"
		}
		if mount, inner, ok := findMount(mounts, kind); ok {
			limits = append(limits, h.walk(root, mount, relative(part[2], inner))...)
		}
	}
	return limits
}

// findMount returns where a kind of control groups with the memory controller is mounted, and which group is the root of
// that mount: in a container the mount often shows only the container's own.
func findMount(mountinfo []byte, kind string) (mount, inner string, ok bool) {
	s := bufio.NewScanner(bytes.NewReader(mountinfo))
	for s.Scan() {
		// 35 31 0:32 /inner /mount options … - type source super-options
		left, right, found := strings.Cut(s.Text(), " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !found || len(f) < 5 || len(g) < 3 || g[0] != kind {
			continue
		}
		if kind == "cgroup" && !hasWord(g[2], "memory") {
			continue
		}
		return f[4], f[3], true
	}
	return "", "", false
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// relative is the path of a group below the root of a mount. A group outside it is not to be seen from here; the root of
// the mount is then the best that is known.
func relative(group, inner string) string {
	if inner == "/" {
		return group
	}
	if rest, ok := strings.CutPrefix(group, inner); ok && (rest == "" || rest[0] == '/') {
		return rest
	}
	return "/"
}

func (h hierarchy) walk(root fs.FS, mount, group string) (limits []Limit) {
	for at := path.Clean("/" + group); ; at = path.Dir(at) {
		if l, ok := h.read(root, strings.TrimPrefix(path.Join(mount, at), "/")); ok {
			limits = append(limits, l)
		}
		if at == "/" {
			return limits
		}
	}
}

// read returns the limit of one group, ok only where it has one. Version 1 writes "none" as the largest multiple of a
// page that fits 63 bits, version 2 as "max".
func (h hierarchy) read(root fs.FS, dir string) (Limit, bool) {
	bytes, ok := number(root, path.Join(dir, h.limit))
	if !ok || bytes >= math.MaxInt64>>1 {
		return Limit{}, false
	}
	l := Limit{Bytes: bytes, Free: bytes, Source: Cgroup}
	if used, ok := number(root, path.Join(dir, h.usage)); ok {
		l.Free -= used
	}
	stat, err := fs.ReadFile(root, path.Join(dir, "memory.stat"))
	if err != nil {
		return l, true
	}
	for line := range strings.Lines(string(stat)) {
		f := strings.Fields(line)
		for _, name := range h.cache {
			if len(f) == 2 && f[0] == name {
				if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
					l.Free += n
				}
			}
		}
	}
	return l, true
}

func number(root fs.FS, file string) (int64, bool) {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && n >= 0
}
