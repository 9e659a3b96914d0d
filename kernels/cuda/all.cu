// Every kernel in one translation unit, for the host emulator. The PTX is made
// from the files one by one.
#include "attention_bf16.cu"
#include "attention_f32.cu"
#include "elementwise.cu"
#include "embedding.cu"
#include "gemm_bf16.cu"
#include "gemm_f32.cu"
#include "loss.cu"
#include "norm.cu"
#include "optim.cu"
#include "quant.cu"
#include "reduce.cu"
