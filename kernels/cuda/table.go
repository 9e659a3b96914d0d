// Code generated from ptx/*.ptx by go generate. DO NOT EDIT.

package cuda

// The kernels. What each does and how it is launched stands in its source.
const (
	AttentionBF16x128 Kernel = iota
	AttentionBF16x32
	AttentionBF16x64
	AttentionBF16x96
	AttentionDKVBF16x128
	AttentionDKVBF16x32
	AttentionDKVBF16x64
	AttentionDKVBF16x96
	AttentionDQBF16x128
	AttentionDQBF16x32
	AttentionDQBF16x64
	AttentionDQBF16x96
	AttentionDeltaF32
	AttentionDKVF32x16
	AttentionDKVF32x32
	AttentionDQF32x16
	AttentionDQF32x32
	AttentionF32x16
	AttentionF32x32
	AddF32
	AddRowF32
	CastF32
	DropoutF32
	GELUBackwardF32
	GELUF32
	LerpF32
	MulF32
	ReLU2BackwardF32
	ReLU2F32
	ReLU2OutputBackwardF32
	ReLUBackwardF32
	ReLUF32
	SiLUBackwardF32
	SiLUF32
	SwiGLUBackwardF32
	SwiGLUF32
	EmbedSortI32
	EmbedBackwardF32
	EmbedF32
	GatherRowsI32
	RoPEF32
	GemmBF16NNx128
	GemmBF16NNx64
	GemmBF16NTx128
	GemmBF16NTx64
	GemmBF16TNx128
	GemmBF16TNx64
	GemmBF16TTx128
	GemmBF16TTx64
	GemmF32NN
	GemmF32NT
	GemmF32TN
	GemmF32TT
	CrossEntropyF32
	DistillF32
	DistillTopKF32
	SoftmaxF32
	MuonMomentumF32
	MuonNormalizeF32
	MuonUpdateF32
	MuonBF16NN
	MuonBF16NT
	MuonBF16TN
	MuonF32NN
	MuonF32NT
	MuonF32TN
	LayerNormF32
	NormBackwardF32
	RMSNormF32
	AdamWF32
	ClipScaleF32
	QAttentionF32
	QEmbedF32
	QLinearDP4A
	QLinearMMA
	QSparseLinear
	QuantizeRowsF32
	AddPartialsF32
	SumF32
	SumRowsF32
	SumSquaresF32
	KernelCount
)

