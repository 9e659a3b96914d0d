// epilogue.cuh is what a matrix product does with an element v of its result on
// the way to memory, instead of a pass over the matrix of its own. It has the bits
// of the pass.
#pragma once
#include "stated.cuh"

DEVICE float relu(float x) { return x < 0 ? 0.0f : x; }
DEVICE float relu_slope(float x, float d) { return x > 0 ? d : 0.0f; }
DEVICE float relu2_slope(float x, float d) { return mul(d, add(relu(x), relu(x))); }

struct Epilogue {
	enum {
		kPlain,          // c = v
		kAdd,            // c = v, second = other + v
		kReLU,           // c = v, second = relu(v)
		kReLU2,          // c = v, second = relu(v)²
		kReLUBackward,   // c = v·relu'(other)
		kReLU2Backward,  // c = v·(relu²)'(other)
	};
	float* c;
	float* second;
	const float* other;
	int kind;

	DEVICE bool reads_other() const { return kind == kAdd || kind >= kReLUBackward; }
	DEVICE bool writes_second() const { return kind >= kAdd && kind <= kReLU2; }
	DEVICE float result(float v, float o) const {
		if (kind == kReLUBackward) return relu_slope(o, v);
		if (kind == kReLU2Backward) return relu2_slope(o, v);
		return v;
	}
	DEVICE float extra(float v, float o) const {
		if (kind == kAdd) return add(o, v);
		float r = relu(v);
		return kind == kReLU ? r : mul(r, r);
	}
	DEVICE void store(size_t i, float v) const {
		float o = reads_other() ? other[i] : 0.0f;
		c[i] = result(v, o);
		if (writes_second()) second[i] = extra(v, o);
	}
	// Four neighbouring elements at once, on 16 bytes.
	DEVICE void store(size_t i, float4 v) const {
		float4 o = {0, 0, 0, 0};
		if (reads_other()) o = *(const float4*)&other[i];
		float4 r = {result(v.x, o.x), result(v.y, o.y), result(v.z, o.z), result(v.w, o.w)};
		*(float4*)&c[i] = r;
		if (!writes_second()) return;
		float4 e = {extra(v.x, o.x), extra(v.y, o.y), extra(v.z, o.z), extra(v.w, o.w)};
		*(float4*)&second[i] = e;
	}
	DEVICE bool on16() const { return aligned16(c) && aligned16(second) && aligned16(other); }
};
