package vec

// NormGainBackward adds to the gradient of a norm's gain what one row contributes; the other half of RMSNormBackward (mean 0)
// and LayerNormBackward, for callers that split the sum over rows by column:
//
//	dgain[i] = dgain[i] + float32(dy[i]*float32(float32(x[i]-mean)*rstd))
func NormGainBackward(dgain, dy, x []float32, mean, rstd float32) {
	normGainBackward(dgain, dy[:len(dgain)], x[:len(dgain)], mean, rstd)
}
