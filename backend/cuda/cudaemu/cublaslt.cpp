//go:build cuda && cudaemu

// As much of cuBLASLt as this program calls, for tests of how it is found, chosen and called: plain loops, in stream order. There is
// none until SetCublasLt says so.
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "../cudax/cublaslt.h"
#include "cuda_emu.h"
#include "cudaemu.h"
#include "streams.h"

namespace {

enum { INVALID = 7, UNSUPPORTED = 15 };
std::atomic<int> installed{0}, refused{0}, delay_ms{0};
std::atomic<unsigned> products{0};

struct Product {
	int compute, trans[2] = {0, 0};
};
struct Layout {
	int type;
	uint64_t rows, cols;
	int64_t ld;
};

int create(lt_object* handle) { return *handle = &installed, refused ? INVALID : 0; }
int destroy(lt_object) { return 0; }
int product_create(lt_object* p, int compute, int scale) { return *p = new Product{compute}, scale == LT_R_32F ? 0 : INVALID; }
int product_destroy(lt_object p) { return delete (Product*)p, 0; }
int product_set(lt_object p, int attribute, const void* value, size_t size) {
	if (size != 4 || attribute < LT_DESC_TRANSA || attribute > LT_DESC_TRANSB) return INVALID;
	return memcpy(&((Product*)p)->trans[attribute - LT_DESC_TRANSA], value, 4), 0;
}
int layout_create(lt_object* l, int type, uint64_t rows, uint64_t cols, int64_t ld) { return *l = new Layout{type, rows, cols, ld}, 0; }
int layout_destroy(lt_object l) { return delete (Layout*)l, 0; }
int preference_create(lt_object* p) { return *p = new int, 0; }
int preference_destroy(lt_object p) { return delete (int*)p, 0; }
int preference_set(lt_object, int, const void*, size_t size) { return size == 4 || size == 8 ? 0 : INVALID; }
int heuristic(lt_object, lt_object, lt_object, lt_object, lt_object, lt_object, lt_object, int wanted, lt_heuristic* h, int* found) {
	memset(h, 0, sizeof *h);
	return *found = wanted > 0, 0;
}

float element(const void* p, const Layout& l, uint64_t row, uint64_t col) {
	size_t i = row + col * l.ld;
	if (l.type == LT_R_16BF) return emu::bf16_value(((const uint16_t*)p)[i]);
	return emu::bf16_value(emu::bf16_round(((const float*)p)[i]));
}

int matmul(lt_object, lt_object p, const void* alpha, const void* a, lt_object la, const void* b, lt_object lb, const void* beta,
           const void* c, lt_object lc, void* d, lt_object, const lt_algorithm*, void*, size_t, void* stream) {
	Product x = *(Product*)p;
	Layout A = *(Layout*)la, B = *(Layout*)lb, C = *(Layout*)lc;
	float by = *(const float*)alpha, keep = *(const float*)beta;
	uint64_t k = x.trans[0] ? A.rows : A.cols;
	if ((x.trans[0] ? A.cols : A.rows) != C.rows || (x.trans[1] ? B.rows : B.cols) != C.cols || (x.trans[1] ? B.cols : B.rows) != k || c != d ||
	    A.type != B.type || x.compute != (A.type == LT_R_16BF ? LT_COMPUTE_32F : LT_COMPUTE_32F_FAST_16BF))
		return INVALID;
	products++;
	return emu::submit((emu::Stream*)stream, [=] {
		std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
		for (uint64_t i = 0; i < C.rows; i++)
			for (uint64_t j = 0; j < C.cols; j++) {
				float sum = 0;
				for (uint64_t q = 0; q < k; q++)
					sum += element(a, A, x.trans[0] ? q : i, x.trans[0] ? i : q) * element(b, B, x.trans[1] ? j : q, x.trans[1] ? q : j);
				size_t at = i + j * C.ld;
				float old = keep == 0 ? 0 : keep * (C.type == LT_R_16BF ? emu::bf16_value(((uint16_t*)d)[at]) : ((float*)d)[at]);
				float v = by * sum + old;
				if (C.type == LT_R_16BF) ((uint16_t*)d)[at] = (uint16_t)emu::bf16_round(v);
				else ((float*)d)[at] = v;
			}
		return 0;
	});
}

}  // namespace

extern "C" void cudaemu_set_cublaslt(int there, int starts, int delay) {
	installed = there, refused = !starts, delay_ms = delay;
}
extern "C" unsigned cudaemu_cublaslt_products(void) { return products; }

// Package cudax finds the library by this function.
extern "C" void* emu_cublaslt_lookup(const char* name) {
	static const std::map<std::string, void*> entries = {
	    {"cublasLtCreate", (void*)create},
	    {"cublasLtDestroy", (void*)destroy},
	    {"cublasLtMatmulDescCreate", (void*)product_create},
	    {"cublasLtMatmulDescDestroy", (void*)product_destroy},
	    {"cublasLtMatmulDescSetAttribute", (void*)product_set},
	    {"cublasLtMatrixLayoutCreate", (void*)layout_create},
	    {"cublasLtMatrixLayoutDestroy", (void*)layout_destroy},
	    {"cublasLtMatmulPreferenceCreate", (void*)preference_create},
	    {"cublasLtMatmulPreferenceDestroy", (void*)preference_destroy},
	    {"cublasLtMatmulPreferenceSetAttribute", (void*)preference_set},
	    {"cublasLtMatmulAlgoGetHeuristic", (void*)heuristic},
	    {"cublasLtMatmul", (void*)matmul},
	};
	auto it = entries.find(name);
	return !installed || it == entries.end() ? nullptr : it->second;
}
