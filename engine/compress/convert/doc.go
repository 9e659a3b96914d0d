// Package convert changes the attention of a trained model into a cheaper one that a short training heals: fewer key and
// value heads (GQA and MQA, arXiv:2305.13245), and a window in place of all positions. Both make the cache smaller, which is
// what decoding reads and a device holds.
//
// Of H query heads and G groups of key and value heads, each of the G' new ones stands for G/G' old ones. With [Mean] it is
//
//	K'[g] = mean of K[g·G/G'] … K[(g+1)·G/G'-1]   the rows of k_proj [G·D,C], and so v_proj and the biases
//
// and query and output stay as they are. Heads that were trained apart have nothing to do with each other, so that a mean is
// worth little: [Fit] finds what they have most in common, and changes query and output to go with it.
//
// Of mito it imports engine/arch, engine/decode, engine/model and engine/train only. A test holds it to that.
package convert
