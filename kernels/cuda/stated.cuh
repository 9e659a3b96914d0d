// stated.cuh is the arithmetic that package kernels/vec states: each product and
// sum rounds once, sums run in eight lanes and a fixed tree, and exp, log and
// 1/sqrt are polynomials. So these functions have the bits of the CPU. nvcc would
// fuse a*b+c; the _rn functions keep it from that.
#pragma once
#include "device.cuh"

DEVICE float mul(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
DEVICE float sub(float a, float b) { return __fsub_rn(a, b); }
DEVICE float quot(float a, float b) { return __fdiv_rn(a, b); }

static constexpr float kLn2Hi = 0.693359375f;
static constexpr float kLn2Lo = -2.12194440e-4f;
static constexpr float kMinNormal = 1.17549435e-38f;
static constexpr float kMaxFloat = 3.40282347e38f;

DEVICE float infinity() { return __int_as_float(0x7f800000); }
DEVICE float quiet_nan() { return __int_as_float(0x7fc00000); }

// vec.Exp1
DEVICE float stated_exp(float x) {
	if (x < -87.0f) return 0.0f;
	if (x > 88.0f) return infinity();
	if (x != x) return x;
	float t = mul(x, 1.44269504088896341f);
	int n = __float2int_rz(t >= 0 ? add(t, 0.5f) : sub(t, 0.5f));
	float fn = __int2float_rn(n);
	float r = sub(x, mul(fn, kLn2Hi));
	r = sub(r, mul(fn, kLn2Lo));
	float p = 1.9875691500e-4f;
	p = add(mul(p, r), 1.3981999507e-3f);
	p = add(mul(p, r), 8.3334519073e-3f);
	p = add(mul(p, r), 4.1665795894e-2f);
	p = add(mul(p, r), 1.6666665459e-1f);
	p = add(mul(p, r), 5.0000001201e-1f);
	float y = add(mul(mul(p, r), r), r);
	y = add(y, 1.0f);
	return mul(y, __int_as_float((n + 127) << 23));
}

// vec.Log1
DEVICE float stated_log(float x) {
	if (x != x) return x;
	if (x < 0) return quiet_nan();
	if (x < kMinNormal) return -infinity();
	if (x > kMaxFloat) return x;
	unsigned bits = __float_as_uint(x);
	int k = (int)(bits >> 23) - 126;
	float f = __uint_as_float((bits & 0x007fffffu) | 0x3f000000u);
	float r;
	if (f < 0.707106781186547524f) {
		k--;
		r = sub(add(f, f), 1.0f);
	} else {
		r = sub(f, 1.0f);
	}
	float z = mul(r, r);
	float p = 7.0376836292e-2f;
	p = add(mul(p, r), -1.1514610310e-1f);
	p = add(mul(p, r), 1.1676998740e-1f);
	p = add(mul(p, r), -1.2420140846e-1f);
	p = add(mul(p, r), 1.4249322787e-1f);
	p = add(mul(p, r), -1.6668057665e-1f);
	p = add(mul(p, r), 2.0000714765e-1f);
	p = add(mul(p, r), -2.4999993993e-1f);
	p = add(mul(p, r), 3.3333331174e-1f);
	float y = mul(mul(p, r), z);
	float fk = __int2float_rn(k);
	y = add(y, mul(fk, kLn2Lo));
	y = sub(y, mul(0.5f, z));
	return add(add(r, y), mul(fk, kLn2Hi));
}

// vec.RSqrt1
DEVICE float stated_rsqrt(float x) {
	float y = __uint_as_float(0x5f3759dfu - (__float_as_uint(x) >> 1));
	float h = mul(0.5f, x);
	for (int i = 0; i < 4; i++) y = mul(y, sub(1.5f, mul(mul(h, y), y)));
	return y;
}

// The rounded product of two numbers in units of 2^-15.
DEVICE int rounded_product(int a, int b) { return (a * b + 16384) >> 15; }

// kv.Pow2
DEVICE int stated_pow2(int d) {
	d = min(d, 65535);
	int x = (d & 2047) << 4;
	int a = 32767 - rounded_product(22632 - rounded_product(7512 - rounded_product(1261, x), x), x);
	return (((2 * a) >> (d >> 11)) + 1) >> 1;
}

// The total of the eight lanes of a sum, held by eight neighbouring threads, in
// each of them: ((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7)).
DEVICE float stated_total(float lane) {
	lane = add(lane, __shfl_xor_sync(kFullWarp, lane, 4));
	lane = add(lane, __shfl_xor_sync(kFullWarp, lane, 2));
	return add(lane, __shfl_xor_sync(kFullWarp, lane, 1));
}

// The scale of a row whose largest magnitude has these bits, and the factor that
// quantises it: vec.QuantizeRow.
struct RowScale {
	float factor, scale;
	bool zero;
};
DEVICE RowScale row_scale(unsigned absmax_bits) {
	float a = __uint_as_float(absmax_bits);
	if (a < 2.7755575615628913511e-17f) return {0, 0, true};  // 2^-55
	if (!(a <= kMaxFloat)) return {0, quiet_nan(), true};
	return {quot(127.0f, a), quot(a, 127.0f), false};
}
DEVICE int quantized(float x, RowScale s) {
	if (s.zero) return 0;
	float t = mul(x, s.factor);
	return __float2int_rz(t >= 0 ? add(t, 0.5f) : sub(t, 0.5f));
}

// y = acc·(xscale·wscale) [+ bias]: vec.ScaleInt32
DEVICE float rescaled(int acc, float xscale, float wscale, const float* bias, int i) {
	float y = mul(__int2float_rn(acc), mul(xscale, wscale));
	return bias ? add(y, bias[i]) : y;
}
