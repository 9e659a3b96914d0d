// Package kv holds the INT8 keys and values of decoded sequences in pages, and attends to them from single positions. Its
// arithmetic is that of the student's specification: the same bits in every variant and for every page size.
//
// It is what the student ships, so it imports package isa and package vec only: no product of float matrices. Attention over
// float32 pages, and that of training, are in package attn.
//
// Letters: H query heads, G key and value heads, D head dimension.
package kv
