package backend

import "gorgonia.org/tensor"

// CrossEntropyArgs selects the form of CrossEntropy.
type CrossEntropyArgs struct {
	Smoothing float32       // label smoothing ε in [0,1): target (1-ε)·onehot + ε/V, arXiv:1512.00567
	Scale     float32       // of the gradient, e.g. 1/(weighted targets of the whole batch)
	Step      *tensor.Dense // [StepLen], whose StepLossScale multiplies Scale, or nil
}

// DistillArgs selects the form of the distillation losses.
type DistillArgs struct {
	Temperature float32       // τ > 0
	Scale       float32       // of the gradient
	Step        *tensor.Dense // [StepLen], whose StepLossScale multiplies Scale, or nil
}

// Loss groups the losses. Each takes per-row weights: zero takes a row out of loss and gradient.
type Loss interface {
	// CrossEntropy computes loss[n] = weights[n]·CE(logits[n], targets[n]) in nats and, where dlogits is not nil,
	// sets dlogits = scale·weights[n]·∂CE/∂logits, where scale is Scale times that of Step. dlogits may alias logits.
	//
	//	loss, weights [N] f32   dlogits, logits [N,V] f32   targets [N] i32
	//
	// A target outside the vocabulary is allowed where its weight is zero.
	CrossEntropy(loss, dlogits, logits, targets, weights *tensor.Dense, args CrossEntropyArgs) error

	// Distill computes kl[n] = weights[n]·τ²·KL(probs[n] ‖ softmax(logits[n]/τ)) and adds
	// scale·weights[n]·∂/∂logits of it to dlogits, arXiv:1503.02531. dlogits must not alias logits.
	//
	//	kl, weights [N] f32   dlogits, logits, probs [N,V] f32 (the teacher's probabilities at temperature τ)
	Distill(kl, dlogits, logits, probs, weights *tensor.Dense, args DistillArgs) error

	// DistillTopK is Distill against the teacher's K largest probabilities and the mass of all others, which is
	// compared as one bucket.
	//
	//	ids [N,K] i32   probs [N,K] f32   tail [N] f32   the rest as in Distill
	DistillTopK(kl, dlogits, logits, ids, probs, tail, weights *tensor.Dense, args DistillArgs) error

	// Sum adds the elements of x to dst. The order is fixed and does not depend on threads.
	//
	//	dst [1] f32   x any f32
	Sum(dst, x *tensor.Dense) error
}
