package gemm

import "unsafe"

const genericMR = 2

func genericFuncs() funcs {
	f := funcs{mr: genericMR, nr: 8, strip: genericMR, packRows: packRowsGeneric, packCols: packColsGeneric, packStrip: packStripGeneric}
	f.blocks = genericBlocks()
	f.full[1] = func(t *tile) { gemmF32Rows1(t, 8) }
	f.full[2] = func(t *tile) { gemmF32Rows2(t, 8) }
	f.half[1] = func(t *tile) { gemmF32Rows1(t, 4) }
	f.half[2] = func(t *tile) { gemmF32Rows2(t, 4) }
	for r := 1; r <= smallRows; r++ {
		f.small[r] = []smallKernel{{1, func(t *tile) { gemmF32SmallGeneric(t, r) }}}
	}
	return f
}

func at(p unsafe.Pointer, off int) *float32 { return (*float32)(unsafe.Add(p, off)) }

// The rounding of every product is written out: without it arm64 and others fuse.

func gemmF32Rows1(t *tile, cols int) {
	for j := 0; j < 4*cols; j += 16 {
		s, c := (*[4]float32)(unsafe.Add(t.src, j)), (*[4]float32)(unsafe.Add(t.c, j))
		c0, c1, c2, c3 := s[0], s[1], s[2], s[3]
		pa, pb := 0, j
		for range t.k {
			b := (*[4]float32)(unsafe.Add(t.b, pb))
			a := *at(t.a, pa)
			c0 += float32(a * b[0])
			c1 += float32(a * b[1])
			c2 += float32(a * b[2])
			c3 += float32(a * b[3])
			pa += t.aks
			pb += t.bks
		}
		c[0], c[1], c[2], c[3] = c0, c1, c2, c3
	}
}

func gemmF32Rows2(t *tile, cols int) {
	for j := 0; j < 4*cols; j += 16 {
		s, c := (*[4]float32)(unsafe.Add(t.src, j)), (*[4]float32)(unsafe.Add(t.c, j))
		u, d := (*[4]float32)(unsafe.Add(t.src, t.srs+j)), (*[4]float32)(unsafe.Add(t.c, t.crs+j))
		c0, c1, c2, c3 := s[0], s[1], s[2], s[3]
		d0, d1, d2, d3 := u[0], u[1], u[2], u[3]
		pa, pb := 0, j
		for range t.k {
			b := (*[4]float32)(unsafe.Add(t.b, pb))
			a, e := *at(t.a, pa), *at(t.a, pa+t.ars)
			c0 += float32(a * b[0])
			c1 += float32(a * b[1])
			c2 += float32(a * b[2])
			c3 += float32(a * b[3])
			d0 += float32(e * b[0])
			d1 += float32(e * b[1])
			d2 += float32(e * b[2])
			d3 += float32(e * b[3])
			pa += t.aks
			pb += t.bks
		}
		c[0], c[1], c[2], c[3] = c0, c1, c2, c3
		d[0], d[1], d[2], d[3] = d0, d1, d2, d3
	}
}

// gemmF32SmallGeneric computes rows of one panel of Packed, four columns at a time.
func gemmF32SmallGeneric(t *tile, rows int) {
	row := *t
	for i := range rows {
		row.a = unsafe.Add(t.a, i*t.ars)
		row.src = unsafe.Add(t.src, i*t.srs)
		row.c = unsafe.Add(t.c, i*t.crs)
		gemmF32Rows1(&row, panelCols)
	}
}

func packRowsGeneric(dst, src *float32, rows, n, ld int) {
	d, s := unsafe.Slice(dst, rows*n), unsafe.Slice(src, (rows-1)*ld+n)
	for r := range rows {
		copy(d[r*n:(r+1)*n], s[r*ld:])
	}
}

func packColsGeneric(dst, src *float32, rows, n, ld int) {
	d, s := unsafe.Slice(dst, rows*n), unsafe.Slice(src, (n-1)*ld+rows)
	for j := range n {
		for k, v := range s[j*ld : j*ld+rows] {
			d[k*n+j] = v
		}
	}
}

func packStripGeneric(dst, src *float32, k, r, ld int) { packStrip(dst, src, k, r, ld, genericMR) }

func packStrip(dst, src *float32, k, r, ld, strip int) {
	d, s := unsafe.Slice(dst, k*strip), unsafe.Slice(src, (k-1)*ld+r)
	for i := range k {
		copy(d[i*strip:i*strip+r], s[i*ld:])
	}
}
