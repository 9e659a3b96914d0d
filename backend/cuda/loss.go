package cuda

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	kernels "mito/kernels/cuda"
)

// CrossEntropy implements backend.Loss. A target outside the vocabulary whose weight is not zero gives a loss of NaN.
func (b *Backend) CrossEntropy(loss, dlogits, logits, targets, weights *tensor.Dense, args backend.CrossEntropyArgs) error {
	n, v, err := check.CrossEntropy(b, loss, dlogits, logits, targets, weights, args)
	if err != nil {
		return err
	}
	b.begin("CrossEntropy", kernels.CrossEntropyF32).Ptr(at(loss)).Ptr(at(dlogits)).Ptr(at(logits)).Ptr(at(targets)).
		Ptr(at(weights)).F32(args.Smoothing).F32(args.Scale).Ptr(at(args.Step)).I32(v)
	return b.run(line(n), line(rowThreads(v)))
}

// Distill implements backend.Loss.
func (b *Backend) Distill(kl, dlogits, logits, probs, weights *tensor.Dense, args backend.DistillArgs) error {
	n, v, err := check.Distill(b, kl, dlogits, logits, probs, weights, args)
	if err != nil {
		return err
	}
	b.begin("Distill", kernels.DistillF32).Ptr(at(kl)).Ptr(at(dlogits)).Ptr(at(logits)).Ptr(at(probs)).Ptr(at(weights)).
		F32(args.Temperature).F32(args.Scale).Ptr(at(args.Step)).I32(v)
	return b.run(line(n), line(rowThreads(v)))
}

// DistillTopK implements backend.Loss. An id outside the vocabulary gives a loss of NaN.
func (b *Backend) DistillTopK(kl, dlogits, logits, ids, probs, tail, weights *tensor.Dense, args backend.DistillArgs) error {
	n, v, k, err := check.DistillTopK(b, kl, dlogits, logits, ids, probs, tail, weights, args)
	if err != nil {
		return err
	}
	b.begin("DistillTopK", kernels.DistillTopKF32).Ptr(at(kl)).Ptr(at(dlogits)).Ptr(at(logits)).Ptr(at(ids)).Ptr(at(probs)).
		Ptr(at(tail)).Ptr(at(weights)).F32(args.Temperature).F32(args.Scale).Ptr(at(args.Step)).I32(v).I32(k)
	b.task.shared = 4 * ceil(v, 32)
	return b.run(line(n), line(rowThreads(v)))
}

// Sum implements backend.Loss.
func (b *Backend) Sum(dst, x *tensor.Dense) error {
	n, err := check.Reduce(b, "Sum", dst, x)
	if err != nil {
		return err
	}
	return b.reduce("Sum", kernels.SumF32, at(dst), at(x), n)
}
