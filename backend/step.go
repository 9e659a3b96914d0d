package backend

// The scalars of a training step live in one small tensor, [StepLen] f32, so that a captured graph can be replayed with
// new values: an operation that takes it reads what it needs when it runs. Where an operation may do without, nil means
// that its host arguments say all.
const (
	StepLR        = iota // learning rate of AdamW
	StepBias1            // 1-β₁ᵗ
	StepBias2            // 1-β₂ᵗ
	StepGradScale        // factor applied to every gradient, written by ClipScale
	StepMuonLR           // learning rate of Muon
	StepLossScale        // factor of the gradients of losses, e.g. 1/(weighted targets of the whole batch)
	StepEMA              // weight of the new parameters in their moving average
	StepSeed             // of dropout: three slots, see PutSeed
	StepLen       = 16
)

// seedBits is the part of a seed that one slot holds: an integer that a float32 represents exactly.
const seedBits = 22

// PutSeed stores a seed in the host's copy of a step tensor: bits 0-21, 22-43 and 44-63 as three whole numbers from
// step[StepSeed] on. No slot is ever NaN or rounded, wherever it is copied.
func PutSeed(step []float32, seed uint64) {
	for i := range 3 {
		step[StepSeed+i] = float32(seed >> (i * seedBits) & (1<<seedBits - 1))
	}
}

// Seed is what PutSeed stored.
func Seed(step []float32) (seed uint64) {
	for i := range 3 {
		seed |= uint64(step[StepSeed+i]) << (i * seedBits)
	}
	return seed
}
