package bench

import (
	"fmt"
	"slices"

	"mito/kernels/gemm"
	"mito/kernels/isa"
	"mito/kernels/parallel"
	"mito/kernels/peak"
	"mito/kernels/qgemm"
	"mito/kernels/sparse"
)

// benchTokens is the number of tokens of a training step: 8 sequences of 128.
const benchTokens = 8 * 128

func planKernels(m *meter) error {
	planPeaks(m)
	planGemm(m)
	if err := planQGemm(m); err != nil {
		return err
	}
	if err := planSparse(m); err != nil {
		return err
	}
	planAttention(m)
	planVec(m)
	return nil
}

// planPeaks adds the limits themselves.
func planPeaks(m *meter) {
	for _, threads := range []int{1, m.o.Threads} {
		m.add(Result{Name: "peak/FMA f32", Unit: unitGFLOPS, Threads: threads, Variant: measured()}, fmaLimit(threads), nil)
	}
	for _, v := range peak.Variants() {
		m.add(Result{Name: "peak/MAC int8", Unit: unitGMACS, Threads: 1, Variant: v}, macLimit(v), nil)
	}
	sizes := []int{16 << 10}
	for _, c := range classes() {
		sizes = append(sizes, int(c.config.Params()), 4*int(c.config.Params()))
	}
	for _, bytes := range sizes {
		m.add(Result{Name: fmt.Sprintf("peak/read %d KB", bytes>>10), Unit: unitGBS, Threads: 1, Variant: measured()}, gbs(bytes), nil)
	}
}

// product is a form of C [m,n] = A·B.
type product struct {
	what           string
	m, n, k        int
	transA, transB bool
}

// trainingProducts lists the products of a training step of a class without repetitions: the forward pass (NT), the
// gradient of the input (NN) and that of the weights (TN).
func trainingProducts(c class, tokens int) []product {
	var list []product
	seen := map[[2]int]bool{}
	d, f, v := c.config.HiddenSize, c.config.IntermediateSize, c.config.VocabSize
	for _, w := range [][2]int{{d, d}, {f, d}, {d, f}, {v, d}} { // [out,in]
		if seen[w] {
			continue
		}
		seen[w] = true
		list = append(list,
			product{"forward", tokens, w[0], w[1], false, true},
			product{"dX", tokens, w[1], w[0], false, false},
			product{"dW", w[0], w[1], tokens, true, false})
	}
	return list
}

func (p product) name() string {
	form := map[bool]string{false: "N", true: "T"}
	return fmt.Sprintf("gemm/%s %s%s %dx%dx%d", p.what, form[p.transA], form[p.transB], p.m, p.n, p.k)
}

// args makes the operands.
func (p product) args() *gemm.Args {
	r := source(p.name())
	a := &gemm.Args{
		M: p.m, N: p.n, K: p.k, A: normal(r, p.m*p.k), LDA: p.k, TransA: p.transA, B: normal(r, p.k*p.n), LDB: p.n, TransB: p.transB,
		C: make([]float32, p.m*p.n), LDC: p.n,
	}
	if p.transA {
		a.LDA = p.m
	}
	if p.transB {
		a.LDB = p.k
	}
	return a
}

func planGemm(m *meter) {
	square := []product{
		{"cube", 512, 512, 512, false, false}, {"cube", 512, 512, 512, false, true}, {"cube", 512, 512, 512, true, false},
	}
	add := func(p product, threads int, pool *parallel.Pool) {
		a := p.args()
		m.add(Result{Name: p.name(), Unit: unitGFLOPS, Threads: threads, LimitName: limitFMA},
			per(2*float64(p.m*p.n*p.k)/1e9, func() { gemm.Gemm(a, pool) }), fmaLimit(threads))
	}
	list := square
	for _, c := range classes() {
		list = append(list, trainingProducts(c, benchTokens)...)
	}
	for _, p := range list {
		add(p, 1, nil)
	}
	pool := parallel.New(m.o.Threads)
	m.keep(closer(pool.Close))
	for _, p := range list {
		add(p, m.o.Threads, pool)
	}
}

// closer is a function as an io.Closer.
type closer func()

func (c closer) Close() error { c(); return nil }

// operands are the packed INT8 matrices of a class with their inputs.
type operands struct {
	w        []*qgemm.Packed
	unsigned []bool
	x        [][]int8
	acc      []int32
}

// int8Operands draws them. change, if not nil, changes a matrix before it is packed.
func int8Operands(c class, change func(w []int8, s matrix)) (*operands, error) {
	o := &operands{}
	r := source("int8 " + c.name)
	for _, s := range c.matrices() {
		w := int8s(r, s.n*s.k, false)
		if change != nil {
			change(w, s)
		}
		p, err := qgemm.Pack(w, s.n, s.k)
		if err != nil {
			return nil, err
		}
		o.w, o.unsigned, o.x = append(o.w, p), append(o.unsigned, s.unsigned), append(o.x, int8s(r, s.k, s.unsigned))
		o.acc = make([]int32, max(len(o.acc), p.PaddedN()))
	}
	return o, nil
}

// bytes is the size of the weights.
func (o *operands) bytes() int {
	n := 0
	for _, w := range o.w {
		n += w.N() * w.K()
	}
	return n
}

