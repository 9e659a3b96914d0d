/* What student.c computes several at a time with SIMD128 of WebAssembly: the same bits, for integers are exact, and floats keep
   their order. Each function returns how far it came. */
#ifndef STUDENT_SIMD128_H
#define STUDENT_SIMD128_H

#include <wasm_simd128.h>

static float activate(float u, float g);

/* The largest magnitude, by its bits. */
static int32_t largest4(const float *x, int32_t n, uint32_t *top) {
  const v128_t all = wasm_i32x4_splat(0x7fffffff);
  v128_t m = wasm_i32x4_splat(0);
  int32_t i;
  for (i = 0; i + 4 <= n; i += 4) m = wasm_i32x4_max(m, wasm_v128_and(wasm_v128_load(x + i), all));
  m = wasm_i32x4_max(m, wasm_i32x4_shuffle(m, m, 2, 3, 0, 1));
  m = wasm_i32x4_max(m, wasm_i32x4_shuffle(m, m, 1, 0, 3, 2));
  *top = (uint32_t)wasm_i32x4_extract_lane(m, 0);
  return i;
}

static v128_t nearest4(v128_t t) {
  const v128_t half = wasm_v128_or(wasm_v128_and(t, wasm_i32x4_splat(INT32_MIN)), wasm_f32x4_splat(0.5f));
  return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_add(t, half));
}

static int32_t nearest8(const float *x, int32_t n, float v, int8_t *q) {
  const v128_t s = wasm_f32x4_splat(v);
  int32_t i;
  for (i = 0; i + 8 <= n; i += 8) {
    const v128_t a = nearest4(wasm_f32x4_mul(wasm_v128_load(x + i), s)), b = nearest4(wasm_f32x4_mul(wasm_v128_load(x + i + 4), s));
    const v128_t w = wasm_i16x8_narrow_i32x4(a, b);
    wasm_v128_store64_lane(q + i, wasm_i8x16_narrow_i16x8(w, w), 0);
  }
  return i;
}

static int32_t across(v128_t x) {
  x = wasm_i32x4_add(x, wasm_i32x4_shuffle(x, x, 2, 3, 0, 1));
  return wasm_i32x4_extract_lane(x, 0) + wasm_i32x4_extract_lane(x, 1);
}

#define EIGHT(at) wasm_i16x8_load8x8(at)
#define ADD_DOT(sum, a, b) ((sum) = wasm_i32x4_add((sum), wasm_i32x4_dot_i16x8((a), (b))))

static void dot2(const int8_t *a, const int8_t *b, const int8_t *q, int32_t n, int32_t acc[2]) {
  v128_t x = wasm_i32x4_splat(0), y = x;
  int32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const v128_t v = EIGHT(q + i);
    ADD_DOT(x, EIGHT(a + i), v);
    ADD_DOT(y, EIGHT(b + i), v);
  }
  acc[0] = across(x);
  acc[1] = across(y);
  for (; i < n; i++) acc[0] += a[i] * q[i], acc[1] += b[i] * q[i];
}

/* Columns of four rows, as LOAD has them, are multiplied by those of q and added. */
#define FOUR_ROWS(LOAD, at)       \
  do {                            \
    const v128_t v = LOAD(q + at); \
    ADD_DOT(w, LOAD(a + at), v);   \
    ADD_DOT(x, LOAD(b + at), v);   \
    ADD_DOT(y, LOAD(c + at), v);   \
    ADD_DOT(z, LOAD(d + at), v);   \
  } while (0)
#define FOUR(at) wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(at)) /* and zeros */

/* The products of four rows, n a multiple of 4. */
static inline __attribute__((always_inline)) v128_t dot4(const int8_t *a, const int8_t *q, int32_t n) {
  const int8_t *b = a + n, *c = b + n, *d = c + n, *end = q + n;
  v128_t w = wasm_i32x4_splat(0), x = w, y = w, z = w;
  for (; end - q >= 16; q += 16, a += 16, b += 16, c += 16, d += 16) {
    FOUR_ROWS(EIGHT, 0);
    FOUR_ROWS(EIGHT, 8);
  }
  if (end - q >= 8) {
    FOUR_ROWS(EIGHT, 0);
    q += 8, a += 8, b += 8, c += 8, d += 8;
  }
  if (q < end) FOUR_ROWS(FOUR, 0);
  { /* the sums of four vectors, as one */
    const v128_t wx = wasm_i32x4_add(wasm_i32x4_shuffle(w, x, 0, 4, 1, 5), wasm_i32x4_shuffle(w, x, 2, 6, 3, 7));
    const v128_t yz = wasm_i32x4_add(wasm_i32x4_shuffle(y, z, 0, 4, 1, 5), wasm_i32x4_shuffle(y, z, 2, 6, 3, 7));
    return wasm_i32x4_add(wasm_i32x4_shuffle(wx, yz, 0, 1, 4, 5), wasm_i32x4_shuffle(wx, yz, 2, 3, 6, 7));
  }
}

