package cuda

import (
	"fmt"
	"math"
	"time"

	"mito/backend/cuda/cudax"
	kernels "mito/kernels/cuda"
)

// A plain product, alone in its launch and without an epilogue, may run in cuBLASLt. Which of the two is faster is measured when a
// shape first comes outside a recording: both run on the real operands, with a result of their own.

// ltPlan is a product of the library; *cudax.LtPlan where there is a device.
type ltPlan any

// ltCall is a launch of the library.
type ltCall struct {
	plan        ltPlan
	c, a, b     cudax.Address
	alpha, beta float32
	workspace   cudax.Address
	bytes       int64
}

// ltMachine is a machine that may have the library.
type ltMachine interface {
	machine
	// openLt loads the library and returns its name, or why there is none.
	openLt() (string, error)
	planLt(x *matrix, workspace int64) (ltPlan, error)
	// mark notes the time of the device, of the beginning or the end; between waits and gives the difference.
	mark(end bool) error
	between() (time.Duration, error)
}

// ltShape is what products have in common that take as long; the library counts on operands at multiples of ltAlignment bytes.
type ltShape struct {
	m, n, k, form int
	accumulate    bool
}

const ltAlignment = 16

// ProductTime is how long a product of one shape took, in mito's kernel and in cuBLASLt.
type ProductTime struct {
	M, N, K                    int
	TransA, TransB, Accumulate bool
	Own, Library               time.Duration // Library is 0 where that has no such product
}

// ltChooser remembers which shapes the library computes.
type ltChooser struct {
	machine ltMachine // nil: none
	plans   map[ltShape]ltPlan
	times   []ProductTime
}

// openLt looks for the library and says who computes products.
func (b *Backend) openLt() string {
	m, ok := b.machine.(ltMachine)
	if !ok {
		return "mito's kernels"
	}
	library, why := "", error(nil)
	_ = b.queue.do("Open", func() error {
		library, why = m.openLt()
		return nil
	})
	if why != nil {
		return fmt.Sprintf("mito's kernels (%v)", why)
	}
	b.lt.machine = m
	return library + " where it is faster, mito's kernels"
}

// ProductTimes lists what was measured.
func (b *Backend) ProductTimes() []ProductTime { return b.lt.times }

// productLt sends a product to the library where that is faster. It tells whether it did.
func (b *Backend) productLt(op string, x *matrix) (bool, error) {
	at16 := (x.a|x.b|x.c)%ltAlignment == 0
	if b.lt.machine == nil || x.types != 0 || x.members > 1 || x.bias != 0 || x.epilogue.kind != epiloguePlain || !at16 {
		return false, nil
	}
	shape := ltShape{x.m, x.n, x.k, x.form(), x.accumulate}
	plan, known := b.lt.plans[shape]
	if !known {
		if b.capturing { // nothing may wait for the device
			return false, nil
		}
		var err error
		if plan, err = b.measureLt(op, x); err != nil {
			return false, err
		}
		if b.lt.plans == nil {
			b.lt.plans = map[ltShape]ltPlan{}
		}
		b.lt.plans[shape] = plan
	}
	if plan == nil {
		return false, nil
	}
	return true, b.sendLt(op, x, plan)
}

func (b *Backend) sendLt(op string, x *matrix, plan ltPlan) error {
	b.begin(op, kernels.Kernel(0))
	b.task.lt = ltCall{
		plan: plan, c: x.c, a: x.a, b: x.b, alpha: x.alpha, beta: float32(flag(x.accumulate)),
		workspace: b.work.base + workspaceHead, bytes: b.work.room(),
	}
	return b.run(line(1), line(1))
}

// measureLt returns the library's plan of a product where that is faster than the own kernel, and nil where it is not, where the
// library has none, or where there is no room for a second result. Errors: of the device.
func (b *Backend) measureLt(op string, x *matrix) (best ltPlan, err error) {
	trial := *x // of its own, so that products that are not measured stay where they are
	t := ProductTime{M: x.m, N: x.n, K: x.k, TransA: x.transA, TransB: x.transB, Accumulate: x.accumulate}
	var plan ltPlan
	_ = b.queue.do(op, func() error {
		if plan, err = b.lt.machine.planLt(&trial, b.work.room()); err == nil {
			trial.c, err = b.machine.allocate(int64(trial.m) * int64(trial.n) * f32)
		}
		return nil
	})
	if err != nil {
		return nil, nil // what the library refuses, mito's kernel does
	}
	if t.Own, err = b.timeProduct(op, func() error { return b.productBF16(op, &trial) }); err == nil {
		t.Library, err = b.timeProduct(op, func() error { return b.sendLt(op, &trial, plan) })
	}
	if e := b.queue.do(op, func() error { return b.machine.release(trial.c) }); err == nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("measuring a product of %d×%d×%d: %w", x.m, x.n, x.k, err)
	}
	b.lt.times = append(b.lt.times, t)
	if t.Library < t.Own {
		return plan, nil
	}
	return nil, nil
}

// timeProduct is the device's time of one call: the shortest of a few rounds, after one that warms up.
func (b *Backend) timeProduct(op string, send func() error) (time.Duration, error) {
	const rounds, calls = 4, 3
	best := time.Duration(math.MaxInt64)
	for range rounds {
		if err := b.queue.do(op, func() error { return b.lt.machine.mark(false) }); err != nil {
			return 0, err
		}
		for range calls {
			if err := send(); err != nil {
				return 0, err
			}
		}
		var took time.Duration
		err := b.queue.do(op, func() (err error) {
			if err = b.lt.machine.mark(true); err == nil {
				took, err = b.lt.machine.between()
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		best = min(best, took/calls)
	}
	return best, b.queue.err()
}
