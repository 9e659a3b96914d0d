//go:build dist && linux

package nccl

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"

	"mito/engine/dist"
)

// ID is what the ranks of a group show NCCL. Rank 0 makes it.
type ID [128]byte

// Library is NCCL's.
type Library struct {
	version     func(*int32) int32
	uniqueID    func(*ID) int32
	errorString func(int32) string
	initRank    func(comm *uintptr, ranks, rank, ids int32, id *ID, config unsafe.Pointer) int32
	send        func(buf uintptr, count uintptr, datatype, peer int32, comm, stream uintptr) int32
	recv        func(buf uintptr, count uintptr, datatype, peer int32, comm, stream uintptr) int32
	broadcast   func(send, recv uintptr, count uintptr, datatype, root int32, comm, stream uintptr) int32
	allReduce   func(send, recv uintptr, count uintptr, datatype, op int32, comm, stream uintptr) int32
	destroy     func(comm uintptr) int32
}

// oldest is the first version that makes a communicator by a pointer to an id, 2.23.
const oldest = 22300

// Load finds the library. path is its file, or "" for those of Names. Errors: *dist.LibraryError.
func Load(path string) (*Library, error) {
	names := Names
	if path != "" {
		names = []string{path}
	}
	refuse := func(format string, args ...any) error {
		return &dist.LibraryError{Library: "NCCL", Tried: names, Reason: fmt.Sprintf(format, args...)}
	}
	reason := "it was not found; 'pip install nvidia-nccl-cu13' has one, and --dist-lib or LD_LIBRARY_PATH says where it lies"
	var handle uintptr
	for _, name := range names {
		h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err == nil {
			handle = h
			break
		}
		if !dist.NotFound(err, name) {
			reason = err.Error() // it is there, and cannot be used
		}
	}
	if handle == 0 {
		return nil, refuse("%s", reason)
	}
	l := &Library{}
	var missing []string
	for _, f := range []struct {
		to   any
		name string
	}{
		{&l.version, "ncclGetVersion"}, {&l.uniqueID, "ncclGetUniqueId"}, {&l.errorString, "ncclGetErrorString"},
		{&l.initRank, "ncclCommInitRankScalable"}, {&l.send, "ncclSend"}, {&l.recv, "ncclRecv"}, {&l.broadcast, "ncclBroadcast"},
		{&l.allReduce, "ncclAllReduce"}, {&l.destroy, "ncclCommDestroy"},
	} {
		at, err := purego.Dlsym(handle, f.name)
		if err != nil || at == 0 {
			missing = append(missing, f.name)
			continue
		}
		purego.RegisterFunc(f.to, at)
	}
	if len(missing) > 0 {
		return nil, refuse("the library lacks %s: want NCCL 2.23 or later", strings.Join(missing, ", "))
	}
	v, err := l.Version()
	if err != nil {
		return nil, refuse("%v", err)
	}
	if v < oldest {
		return nil, refuse("the library is version %d, want %d or later", v, oldest)
	}
	return l, nil
}

// Version is that of the library: 10000·major + 100·minor + patch.
func (l *Library) Version() (int, error) {
	var v int32
	err := l.check("ncclGetVersion", l.version(&v))
	return int(v), err
}

// NewID makes the id of a group, on one rank. It needs no GPU.
func (l *Library) NewID() (id ID, err error) {
	err = l.check("ncclGetUniqueId", l.uniqueID(&id))
	return id, err
}

// check makes an error of a code.
func (l *Library) check(call string, code int32) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s", call, l.errorString(code))
}
