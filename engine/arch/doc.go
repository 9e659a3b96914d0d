// Package arch describes the architecture of a model, once: its [Config], the bounds that every reader holds it to, and
// the list of [Module] values from which parameters, weights on disk, quantisation, runtimes and exports derive.
//
// It imports the standard library only, so that the student's runtime, which ships, can use it. A test holds it to that.
//
// Letters: C width of the model, H query heads, G key/value heads, D head width, F width of the MLP, V vocabulary,
// P positions (the context), E width of the per-layer embeddings.
package arch
