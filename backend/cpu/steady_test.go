package cpu

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"mito/backend"
	"mito/backend/backendtest"
	"mito/backend/memlimit"
)

// No result depends on the number of threads.
func TestThreads(t *testing.T) {
	want := backendtest.Outputs(t, openThreads(t, 1))
	for _, n := range []int{2, 3} {
		for name, got := range backendtest.Outputs(t, openThreads(t, n)) {
			if !slices.Equal(got, want[name]) {
				t.Errorf("%s differs with %d threads", name, n)
			}
		}
	}
}

// The integer products pack their weight at every call, see QLinear.
func TestAllocations(t *testing.T) {
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprint(n, " threads"), func(t *testing.T) { backendtest.Allocations(t, openThreads(t, n), "QLinear", "QSparseLinear") })
	}
}

// Memory beyond the machine's is an error that says how much there is, and leaves the backend usable.
func TestOutOfMemory(t *testing.T) {
	b := openThreads(t, 1)
	memory, known := memlimit.Process()
	if !known {
		t.Skip("the size of memory is not known on this system")
	}
	_, err := b.NewSlab(memory.Total.Bytes + 1)
	var out *backend.MemoryError
	if !errors.Is(err, backend.ErrOutOfMemory) || !errors.As(err, &out) || out.Free <= 0 || out.Free > memory.Total.Bytes {
		t.Fatalf("got %v, want a *MemoryError with what is free", err)
	}
	// What is reserved counts, touched or not: the second half of the memory is not given twice.
	half, err := b.NewSlab(memory.Free.Free / 2)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := b.NewSlab(memory.Total.Bytes - memory.Free.Free/2 + 1); !errors.As(err, &out) {
		t.Errorf("more than is left beside half of the memory: %v, %v", second, err)
	}
	if err := half.Free(); err != nil {
		t.Fatal(err)
	}
	s, err := b.NewSlab(1 << 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.New(backend.F32, 257); !errors.Is(err, backend.ErrOutOfMemory) {
		t.Errorf("257 float32 of 1024 bytes: %v, want ErrOutOfMemory", err)
	}
}

// Two backends of one kind still own different memory.
func TestForeignBackend(t *testing.T) {
	a, b := openThreads(t, 1), openThreads(t, 1)
	slab, err := a.NewSlab(1 << 10)
	if err != nil {
		t.Fatal(err)
	}
	x, err := slab.New(backend.F32, 4)
	if err != nil {
		t.Fatal(err)
	}
	var owner *backend.OwnerError
	if err := b.Add(x, x, x); !errors.As(err, &owner) || owner.Op != "Add" {
		t.Errorf("got %v, want an *OwnerError of Add", err)
	}
}

// A freed slab is not kept by the operations that used it.
func TestFreeLetsGo(t *testing.T) {
	b := openThreads(t, 1)
	slab, err := b.NewSlab(1 << 12)
	if err != nil {
		t.Fatal(err)
	}
	x, err := slab.New(backend.F32, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(x, x, x); err != nil {
		t.Fatal(err)
	}
	if err := slab.Free(); err != nil {
		t.Fatal(err)
	}
	if b.tasks.add.dst != nil {
		t.Error("the task of Add still holds its operands")
	}
	if _, err := slab.New(backend.F32, 1); !errors.Is(err, backend.ErrOutOfMemory) {
		t.Errorf("a freed slab gave %v, want ErrOutOfMemory", err)
	}
}