/* Rows of linear. */
static int32_t linear4(const student_matrix *m, const int8_t *q, float s, float *y, int how) {
  const int32_t cols = (m->cols + 3) & ~3;
  const v128_t in = wasm_f32x4_splat(s), zero = wasm_f32x4_splat(0.0f);
  const int8_t *w = m->w;
  int32_t r, i;
  for (r = 0; r + 4 <= m->rows; r += 4, w += 4 * cols) {
    v128_t u = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(dot4(w, q, cols)), wasm_f32x4_mul(in, wasm_v128_load(m->scale + r)));
    if (m->bias) u = wasm_f32x4_add(u, wasm_v128_load(m->bias + r));
    if (how == 1) u = wasm_f32x4_add(wasm_v128_load(y + r), u); /* ADD */
    if (how == 2) {                                             /* ACTIVATE */
      if (student_model.activation > STUDENT_RELU2) {
        float x[4];
        wasm_v128_store(x, u);
        for (i = 0; i < 4; i++) y[r + i] = activate(x[i], y[r + i]);
        continue;
      }
      u = wasm_f32x4_pmax(u, zero); /* u < 0 ? 0 : u */
      if (student_model.activation == STUDENT_RELU2) u = wasm_f32x4_mul(u, u);
    }
    wasm_v128_store(y + r, u);
  }
  return r;
}

/* Scores of one query head against the keys at k8, each of row codes with its scale in ks: SPEC section 5. */
static int32_t score4(const int8_t *k8, const float *ks, int32_t row, int32_t n, const int8_t *q8, float scale, int32_t *y, int32_t *best,
                      uint32_t *worst) {
  const v128_t s = wasm_f32x4_splat(scale), all = wasm_i32x4_splat(0x7fffffff);
  v128_t top = wasm_i32x4_splat(INT32_MIN), size = wasm_i32x4_splat(0);
  int32_t t, i;
  for (t = 0; t + 4 <= n; t += 4) {
    const v128_t sc = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(dot4(k8 + t * row, q8, row)), wasm_f32x4_mul(wasm_v128_load(ks + t), s));
    const v128_t whole = wasm_i32x4_trunc_sat_f32x4(sc);
    size = wasm_i32x4_max(size, wasm_v128_and(sc, all));
    top = wasm_i32x4_max(top, whole);
    wasm_v128_store(y + t, whole);
  }
  for (i = 0; i < 4; i++) { /* lanes, by turning */
    if (wasm_i32x4_extract_lane(top, 0) > *best) *best = wasm_i32x4_extract_lane(top, 0);
    if ((uint32_t)wasm_i32x4_extract_lane(size, 0) > *worst) *worst = (uint32_t)wasm_i32x4_extract_lane(size, 0);
    top = wasm_i32x4_shuffle(top, top, 1, 2, 3, 0);
    size = wasm_i32x4_shuffle(size, size, 1, 2, 3, 0);
  }
  return t;
}

/* 2^-n for 0 <= n <= 31, in four lanes. */
static v128_t inverse_power(v128_t n) { return wasm_i32x4_shl(wasm_i32x4_sub(wasm_i32x4_splat(127), n), 23); }

#define EACH16(v) wasm_i16x8_const(v, v, v, v, v, v, v, v)

/* Weights of slots in place of their scores, and what is added to Z. The largest scale has the bits m; shift is SPEC's s. Powers of
   two are products of floats, which are exact. */
