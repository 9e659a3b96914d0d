// epilogue.cuh is what a matrix product does with an element v of its result on
// the way to memory, instead of a pass over the matrix of its own. It has the bits
// of the pass.
#pragma once
#include "stated.cuh"

DEVICE float relu(float x) { return x < 0 ? 0.0f : x; }
DEVICE float relu_slope(float x, float d) { return x > 0 ? d : 0.0f; }
DEVICE float relu2_slope(float x, float d) { return mul(d, add(relu(x), relu(x))); }
// The same from y = relu(x)².
DEVICE float relu2_output_slope(float y, float d) {
	float r = __fsqrt_rn(relu(y));
	return mul(d, add(r, r));
}

struct Epilogue {
	enum {
		kPlain,                // c = v
		kAdd,                  // c = v, second = other + v
		kReLU,                 // c = v, second = relu(v)
		kReLU2,                // c = v, second = relu(v)²
		kReLUBackward,         // c = v·relu'(other)
		kReLU2Backward,        // c = v·(relu²)'(other)
		kReLU2OutputBackward,  // the same from other = relu(x)²
		kSum,                  // c = other + v
		kReLUHere,             // c = relu(v)
		kReLU2Here,            // c = relu(v)²
	};
	// Which tensors of a product are bfloat16, the others are float32: the bits of the argument types. Where c is, v is rounded
	// before anything else, as a pass of its own would find it.
	enum { kHalfA = 1, kHalfB = 2, kHalfC = 4, kHalfSecond = 8, kHalfOther = 16 };
	void* c;
	void* second;
	const void* other;
	int kind, types;

	DEVICE bool half_c() const { return types & kHalfC; }
	DEVICE bool reads_other() const { return kind == kAdd || (kind >= kReLUBackward && kind <= kSum); }
	DEVICE bool writes_second() const { return kind >= kAdd && kind <= kReLU2; }
	DEVICE float found(float v) const { return half_c() && kind != kPlain ? rounded_bf16(v) : v; }
	DEVICE float result(float v, float o) const {
		if (kind == kReLUBackward) return relu_slope(o, v);
		if (kind == kReLU2Backward) return relu2_slope(o, v);
		if (kind == kReLU2OutputBackward) return relu2_output_slope(o, v);
		if (kind == kSum) return add(o, v);
		if (kind < kReLUHere) return v;
		float r = relu(v);
		return kind == kReLUHere ? r : mul(r, r);
	}
	DEVICE float extra(float v, float o) const {
		if (kind == kAdd) return add(o, v);
		float r = relu(v);
		return kind == kReLU ? r : mul(r, r);
	}
	DEVICE void store(size_t i, float v) const {
		float o = reads_other() ? load_at(other, i, types & kHalfOther) : 0.0f;
		v = found(v);
		store_at(c, i, result(v, o), half_c());
		if (writes_second()) store_at(second, i, extra(v, o), types & kHalfSecond);
	}
	// Four neighbouring elements at once.
	DEVICE void store(size_t i, float4 v) const {
		float4 o = {0, 0, 0, 0};
		if (reads_other()) o = load4_at(other, i, types & kHalfOther);
		v = {found(v.x), found(v.y), found(v.z), found(v.w)};
		store4_at(c, i, {result(v.x, o.x), result(v.y, o.y), result(v.z, o.z), result(v.w, o.w)}, half_c());
		if (!writes_second()) return;
		store4_at(second, i, {extra(v.x, o.x), extra(v.y, o.y), extra(v.z, o.z), extra(v.w, o.w)}, types & kHalfSecond);
	}
	DEVICE bool on16() const { return aligned16(c) && aligned16(second) && aligned16(other); }
};
