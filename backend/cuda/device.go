//go:build cuda && linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"fmt"

	"gorgonia.org/cu"

	"mito/backend"
	"mito/backend/cuda/cudax"
	kernels "mito/kernels/cuda"
)

// Attributes of a device that cu has no name for.
const maxSharedOptin = cu.DeviceAttribute(97) // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN

// stagingBytes is the page-locked memory through which uploads pass.
const stagingBytes = 8 << 20

// oldestDriver is the version of CUDA whose drivers first compile PTX of the committed version, as cuDriverGetVersion
// gives it: 1000·major + 10·minor.
const oldestDriver = 11080

// device is a GPU, reached by its driver.
type device struct {
	handle    cu.Device
	stream    cu.Stream
	modules   map[string]cu.Module
	functions [kernels.KernelCount]cu.Function
	loaded    [kernels.KernelCount]bool
	retained  bool
	bf16      bool

	card
	pinned []byte // staging for uploads
	staged int    // bytes of pinned in use

	lt      *cudax.Lt // nil where it is not wanted or not there
	ltPlans []*cudax.LtPlan
	clock   [2]cu.Event
}

// open makes the primary context of the device current in this thread.
func (d *device) open(ordinal int) (card, error) {
	err := d.find(ordinal)
	return d.card, err
}

func (d *device) find(ordinal int) error {
	if v := cu.Version(); v < oldestDriver {
		return fmt.Errorf("the driver is of CUDA %d.%d, %d.%d is needed to compile the kernels: %w",
			v/1000, v%1000/10, oldestDriver/1000, oldestDriver%1000/10, backend.ErrUnavailable)
	}
	n, err := cu.NumDevices()
	if err != nil {
		return fmt.Errorf("counting devices: %w", err)
	}
	if ordinal < 0 || ordinal >= n {
		return fmt.Errorf("device %d asked for, there are %d: %w", ordinal, n, backend.ErrUnavailable)
	}
	if d.handle, err = cu.GetDevice(ordinal); err != nil {
		return err
	}
	if d.name, err = d.handle.Name(); err != nil {
		return err
	}
	for _, q := range []struct {
		dst  *int
		attr cu.DeviceAttribute
	}{
		{&d.major, cu.ComputeCapabilityMajor}, {&d.minor, cu.ComputeCapabilityMinor},
		{&d.processors, cu.MultiprocessorCount}, {&d.maxShared, maxSharedOptin},
	} {
		if *q.dst, err = d.handle.Attribute(q.attr); err != nil {
			return err
		}
	}
	if d.major < 8 {
		return fmt.Errorf("%s has compute capability %d.%d, 8.0 is needed: %w", d.name, d.major, d.minor, backend.ErrUnavailable)
	}
	ctx, err := d.handle.RetainPrimaryCtx()
	if err != nil {
		return err
	}
	d.retained = true
	if err := cu.SetCurrentContext(ctx); err != nil {
		return err
	}
	if d.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return err
	}
	if _, d.memory, err = cu.MemInfo(); err != nil {
		return err
	}
	if d.pinned, err = cudax.AllocPinned(stagingBytes); err != nil {
		return err
	}
	size := workspaceBytes(d.memory)
	if d.workspace, err = d.allocate(size); err != nil {
		return fmt.Errorf("workspace of %d MiB: %w", size>>20, err)
	}
	d.modules = map[string]cu.Module{}
	return nil
}

// close releases everything. The first error is reported; closing goes on.
func (d *device) close() error {
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if d.stream != (cu.Stream{}) {
		note(cudax.Synchronize(d.stream))
	}
	note(d.closeLt())
	for _, m := range d.modules {
		note(m.Unload())
	}
	if d.workspace != 0 {
		note(d.release(d.workspace))
	}
	note(cudax.FreePinned(d.pinned))
	if d.stream != (cu.Stream{}) {
		note(d.stream.Destroy())
	}
	if d.retained {
		note(d.handle.ReleasePrimaryCtx())
	}
	return errors.Join(errs...)
}

// usesDynamicShared are the kernels that may ask for more than 48 KiB.
func usesDynamicShared(k kernels.Kernel) bool {
	switch kernels.Table[k].Module {
	case "attention_bf16", "attention_f32", "gemm_bf16", "norm", "loss", "quant":
		return true
	}
	return false
}

// function returns a kernel, compiling its module when that is first needed.
func (d *device) function(k kernels.Kernel) (cu.Function, error) {
	if d.loaded[k] {
		return d.functions[k], nil
	}
	entry := &kernels.Table[k]
	module, ok := d.modules[entry.Module]
	if !ok {
		image, err := kernels.Image(entry.Module)
		if err != nil {
			return cu.Function{}, err
		}
		if module, err = cudax.LoadPTX(image); err != nil {
			return cu.Function{}, fmt.Errorf("compiling %s: %w", entry.Module, err)
		}
		d.modules[entry.Module] = module
	}
	f, err := module.Function(entry.Name)
	if err != nil {
		return f, fmt.Errorf("kernel %s: %w", entry.Name, err)
	}
	// A driver that loads lazily puts a function on the device when it is first asked about it or launched. Asking here
	// keeps that out of captures.
	a, err := cudax.FunctionAttributes(f)
	if err != nil {
		return f, fmt.Errorf("kernel %s: %w", entry.Name, err)
	}
	if usesDynamicShared(k) {
		if err := cudax.SetMaxDynamicShared(f, d.maxShared-a.Shared); err != nil {
			return f, fmt.Errorf("kernel %s: %d bytes of shared memory: %w", entry.Name, d.maxShared-a.Shared, err)
		}
	}
	d.functions[k], d.loaded[k] = f, true
	return f, nil
}

// needs tells whether the precision uses a module; attention of wide heads is float32 in both.
func (d *device) needs(module string) bool {
	if d.bf16 {
		return module != "gemm_f32" && module != "muon_f32"
	}
	return module != "gemm_bf16" && module != "attention_bf16" && module != "muon_bf16"
}

// loadAll compiles every module that is used: nothing may be compiled while the stream captures.
func (d *device) loadAll() error {
	for k := range kernels.KernelCount {
		if !d.needs(kernels.Table[k].Module) {
			continue
		}
		if _, err := d.function(k); err != nil {
			return err
		}
	}
	return nil
}

// launch enqueues the kernel of a task on the stream.
func (d *device) launch(t *task) error {
	if t.lt.plan != nil {
		return d.runLt(&t.lt)
	}
	f, err := d.function(t.kernel)
	if err != nil {
		return err
	}
	if want := len(kernels.Table[t.kernel].Params); t.args.Len() != want {
		return fmt.Errorf("kernel %s: %d arguments, want %d: %w", t.kernel, t.args.Len(), want, cudax.ErrInvalidValue)
	}
	if err := cudax.Launch(f, t.grid, t.block, t.shared, d.stream, &t.args); err != nil {
		return fmt.Errorf("kernel %s: %w", t.kernel, err)
	}
	return nil
}
