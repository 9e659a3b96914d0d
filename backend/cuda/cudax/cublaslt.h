// Own declarations of cuBLASLt: names, values and parameter lists are the same in versions 11, 12 and 13. Held to the library's header
// by a test where that is installed.
#ifndef MITO_CUBLASLT_H
#define MITO_CUBLASLT_H

#include <stddef.h>
#include <stdint.h>

enum {
	LT_R_32F = 0,
	LT_R_16BF = 14,
	LT_COMPUTE_32F = 68,
	LT_COMPUTE_32F_FAST_16BF = 75,  // float32 operands are rounded to bfloat16
	LT_DESC_TRANSA = 3,
	LT_DESC_TRANSB = 4,
	LT_PREF_WORKSPACE = 1,
	LT_PREF_ALIGNMENT_A = 5,  // B, C and D follow
};

typedef void *lt_object;  // a handle, description, layout or preference
typedef struct {
	uint64_t data[8];
} lt_algorithm;
typedef struct {
	lt_algorithm algorithm;
	size_t workspace;
	int state;
	float waves;
	int reserved[4];
} lt_heuristic;

#define LT_FUNCTIONS(X)                                                                                                        \
	X(Create, (lt_object *))                                                                                               \
	X(Destroy, (lt_object))                                                                                                \
	X(MatmulDescCreate, (lt_object *, int, int))                                                                           \
	X(MatmulDescDestroy, (lt_object))                                                                                      \
	X(MatmulDescSetAttribute, (lt_object, int, const void *, size_t))                                                      \
	X(MatrixLayoutCreate, (lt_object *, int, uint64_t, uint64_t, int64_t))                                                 \
	X(MatrixLayoutDestroy, (lt_object))                                                                                    \
	X(MatmulPreferenceCreate, (lt_object *))                                                                               \
	X(MatmulPreferenceDestroy, (lt_object))                                                                                \
	X(MatmulPreferenceSetAttribute, (lt_object, int, const void *, size_t))                                                \
	X(MatmulAlgoGetHeuristic,                                                                                              \
	  (lt_object, lt_object, lt_object, lt_object, lt_object, lt_object, lt_object, int, lt_heuristic *, int *))           \
	X(Matmul, (lt_object, lt_object, const void *, const void *, lt_object, const void *, lt_object, const void *,         \
	           const void *, lt_object, void *, lt_object, const lt_algorithm *, void *, size_t, void *))

#endif