static int32_t weight8(const float *vs, int32_t n, uint32_t m, int32_t shift, int32_t best, int32_t *y, uint32_t *z) {
  const v128_t top = wasm_i32x4_splat(best), far = wasm_i32x4_splat(65535), low = wasm_i32x4_splat(2047), one = wasm_i32x4_splat(1);
  const v128_t unit = wasm_i32x4_splat((int32_t)((268u - (uint32_t)shift - (m >> 23)) << 23)); /* 2^(14-s-ex) */
  v128_t sum = wasm_i32x4_splat(0);
  int32_t t, h;
  for (t = 0; t + 8 <= n; t += 8) {
    v128_t d[2], e[2], r[2], x, a;
    for (h = 0; h < 2; h++) {
      d[h] = wasm_u32x4_min(wasm_i32x4_sub(top, wasm_v128_load(y + t + 4 * h)), far);
      r[h] = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_mul(wasm_v128_load(vs + t + 4 * h), unit));
    }
    x = wasm_i16x8_narrow_i32x4(wasm_i32x4_shl(wasm_v128_and(d[0], low), 4), wasm_i32x4_shl(wasm_v128_and(d[1], low), 4));
    a = wasm_i16x8_sub(EACH16(7512), wasm_i16x8_q15mulr_sat(EACH16(1261), x));
    a = wasm_i16x8_sub(EACH16(22632), wasm_i16x8_q15mulr_sat(a, x));
    a = wasm_i16x8_sub(EACH16(32767), wasm_i16x8_q15mulr_sat(a, x));
    for (h = 0; h < 2; h++) {
      const v128_t twice = wasm_i32x4_shl(h ? wasm_i32x4_extend_high_i16x8(a) : wasm_i32x4_extend_low_i16x8(a), 1);
      const v128_t p = inverse_power(wasm_u32x4_shr(d[h], 11));
      e[h] = wasm_u32x4_shr(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_mul(wasm_f32x4_convert_i32x4(twice), p)), one), 1);
      sum = wasm_i32x4_add(sum, e[h]);
    }
    x = wasm_i16x8_q15mulr_sat(wasm_i16x8_narrow_i32x4(e[0], e[1]), wasm_i16x8_narrow_i32x4(r[0], r[1]));
    wasm_v128_store(y + t, wasm_i32x4_extend_low_i16x8(x));
    wasm_v128_store(y + t + 4, wasm_i32x4_extend_high_i16x8(x));
  }
  *z += (uint32_t)across(sum);
  return t;
}

#define UNROLL _Pragma("clang loop unroll(full)") /* so that the sums stay in registers */

/* The weighted sums of groups of eight columns of the values at v, two slots at a time. */
static inline __attribute__((always_inline)) void weigh(int groups, const int8_t *v, int32_t row, const int32_t *y, int32_t n, v128_t scale,
                                                       float *out) {
  v128_t sum[6];
  int32_t t, g;
  UNROLL
  for (g = 0; g < 2 * groups; g++) sum[g] = wasm_i32x4_splat(0);
  for (t = 0; t < n; t += 2, v += 2 * row) {
    const int two = t + 1 < n;
    const int8_t *next = two ? v + row : v;
    const v128_t w = wasm_i32x4_splat(y[t] | (two ? y[t + 1] << 16 : 0));
    UNROLL
    for (g = 0; g < groups; g++) {
      const v128_t a = EIGHT(v + 8 * g), b = EIGHT(next + 8 * g);
      ADD_DOT(sum[2 * g], wasm_i16x8_shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11), w);
      ADD_DOT(sum[2 * g + 1], wasm_i16x8_shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15), w);
    }
  }
  UNROLL
  for (g = 0; g < 2 * groups; g++) wasm_v128_store(out + 4 * g, wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sum[g]), scale));
}

/* The weighted sums of as many columns as come in groups of eight. */
static int32_t weigh8(const int8_t *v8, int32_t row, int32_t dim, const int32_t *y, int32_t n, float scale, float *out) {
  const v128_t s = wasm_f32x4_splat(scale);
  int32_t d = 0;
  for (; d + 24 <= dim; d += 24) weigh(3, v8 + d, row, y, n, s, out + d);
  for (; d + 16 <= dim; d += 16) weigh(2, v8 + d, row, y, n, s, out + d);
  for (; d + 8 <= dim; d += 8) weigh(1, v8 + d, row, y, n, s, out + d);
  return d;
}

#endif
