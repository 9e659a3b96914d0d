package cuda

import kernels "mito/kernels/cuda"

// costs are those of the kernels of a training step; the student's INT8 kernels have none. The numbers of operations of
// elementwise kernels are rough: their memory decides.
var costs = costTable()

func costTable() (t [kernels.KernelCount]func(arguments) Cost) {
	set := func(f func(arguments) Cost, ks ...kernels.Kernel) {
		for _, k := range ks {
			t[k] = f
		}
	}
	set(gemmCost(8, true), gemm128[:]...)
	set(gemmCost(8, true), gemm64[:]...)
	set(gemmCost(6, false), gemmF32[:]...)

	set(attentionCost(5, true, 4, 2, 2, 1), kernels.AttentionBF16x32, kernels.AttentionBF16x64, kernels.AttentionBF16x96, kernels.AttentionBF16x128)
	set(attentionCost(7, true, 6, 3, 2, 2), kernels.AttentionDQBF16x32, kernels.AttentionDQBF16x64, kernels.AttentionDQBF16x96, kernels.AttentionDQBF16x128)
	set(attentionCost(8, true, 8, 2, 4, 2), kernels.AttentionDKVBF16x32, kernels.AttentionDKVBF16x64, kernels.AttentionDKVBF16x96, kernels.AttentionDKVBF16x128)
	set(attentionCost(5, false, 4, 2, 2, 1), kernels.AttentionF32x16, kernels.AttentionF32x32)
	set(attentionCost(7, false, 6, 3, 2, 2), kernels.AttentionDQF32x16, kernels.AttentionDQF32x32)
	set(attentionCost(8, false, 8, 2, 4, 2), kernels.AttentionDKVF32x16, kernels.AttentionDKVF32x32)
	set(func(a arguments) Cost {
		n := a.i(3) * a.i(4)
		return Cost{Float32: 2 * n, Bytes: a.width(5, 1)*2*n + f32*a.i(3)}
	}, kernels.AttentionDeltaF32)

	set(streams(3, 1, 3), kernels.AddF32, kernels.MulF32)
	set(streams(4, 3, 3), kernels.LerpF32)
	set(func(a arguments) Cost {
		n := a.long(2)
		return Cost{Float32: n, Bytes: n * (a.width(3, 1) + a.width(4, 1))}
	}, kernels.CastF32)
	set(halfStreams(2, 2, 2), kernels.ReLUF32, kernels.ReLU2F32)
	set(halfStreams(2, 20, 2), kernels.GELUF32, kernels.SiLUF32)
	set(halfStreams(3, 3, 3), kernels.ReLUBackwardF32, kernels.ReLU2BackwardF32, kernels.ReLU2OutputBackwardF32)
	set(halfStreams(3, 20, 3), kernels.GELUBackwardF32, kernels.SiLUBackwardF32, kernels.SwiGLUF32)
	set(halfStreams(5, 25, 5), kernels.SwiGLUBackwardF32)
	set(streams(2, 30, 2), kernels.DropoutF32)
	set(func(a arguments) Cost {
		n := a.long(2)
		return Cost{Float32: n, Bytes: f32 * 2 * n}
	}, kernels.AddRowF32)

	set(func(a arguments) Cost { // a row of the table for each id
		n := a.long(3)
		return Cost{Bytes: f32 * n * (2 + a.has(6))}
	}, kernels.EmbedF32)
	set(func(a arguments) Cost {
		rows, cols, vocab := a.i(5), a.i(6), a.i(7)
		return Cost{Float32: rows * cols, Bytes: f32 * (rows*cols + rows + vocab*(1+cols*float64(a.grid.Y)))}
	}, kernels.EmbedBackwardF32)
	set(func(a arguments) Cost { // ids read and rows written, in as many rounds as an id has bytes
		rounds := float64(embedSortRounds(int(a.i(5))))
		return Cost{Bytes: f32 * (3*rounds*a.i(4) + a.i(5))}
	}, kernels.EmbedSortI32)
	set(streams(4, 0, 3), kernels.GatherRowsI32)
	set(func(a arguments) Cost {
		n := a.i(4) * a.i(5) * a.i(6) * 2
		return Cost{Float32: 3 * n, Bytes: a.width(9, 1) * 2 * n}
	}, kernels.RoPEF32)

	set(rowLoss(8, 1, 1), kernels.CrossEntropyF32)
	set(rowLoss(8, 3, 1), kernels.DistillF32)
	set(rowLoss(10, 2, 1), kernels.DistillTopKF32)
	set(rowLoss(5, 2, 4), kernels.SoftmaxF32)
	set(func(a arguments) Cost {
		n := a.i(5) * a.i(6)
		return Cost{Float32: 4 * n, Bytes: (a.width(7, normResult)+a.width(7, normInput))*n + f32*a.i(5)}
	}, kernels.RMSNormF32)
	set(func(a arguments) Cost {
		n := a.i(7) * a.i(8)
		return Cost{Float32: 7 * n, Bytes: (a.width(9, normResult)+a.width(9, normInput))*n + f32*2*a.i(7)}
	}, kernels.LayerNormF32)
	set(func(a arguments) Cost {
		n := a.i(7) * a.i(8)
		return Cost{
			Float32: 12 * n,
			Bytes: n*(a.width(11, normResult)*(1+a.has(10))+a.width(11, normInput)+a.width(11, normGradient)) +
				f32*(a.i(7)+float64(a.grid.X)*a.i(8)*(1+a.has(5))),
		}
	}, kernels.NormBackwardF32)
	set(func(a arguments) Cost {
		n := a.i(2) * a.i(3)
		return Cost{Float32: n, Bytes: f32 * (n + a.i(2) + 2*a.i(3))}
	}, kernels.AddPartialsF32)
	set(func(a arguments) Cost {
		n := a.i(2) * a.i(3)
		return Cost{Float32: n, Bytes: a.width(5, 1)*n + f32*a.i(3)*float64(a.grid.Y)}
	}, kernels.SumRowsF32)
	set(streams(4, 2, 1), kernels.SumF32, kernels.SumSquaresF32)

	set(streams(9, 15, 7), kernels.AdamWF32)
	set(func(arguments) Cost { return Cost{Bytes: 3 * f32} }, kernels.ClipScaleF32)
	muon := func(operations, tensors float64) func(arguments) Cost {
		return func(a arguments) Cost {
			n := muonElements(a.plan)
			return Cost{Float32: operations * n, Bytes: tensors * f32 * n}
		}
	}
	set(muon(6, 4), kernels.MuonMomentumF32)
	set(muon(1, 2), kernels.MuonNormalizeF32)
	set(muon(4, 3), kernels.MuonUpdateF32)
	set(muonProductCost(true), kernels.MuonBF16NN, kernels.MuonBF16NT, kernels.MuonBF16TN)
	set(muonProductCost(false), kernels.MuonF32NN, kernels.MuonF32NT, kernels.MuonF32TN)
	return t
}
