//go:build dist && (linux || darwin)

package mpi

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
	"gorgonia.org/tensor"

	"mito/engine/dist"
)

// Handles and constants of the standard ABI.
const (
	commWorld        uintptr = 0x101
	opSum            uintptr = 0x21
	errorsReturn     uintptr = 0x143
	typeFloat        uintptr = 0x210
	typeByte         uintptr = 0x247
	requestNull      uintptr = 0x180
	threadSerialized int32   = 2048
	mostErrorText            = 512
	mostVersionText          = 8192
	abiMajor                 = 1
	tag              int32   = 1
)

// library are the functions of MPI that are used. Pointers to statuses are nil: MPI_STATUS_IGNORE.
type library struct {
	abiVersion     func(major, minor *int32) int32
	libraryVersion func(text *byte, length *int32) int32
	initThread     func(argc, argv unsafe.Pointer, required int32, provided *int32) int32
	setErrhandler  func(comm, handler uintptr) int32
	errorString    func(code int32, text *byte, length *int32) int32
	rank           func(comm uintptr, rank *int32) int32
	size           func(comm uintptr, size *int32) int32
	isend          func(buf unsafe.Pointer, count int32, datatype uintptr, dest, tag int32, comm uintptr, request *uintptr) int32
	irecv          func(buf unsafe.Pointer, count int32, datatype uintptr, source, tag int32, comm uintptr, request *uintptr) int32
	iprobe         func(source, tag int32, comm uintptr, flag *int32, status unsafe.Pointer) int32
	testall        func(count int32, requests *uintptr, done *int32, statuses unsafe.Pointer) int32
	ibcast         func(buf unsafe.Pointer, count int32, datatype uintptr, root int32, comm uintptr, request *uintptr) int32
	iallreduce     func(send, recv unsafe.Pointer, count int32, datatype, op, comm uintptr, request *uintptr) int32
	finalize       func() int32
}

// Engine is a dist.Engine.
type Engine struct {
	lib        library
	name       string
	rank, size int
	requests   []uintptr
	keep       []*tensor.Dense // what is being sent
	sum        []float32
	one        [1]uintptr // request of an operation that is waited for

	calls chan func() // for the thread that began MPI, which has to end it
}

var _ dist.Engine = (*Engine)(nil)

// Open begins MPI. path is a library's file, or "" for those of Names. Errors: *dist.LibraryError.
func Open(path string) (*Engine, error) {
	names := Names
	if path != "" {
		names = []string{path}
	}
	e := &Engine{calls: make(chan func())}
	handle, err := load(names)
	if err != nil {
		return nil, err
	}
	refuse := func(format string, args ...any) error {
		return &dist.LibraryError{Library: "MPI", Tried: names, Reason: fmt.Sprintf(format, args...)}
	}
	if missing := e.lib.bind(handle); len(missing) > 0 {
		return nil, refuse("the library lacks %s: it has another ABI than the standard one of MPI 5.0, which MPICH 5.0.1 and later have",
			strings.Join(missing, ", "))
	}
	var major, minor int32
	if code := e.lib.abiVersion(&major, &minor); code != 0 || major != abiMajor {
		return nil, refuse("the library has another ABI than the standard one of MPI 5.0: it says version %d.%d of that, want %d.x; beside "+
			"MPICH's libmpi.so lies libmpi_abi.so", major, minor, abiMajor)
	}
	e.name = e.version()
	began := make(chan error)
	go e.serve(began)
	if err := <-began; err != nil {
		return nil, refuse("%v", err)
	}
	return e, nil
}

// load opens the first library of some names that is there.
func load(names []string) (uintptr, error) {
	reason := "no library of the standard ABI of MPI 5.0 was found; 'pip install mpich' has one, and --dist-lib or LD_LIBRARY_PATH says where it lies"
	for _, name := range names {
		handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err == nil {
			return handle, nil
		}
		if !dist.NotFound(err, name) {
			reason = err.Error() // it is there, and cannot be used
		}
	}
	return 0, &dist.LibraryError{Library: "MPI", Tried: names, Reason: reason}
}

// bind finds the functions and returns the names of those that are not there.
func (l *library) bind(handle uintptr) (missing []string) {
	for _, f := range []struct {
		to   any
		name string
	}{
		{&l.abiVersion, "MPI_Abi_get_version"}, {&l.libraryVersion, "MPI_Get_library_version"}, {&l.initThread, "MPI_Init_thread"},
		{&l.setErrhandler, "MPI_Comm_set_errhandler"}, {&l.errorString, "MPI_Error_string"}, {&l.rank, "MPI_Comm_rank"},
		{&l.size, "MPI_Comm_size"}, {&l.isend, "MPI_Isend"}, {&l.irecv, "MPI_Irecv"}, {&l.iprobe, "MPI_Iprobe"},
		{&l.testall, "MPI_Testall"}, {&l.ibcast, "MPI_Ibcast"}, {&l.iallreduce, "MPI_Iallreduce"}, {&l.finalize, "MPI_Finalize"},
	} {
		at, err := purego.Dlsym(handle, f.name)
		if err != nil || at == 0 {
			missing = append(missing, f.name)
			continue
		}
		purego.RegisterFunc(f.to, at)
	}
	return missing
}

// version is what the library says of itself: its first line.
func (e *Engine) version() string {
	text, n := make([]byte, mostVersionText), int32(0)
	if e.lib.libraryVersion(&text[0], &n) != 0 || n < 0 || int(n) > len(text) {
		return "MPI"
	}
	first, _, _ := strings.Cut(string(text[:n]), "\n")
	return strings.Join(strings.Fields(strings.TrimRight(first, "\x00")), " ")
}

