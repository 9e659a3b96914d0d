// Package distill trains a student to match teachers: hard labels plus the temperature-scaled divergence from the
// teachers' mean probabilities (Hinton, Vinyals and Dean, arXiv:1503.02531):
//
//	loss = α·CE(y, student) + (1-α)·τ²·KL(mean_i softmax(teacher_i/τ) ‖ softmax(student/τ))
//
// Both terms are means over the kept targets; the divergence is a sum over the vocabulary. Teachers run beside the
// student, or their outputs come from a file that holds the K largest probabilities and the mass of all others.
//
// Of mito it imports backend, engine/model, engine/train and engine/files only. A test holds it to that.
package distill