// Table describes every kernel.
var Table = [KernelCount]Entry{
	AttentionBF16x128:      {"attention_bf16_128", "attention_bf16", "llllliiiiifli"},
	AttentionBF16x32:       {"attention_bf16_32", "attention_bf16", "llllliiiiifli"},
	AttentionBF16x64:       {"attention_bf16_64", "attention_bf16", "llllliiiiifli"},
	AttentionBF16x96:       {"attention_bf16_96", "attention_bf16", "llllliiiiifli"},
	AttentionDKVBF16x128:   {"attention_dkv_bf16_128", "attention_bf16", "lllllllliiiiifli"},
	AttentionDKVBF16x32:    {"attention_dkv_bf16_32", "attention_bf16", "lllllllliiiiifli"},
	AttentionDKVBF16x64:    {"attention_dkv_bf16_64", "attention_bf16", "lllllllliiiiifli"},
	AttentionDKVBF16x96:    {"attention_dkv_bf16_96", "attention_bf16", "lllllllliiiiifli"},
	AttentionDQBF16x128:    {"attention_dq_bf16_128", "attention_bf16", "llllllliiiiifli"},
	AttentionDQBF16x32:     {"attention_dq_bf16_32", "attention_bf16", "llllllliiiiifli"},
	AttentionDQBF16x64:     {"attention_dq_bf16_64", "attention_bf16", "llllllliiiiifli"},
	AttentionDQBF16x96:     {"attention_dq_bf16_96", "attention_bf16", "llllllliiiiifli"},
	AttentionDeltaF32:      {"attention_delta_f32", "attention_f32", "llliii"},
	AttentionDKVF32x16:     {"attention_dkv_f32_16", "attention_f32", "lllllllliiiiifli"},
	AttentionDKVF32x32:     {"attention_dkv_f32_32", "attention_f32", "lllllllliiiiifli"},
	AttentionDQF32x16:      {"attention_dq_f32_16", "attention_f32", "llllllliiiiifli"},
	AttentionDQF32x32:      {"attention_dq_f32_32", "attention_f32", "llllllliiiiifli"},
	AttentionF32x16:        {"attention_f32_16", "attention_f32", "llllliiiiifli"},
	AttentionF32x32:        {"attention_f32_32", "attention_f32", "llllliiiiifli"},
	AddF32:                 {"add_f32", "elementwise", "llll"},
	AddRowF32:              {"add_row_f32", "elementwise", "llli"},
	CastF32:                {"cast_f32", "elementwise", "lllii"},
	DropoutF32:             {"dropout_f32", "elementwise", "llliiflll"},
	GELUBackwardF32:        {"gelu_backward_f32", "elementwise", "lllli"},
	GELUF32:                {"gelu_f32", "elementwise", "llli"},
	LerpF32:                {"lerp_f32", "elementwise", "llfll"},
	MulF32:                 {"mul_f32", "elementwise", "llll"},
	ReLU2BackwardF32:       {"relu2_backward_f32", "elementwise", "lllli"},
	ReLU2F32:               {"relu2_f32", "elementwise", "llli"},
	ReLU2OutputBackwardF32: {"relu2_output_backward_f32", "elementwise", "lllli"},
	ReLUBackwardF32:        {"relu_backward_f32", "elementwise", "lllli"},
	ReLUF32:                {"relu_f32", "elementwise", "llli"},
	SiLUBackwardF32:        {"silu_backward_f32", "elementwise", "lllli"},
	SiLUF32:                {"silu_f32", "elementwise", "llli"},
	SwiGLUBackwardF32:      {"swiglu_backward_f32", "elementwise", "lllllli"},
	SwiGLUF32:              {"swiglu_f32", "elementwise", "lllli"},
	EmbedSortI32:           {"embed_sort_i32", "embed_sort", "llllii"},
	EmbedBackwardF32:       {"embed_backward_f32", "embedding", "llllliii"},
	EmbedF32:               {"embed_f32", "embedding", "lllliii"},
	GatherRowsI32:          {"gather_rows_i32", "embedding", "lllllii"},
	RoPEF32:                {"rope_f32", "embedding", "lllliiiiii"},
	GemmBF16NNx128:         {"gemm_bf16_nn_128", "gemm_bf16", "lllllllliiiifiiiillllllii"},
	GemmBF16NNx64:          {"gemm_bf16_nn_64", "gemm_bf16", "lllllllliiiifiiiillllllii"},
	GemmBF16NTx128:         {"gemm_bf16_nt_128", "gemm_bf16", "lllllllliiiifiiiillllllii"},
	GemmBF16NTx64:          {"gemm_bf16_nt_64", "gemm_bf16", "lllllllliiiifiiiillllllii"},
	GemmBF16TNx128:         {"gemm_bf16_tn_128", "gemm_bf16", "lllllllliiiifiiiillllllii"},
	GemmBF16TNx64:          {"gemm_bf16_tn_64", "gemm_bf16", "lllllllliiiifiiiillllllii"},
	GemmBF16TTx128:         {"gemm_bf16_tt_128", "gemm_bf16", "lllllllliiiifiiiillllllii"},
	GemmBF16TTx64:          {"gemm_bf16_tt_64", "gemm_bf16", "lllllllliiiifiiiillllllii"},
	GemmF32NN:              {"gemm_f32_nn", "gemm_f32", "lllllliiifii"},
	GemmF32NT:              {"gemm_f32_nt", "gemm_f32", "lllllliiifii"},
	GemmF32TN:              {"gemm_f32_tn", "gemm_f32", "lllllliiifii"},
	GemmF32TT:              {"gemm_f32_tt", "gemm_f32", "lllllliiifii"},
	CrossEntropyF32:        {"cross_entropy_f32", "loss", "lllllffli"},
	DistillF32:             {"distill_f32", "loss", "lllllffli"},
	DistillTopKF32:         {"distill_topk_f32", "loss", "lllllllfflii"},
	SoftmaxF32:             {"softmax_f32", "loss", "llffii"},
	MuonMomentumF32:        {"muon_momentum_f32", "muon", "llllllfi"},
	MuonNormalizeF32:       {"muon_normalize_f32", "muon", "lll"},
	MuonUpdateF32:          {"muon_update_f32", "muon", "llllf"},
	MuonBF16NN:             {"muon_bf16_nn", "muon_bf16", "liiillll"},
	MuonBF16NT:             {"muon_bf16_nt", "muon_bf16", "liiillll"},
	MuonBF16TN:             {"muon_bf16_tn", "muon_bf16", "liiillll"},
	MuonF32NN:              {"muon_f32_nn", "muon_f32", "liiillll"},
	MuonF32NT:              {"muon_f32_nt", "muon_f32", "liiillll"},
	MuonF32TN:              {"muon_f32_tn", "muon_f32", "liiillll"},
	LayerNormF32:           {"layernorm_f32", "norm", "llllllfiii"},
	NormBackwardF32:        {"norm_backward_f32", "norm", "llllllliiiii"},
	RMSNormF32:             {"rmsnorm_f32", "norm", "llllfiii"},
	AdamWF32:               {"adamw_f32", "optim", "lllllffffll"},
	ClipScaleF32:           {"clip_scale_f32", "optim", "llf"},
	QAttentionF32:          {"qattention_f32", "quant", "lllllliiiiiiif"},
	QEmbedF32:              {"qembed_f32", "quant", "lllllii"},
	QLinearDP4A:            {"qlinear_dp4a", "quant", "lllllliii"},
	QLinearMMA:             {"qlinear_mma", "quant", "lllllliii"},
	QSparseLinear:          {"qsparse_linear", "quant", "lllllllliii"},
	QuantizeRowsF32:        {"quantize_rows_f32", "quant", "llliii"},
	AddPartialsF32:         {"add_partials_f32", "reduce", "lliii"},
	SumF32:                 {"sum_f32", "reduce", "lllll"},
	SumRowsF32:             {"sum_rows_f32", "reduce", "lliiii"},
	SumSquaresF32:          {"sum_squares_f32", "reduce", "lllll"},
}