// serve begins MPI on a thread of its own and ends it there.
func (e *Engine) serve(began chan<- error) {
	runtime.LockOSThread()
	began <- e.begin()
	for f := range e.calls {
		f()
	}
}

func (e *Engine) begin() error {
	var provided, rank, size int32
	if code := e.lib.initThread(nil, nil, threadSerialized, &provided); code != 0 {
		return fmt.Errorf("MPI_Init_thread: error %d", code)
	}
	if provided < threadSerialized {
		return errors.New("the library cannot be called from several threads in turn")
	}
	e.lib.setErrhandler(commWorld, errorsReturn)
	err := errors.Join(e.check("MPI_Comm_rank", e.lib.rank(commWorld, &rank)), e.check("MPI_Comm_size", e.lib.size(commWorld, &size)))
	e.rank, e.size = int(rank), int(size)
	return err
}

// check makes an error of a code.
func (e *Engine) check(call string, code int32) error {
	if code == 0 {
		return nil
	}
	text, n := make([]byte, mostErrorText), int32(0)
	if e.lib.errorString(code, &text[0], &n) != 0 || n < 0 || int(n) > len(text) {
		return fmt.Errorf("%s: error %d", call, code)
	}
	return fmt.Errorf("%s: %s", call, strings.TrimRight(string(text[:n]), "\x00"))
}

// Rank implements dist.Engine.
func (e *Engine) Rank() int { return e.rank }

// Size implements dist.Engine.
func (e *Engine) Size() int { return e.size }

// Name implements dist.Engine.
func (e *Engine) Name() string { return e.name }

// host is a tensor's memory, which is the host's.
func host(t *tensor.Dense) (unsafe.Pointer, int32) {
	return unsafe.Pointer(unsafe.SliceData(t.Raw)), int32(t.Shape().TotalSize())
}

// Send implements dist.Engine.
func (e *Engine) Send(t *tensor.Dense, to int) error {
	at, n := host(t)
	request := requestNull
	if err := e.check("MPI_Isend", e.lib.isend(at, n, typeFloat, int32(to), tag, commWorld, &request)); err != nil {
		return err
	}
	e.requests, e.keep = append(e.requests, request), append(e.keep, t)
	return nil
}

// Blocks implements dist.Engine.
func (e *Engine) Blocks() bool { return false }

// Receive implements dist.Engine.
func (e *Engine) Receive(t *tensor.Dense, from int) error {
	at, n := host(t)
	err := e.finish("MPI_Irecv", func(request *uintptr) int32 {
		return e.lib.irecv(at, n, typeFloat, int32(from), tag, commWorld, request)
	})
	runtime.KeepAlive(t)
	return err
}

// finish begins an operation and waits until it is done.
func (e *Engine) finish(call string, begin func(request *uintptr) int32) error {
	e.one[0] = requestNull
	if err := e.check(call, begin(&e.one[0])); err != nil {
		return err
	}
	return e.await(e.one[:])
}

// spin is how long a rank looks for what it waits for without a break. After that it sleeps between looks: MPI's own waiting would take
// the processor from the rank that it waits for, where there are fewer of them than processes.
const (
	spin = 200 * time.Microsecond
	nap  = 20 * time.Microsecond
)

// await waits until operations are done.
func (e *Engine) await(requests []uintptr) error {
	var began time.Time
	for i := 0; ; i++ {
		var done int32
		err := e.check("MPI_Testall", e.lib.testall(int32(len(requests)), &requests[0], &done, nil))
		if err != nil || done != 0 {
			return err
		}
		switch {
		case i == 0:
			began = time.Now()
		case time.Since(began) > spin:
			time.Sleep(nap)
		}
	}
}

// Ready implements dist.Engine.
func (e *Engine) Ready(from int) bool {
	var flag int32
	return e.lib.iprobe(int32(from), tag, commWorld, &flag, nil) == 0 && flag != 0
}

// Wait implements dist.Engine.
func (e *Engine) Wait() error {
	if len(e.requests) == 0 {
		return nil
	}
	err := e.await(e.requests)
	e.requests, e.keep = e.requests[:0], e.keep[:0]
	return err
}

// Broadcast implements dist.Engine.
func (e *Engine) Broadcast(t *tensor.Dense, root int) error {
	at, n := host(t)
	err := e.finish("MPI_Ibcast", func(request *uintptr) int32 { return e.lib.ibcast(at, n, typeFloat, int32(root), commWorld, request) })
	runtime.KeepAlive(t)
	return err
}

// BroadcastBytes makes b on every rank what it is on root. All give the same length.
func (e *Engine) BroadcastBytes(b []byte, root int) error {
	at, n := unsafe.Pointer(unsafe.SliceData(b)), int32(len(b))
	err := e.finish("MPI_Ibcast", func(request *uintptr) int32 { return e.lib.ibcast(at, n, typeByte, int32(root), commWorld, request) })
	runtime.KeepAlive(b)
	return err
}

// Sum implements dist.Engine.
func (e *Engine) Sum(t *tensor.Dense) error {
	at, n := host(t)
	if len(e.sum) < int(n) {
		e.sum = make([]float32, n)
	}
	err := e.finish("MPI_Iallreduce", func(request *uintptr) int32 {
		return e.lib.iallreduce(at, unsafe.Pointer(&e.sum[0]), n, typeFloat, opSum, commWorld, request)
	})
	copy(unsafe.Slice((*float32)(at), n), e.sum)
	runtime.KeepAlive(t)
	return err
}

// Close implements dist.Engine.
func (e *Engine) Close() error {
	done := make(chan error)
	e.calls <- func() { done <- e.check("MPI_Finalize", e.lib.finalize()) }
	err := <-done
	close(e.calls)
	return err
}