// step multiplies by every matrix once, as a decoding step does.
func (o *operands) step() {
	for i := range o.w {
		o.one(i)
	}
}

func (o *operands) one(i int) {
	w := o.w[i]
	w.Mul(o.acc, w.PaddedN(), o.x[i], 1, 0, w.N(), o.unsigned[i])
}

// under runs f with a variant of a kernel package chosen.
func under(pkg isa.Switch, variant string, f rate) rate {
	return func() (v float64, err error) {
		defer restore(map[isa.Switch]string{pkg: pkg.Variant()}, &err)
		if err := pkg.SetVariant(variant); err != nil {
			return 0, err
		}
		return f()
	}
}

// kernels finds a kernel package. It is there: this package imports those that it asks for.
func kernels(name string) isa.Switch {
	list := isa.Kernels()
	return list[slices.IndexFunc(list, func(s isa.Switch) bool { return s.Package() == name })]
}

// planQGemm adds the matrix-vector products of the 460K class in every variant, one by one and all of a step.
func planQGemm(m *meter) error {
	c := classes()[0]
	o, err := int8Operands(c, nil)
	if err != nil {
		return err
	}
	pkg, last := kernels("qgemm"), len(o.w)-1
	for _, v := range qgemm.Variants() {
		for _, i := range []int{0, 1, 2, 3, last} {
			s, sign := c.matrices()[i], "signed"
			if s.unsigned {
				sign = "unsigned"
			}
			r := Result{Name: fmt.Sprintf("qgemm/%dx%d %s", s.n, s.k, sign), Unit: unitGMACS, Threads: 1, Variant: v}
			var limit rate
			if hasMACLimit(v, s.unsigned) {
				limit, r.LimitName = macLimit(v), limitMAC
			}
			m.add(r, under(pkg, v, per(float64(s.n*s.k)/1e9, func() { o.one(i) })), limit)
		}
		m.add(Result{Name: "qgemm/" + c.name + " matrices of a step", Unit: unitTokens, Threads: 1, Variant: v, LimitName: limitRead},
			under(pkg, v, per(1, o.step)), readLimit(o.bytes(), 1))
	}
	return nil
}

// hasMACLimit reports whether the measuring loop of a variant is a limit: it uses the same instructions. Without
// assembly no loop is, and AVX2 needs one instruction less where nothing is negative.
func hasMACLimit(variant string, unsigned bool) bool {
	return variant != isa.Generic && slices.Contains(peak.Variants(), variant) && !(variant == isa.AVX2 && unsigned)
}

// sparseLevels are the shares of zero blocks that are measured.
var sparseLevels = []float64{0, 0.5, 0.75}

// planSparse adds the products of a step on 4x8 blocks beside the dense ones of the same weights.
func planSparse(m *meter) error {
	c := classes()[0]
	for _, share := range sparseLevels {
		if _, err := addSparse(m, c, share, fmt.Sprintf("sparse/%s matrices of a step, %.0f%% zero blocks", c.name, 100*share)); err != nil {
			return err
		}
	}
	return nil
}

// sparsePair is what addSparse adds: bytes of both forms.
type sparsePair struct{ sparse, dense int }

// addSparse adds the rate of the sparse products of a class and their ratio to the dense ones on the same weights.
func addSparse(m *meter, c class, share float64, name string) (sparsePair, error) {
	r := source(name)
	var blocks []*sparse.Packed
	var failed error
	dense, err := int8Operands(c, func(w []int8, s matrix) {
		prune(r, w, s, share)
		p, err := sparse.Pack(w, s.n, s.k)
		if err != nil {
			failed = err
			return
		}
		blocks = append(blocks, p)
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return sparsePair{}, err
	}
	bytes := 0
	for _, b := range blocks {
		bytes += b.Bytes()
	}
	step := func() {
		for i, w := range blocks {
			w.Mul(dense.acc, w.PaddedN(), dense.x[i], 1, 0, w.N(), dense.unsigned[i])
		}
	}
	unit := Result{Unit: unitTokens, Threads: 1}
	unit.Name = name + ", dense"
	d := m.hidden(unit, per(1, dense.step), nil)
	unit.Name, unit.LimitName = name, limitRead
	s := m.add(unit, per(1, step), readLimit(bytes, 1))
	m.combine(Result{Name: name + ", products against dense INT8", Unit: unitTimes, Threads: 1}, s, d, divide)
	return sparsePair{bytes, dense.bytes()}, nil
}

// prune sets whole 4x8 blocks of w to zero, the given share of them, drawn at random.
func prune(r interface{ Perm(int) []int }, w []int8, s matrix, share float64) {
	rows, cols := (s.n+sparse.BlockRows-1)/sparse.BlockRows, (s.k+sparse.BlockCols-1)/sparse.BlockCols
	for _, b := range r.Perm(rows * cols)[:int(share*float64(rows*cols))] {
		for i := b / cols * sparse.BlockRows; i < min(s.n, (b/cols+1)*sparse.BlockRows); i++ {
			clear(w[i*s.k+b%cols*sparse.BlockCols : i*s.k+min(s.k, (b%cols+1)*sparse.BlockCols)])
		}
	}
}
