// Package c99 writes an INT8 student as C99 for devices, which computes the bits of engine/student/SPEC.md, version 2.
//
//	model.h     sizes, digest and what memory is needed, as macros
//	model.c     weights, tables and tokens as const arrays: rows padded to 4 bytes, floats in hexadecimal
//	student.h   the functions
//	student.c   the arithmetic
//	selftest.c  the proof at boot, and the digest; student.c includes it
//	text.c      tokenizer, legal answers and the texts of a grammar, where they are wanted
//
// The last four lie in runtime/ and are the same for every model but for its name: what a model does not have goes out by
// macros. They read sizes from the model's table, not from macros, so that the code has one size on one processor for all
// models that have the same parts, and [Predict] knows it before anything is compiled. sizes.txt holds what was measured;
// go test ./bench/mcu -run Update -update makes it.
//
// [WriteImage] makes the same arrays and structures as they lie in memory, for a program that has every part and learns the model when
// it starts: the browser's (engine/export/web).
//
// A cache has as many slots as the window or the context has positions: a ring, in which the order does not matter, for sums
// and maxima of attention are of integers. Greedy decoding computes some logits at a time.
//
// Of mito the package imports engine/arch, engine/grammar, engine/session/adapters, engine/student, engine/task and engine/tokenizer.
package c99
