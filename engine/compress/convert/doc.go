// Package convert changes the attention of a trained model into a cheaper one that a short training heals: fewer key and
// value heads (GQA and MQA, arXiv:2305.13245), and a window in place of all positions. Both make the cache smaller, which is
// what decoding reads and a device holds.
//
// Of H query heads and G groups of key and value heads, each of the G' new ones stands for G/G' old ones:
//
//	K'[g] = mean of K[g·G/G'] … K[(g+1)·G/G'-1]   the rows of k_proj [G·D,C], and so v_proj and the biases
//
// which is what query head h looked at before, for h·G'/H is g. Query, output and QK-norm stay as they are.
//
// Of mito it imports engine/arch, engine/model and engine/train only. A test holds it to that.
package convert
