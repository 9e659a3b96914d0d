// step.cuh reads the scalars of a training step; see backend.StepLR and after.
// A null pointer means that the arguments of the launch say all.
#pragma once
#include "stated.cuh"

enum { kStepLR, kStepBias1, kStepBias2, kStepGradScale, kStepMuonLR, kStepLossScale, kStepEMA, kStepSeed };

DEVICE float times_step(float factor, const float* step, int slot) { return step ? mul(factor, step[slot]) : factor; }

// seed plus that of the step, which lies in three slots of 22 bits.
DEVICE unsigned long long plus_step_seed(unsigned long long seed, const float* step) {
	if (!step) return seed;
	const float* s = step + kStepSeed;
	return seed + ((unsigned long long)(unsigned)s[0] | (unsigned long long)(unsigned)s[1] << 22 |
	               (unsigned long long)(unsigned)s[2] << 44);
}
