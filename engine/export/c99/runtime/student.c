/* The arithmetic of an INT8 transformer. The sections are those of SPEC.md. */
#include "student.h"

#if defined(__FAST_MATH__)
#error "student.c: do not compile with -ffast-math: it changes the bits"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "student.c: float must be computed as float: add -msse2 -mfpmath=sse, or -fexcess-precision=fast on s390x"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#if defined(__GNUC__)
#define PART static __attribute__((noinline))
#define COPY __builtin_memcpy
#else
#include <string.h>
#define PART static
#define COPY memcpy
#endif

/* Integer forms of comparisons and conversions: the same bits, cheaper without a floating-point unit. */
#ifndef STUDENT_SOFT_FLOAT
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen))
#define STUDENT_SOFT_FLOAT 1
#else
#define STUDENT_SOFT_FLOAT 0
#endif
#endif

#if !STUDENT_DIGEST && !STUDENT_WEB
typedef char student_state_has_the_size_that_model_h_says[sizeof(student_state) == STUDENT_STATE_BYTES ? 1 : -1];
#endif

#define M (&student_model)
#define HAS STUDENT_HAS
#define ROUND4(n) (((n) + 3) & ~3)

static float f32(uint32_t b) { student_word w; w.u = b; return w.f; }
static uint32_t bits(float f) { student_word w; w.f = f; return w.u; }

#define INFINITE 0x7f800000u
#define NOT_A_NUMBER 0x7fc00000u

/* Parts that compute several numbers at a time return how far they came; the loops below go on from there. */
#if STUDENT_WEB && defined(__wasm_simd128__)
#define STUDENT_SIMD128 1
#include "simd128.h"
#else
#define STUDENT_SIMD128 0
#endif

/* ---- 2. Functions ---- */

/* int(t >= 0 ? t + 0.5 : t - 0.5) of |t| < 2^22 */
static int32_t nearest(float t) {
#if STUDENT_SOFT_FLOAT
  const uint32_t b = bits(t), m = b & 0x7fffffffu, e = m >> 23;
  int32_t q;
  if (e < 126) q = m == 0x3effffffu; /* the largest below 0.5 rounds up with it */
  else q = (int32_t)(((m & 0x7fffffu) | 0x800000u) + (1u << (149 - e))) >> (150 - e);
  return b >> 31 ? -q : q;
#else
  return (int32_t)(t >= 0.0f ? t + 0.5f : t - 0.5f);
#endif
}

/* int(x) of |x| < 2^29 */
static int32_t whole(float x) {
#if STUDENT_SOFT_FLOAT
  const uint32_t b = bits(x), e = b >> 23 & 255, m = (b & 0x7fffffu) | 0x800000u;
  const int32_t q = e < 127 ? 0 : (int32_t)(e < 150 ? m >> (150 - e) : m << (e - 150));
  return b >> 31 ? -q : q;
#else
  return (int32_t)x;
#endif
}

#if STUDENT_EXP
PART float exponential(float x) {
  float r, p, y;
  int32_t n;
  if (x != x) return x;
  if (x < -87.0f) return 0.0f;
  if (x > 88.0f) return f32(INFINITE);
  n = nearest(x * f32(0x3fb8aa3bu));
  r = x - (float)n * f32(0x3f318000u);
  r = r - (float)n * f32(0xb95e8083u);
  p = f32(0x39506967u);
  p = p * r + f32(0x3ab743ceu);
  p = p * r + f32(0x3c088908u);
  p = p * r + f32(0x3d2aa9c1u);
  p = p * r + f32(0x3e2aaaaau);
  p = p * r + f32(0x3f000000u);
  y = (p * r) * r + r;
  y = y + 1.0f;
  return y * f32((uint32_t)(n + 127) << 23);
}
#endif

static float inverse_root(float x) {
  float y = f32(0x5f3759dfu - (bits(x) >> 1)), h = 0.5f * x;
  int i;
  for (i = 0; i < 4; i++) y = y * (1.5f - (h * y) * y);
  return y;
}

static int32_t mulr(int32_t a, int32_t b) { return (a * b + 16384) >> 15; }

static int32_t pow2(uint32_t d) {
  int32_t x, a;
  if (d > 65535) d = 65535;
  x = (int32_t)(d & 2047) * 16;
  a = 32767 - mulr(22632 - mulr(7512 - mulr(1261, x), x), x);
  return (((2 * a) >> (d >> 11)) + 1) >> 1;
}

PART float quantize(const float *x, int32_t n, int8_t *q) {
  uint32_t top = 0;
  float a, v;
  int32_t i = 0;
#if STUDENT_SIMD128
  i = largest4(x, n, &top);
#endif
  for (; i < n; i++) {
    const uint32_t m = bits(x[i]) & 0x7fffffffu;
    if (m > top) top = m;
  }
  a = f32(top);
  if (top - 0x24000000u >= INFINITE - 0x24000000u) { /* below 2^-55, infinite, NaN */
    for (i = 0; i < n; i++) q[i] = 0;
    return f32(top < INFINITE ? 0 : NOT_A_NUMBER);
  }
  v = 127.0f / a;
  i = 0;
#if STUDENT_SIMD128
  i = nearest8(x, n, v, q);
#endif
  for (; i < n; i++) q[i] = (int8_t)nearest(x[i] * v);
  return a / 127.0f;
}

static float sum(const float l[8]) { return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7])); }

#if STUDENT_WEB
#define NORM(x, gain, bias, y) ((bias) ? layernorm(x, gain, bias, y) : rmsnorm(x, M->width, gain, y))
#elif STUDENT_LAYERNORM
#define NORM(x, gain, bias, y) layernorm(x, gain, bias, y)
#else
#define NORM(x, gain, bias, y) rmsnorm(x, M->width, gain, y)
#endif

#if STUDENT_LAYERNORM
PART void layernorm(const float *x, const float *gain, const float *bias, float *y) {
  const int32_t n = M->width;
  float l[8] = {0}, k[8] = {0}, mean, r;
  int32_t i;
  for (i = 0; i < n; i++) l[i & 7] += x[i];
  mean = sum(l) / (float)n;
  for (i = 0; i < n; i++) {
    const float d = x[i] - mean;
    k[i & 7] += d * d;
  }
  r = inverse_root(sum(k) / (float)n + M->eps);
  for (i = 0; i < n; i++) y[i] = (((x[i] - mean) * r) * gain[i]) + bias[i];
}
#endif

#if !STUDENT_LAYERNORM || STUDENT_QK_NORM
PART void rmsnorm(const float *x, int32_t n, const float *gain, float *y) {
  float l[8] = {0}, r;
  int32_t i;
  for (i = 0; i < n; i++) l[i & 7] += x[i] * x[i];
  r = inverse_root(sum(l) / (float)n + M->eps);
  for (i = 0; i < n; i++) y[i] = (x[i] * r) * gain[i];
}
#endif

/* Products of two rows of n codes, a multiple of 4, with q. Exact, so that the order does not matter. */
#if defined(__ARM_FEATURE_MVE) && !defined(STUDENT_PORTABLE)
#include <arm_mve.h>
static void dot2(const int8_t *a, const int8_t *b, const int8_t *q, int32_t n, int32_t acc[2]) {
  int32_t x = 0, y = 0;
  for (; n > 0; n -= 16, a += 16, b += 16, q += 16) {
    const mve_pred16_t p = vctp8q((uint32_t)n);
    const int8x16_t v = vldrbq_z_s8(q, p);
    x = vmladavaq_p_s8(x, vldrbq_z_s8(a, p), v, p);
    y = vmladavaq_p_s8(y, vldrbq_z_s8(b, p), v, p);
  }
  acc[0] = x;
  acc[1] = y;
}
#elif defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && !defined(STUDENT_PORTABLE)
#define SXTB16(y, x) __asm__("sxtb16 %0, %1" : "=r"(y) : "r"(x))
#define SXTB16_8(y, x) __asm__("sxtb16 %0, %1, ror #8" : "=r"(y) : "r"(x))
#define SMLAD(a, x, y) __asm__("smlad %0, %1, %2, %0" : "+r"(a) : "r"(x), "r"(y))
static void dot2(const int8_t *a, const int8_t *b, const int8_t *q, int32_t n, int32_t acc[2]) {
  int32_t x = 0, y = 0;
  const int8_t *end = q + n;
  while (q < end) {
    uint32_t u, v, w, even, odd;
    COPY(&v, q, 4);
    COPY(&u, a, 4);
    COPY(&w, b, 4);
    q += 4, a += 4, b += 4;
    SXTB16_8(odd, v);
    SXTB16(even, v);
    SXTB16(v, u);
    SXTB16_8(u, u);
    SMLAD(x, v, even);
    SMLAD(x, u, odd);
    SXTB16(v, w);
    SXTB16_8(w, w);
    SMLAD(y, v, even);
    SMLAD(y, w, odd);
  }
  acc[0] = x;
  acc[1] = y;
}
#elif !STUDENT_SIMD128
static void dot2(const int8_t *a, const int8_t *b, const int8_t *q, int32_t n, int32_t acc[2]) {
  int32_t x = 0, y = 0;
  const int8_t *end = q + n;
  for (; q < end; q += 4, a += 4, b += 4) {
    x += a[0] * q[0], y += b[0] * q[0];
    x += a[1] * q[1], y += b[1] * q[1];
    x += a[2] * q[2], y += b[2] * q[2];
    x += a[3] * q[3], y += b[3] * q[3];
  }
  acc[0] = x;
  acc[1] = y;
}
#endif

static float scaled(const student_matrix *m, int32_t r, int32_t acc, float s) {
  float y = (float)acc * (s * m->scale[r]);
#if STUDENT_BIAS
  if (m->bias) y = y + m->bias[r];
#endif
  return y;
}

#if STUDENT_PACKED
/* Groups of 32 codes in a row, and the bytes of one: three values lie five to a byte. */
static int32_t groups(const student_matrix *m) { return (m->cols + 31) >> 5; }
static int32_t group_bytes(const student_matrix *m) { return m->bits == 2 ? 7 : 4 * m->bits; }

/* The codes of a group. Returns what their weights are multiples of. */
PART int32_t unpack(const student_matrix *m, int32_t group, int8_t *to) {
  const uint8_t *p = (const uint8_t *)m->w + group * group_bytes(m);
  const int32_t bits = m->bits, least = (1 << (bits - 1)) - 1;
  uint32_t v = 0, u;
  int32_t i, have = 0;
  if (bits == 4) /* the upper halves of the bytes are codes 16 to 31 */
    for (i = 0; i < 16; i += 4) {
      COPY(&v, p + i, 4);
      u = (((v & 0x0f0f0f0fu) | 0x80808080u) - 0x07070707u) ^ 0x80808080u;
      COPY(to + i, &u, 4);
      u = (((v >> 4 & 0x0f0f0f0fu) | 0x80808080u) - 0x07070707u) ^ 0x80808080u;
      COPY(to + i + 16, &u, 4);
    }
  else
    for (i = 0; i < 32; i++) {
      if (have < (bits == 2 ? 1 : bits)) {
        v |= (uint32_t)*p++ << have;
        have += bits == 2 ? 5 : 8;
      }
      if (bits == 2) {
        u = v * 171 >> 9; /* a third */
        to[i] = (int8_t)((int32_t)(v - 3 * u) - least);
        v = u;
        have--;
      } else {
        to[i] = (int8_t)((int32_t)(v & ((1u << bits) - 1)) - least);
        v >>= bits;
        have -= bits;
      }
    }
  return m->multiples[group];
}

/* Products of rows r and r+1. */
static void packed_rows(const student_matrix *m, int32_t r, const int8_t *q, int32_t acc[2]) {
  const int32_t n = groups(m), next = r + 1 < m->rows ? n : 0;
  int32_t g, two[2], a, b;
  int8_t rows[64];
  acc[0] = acc[1] = 0;
  for (g = r * n; g < (r + 1) * n; g++, q += 32) {
    a = unpack(m, g, rows);
    b = unpack(m, g + next, rows + 32);
    dot2(rows, rows + 32, q, 32, two);
    acc[0] += a * two[0];
    acc[1] += b * two[1];
  }
}
#endif

#if STUDENT_BLOCKS
/* Where a row of blocks begins, walked from the first to the last. */
typedef struct { const int8_t *w; const uint8_t *columns; } walk;

static void block_rows(const student_matrix *m, walk *at, int32_t r, const int8_t *q, int32_t acc[4]) {
  int32_t n = m->index[r >> 2], k;
  acc[0] = acc[1] = acc[2] = acc[3] = 0;
  for (; n > 0; n--, at->w += 32, at->columns++) {
    const int8_t *x = q + 8 * *at->columns;
    for (k = 0; k < 4; k += 2) {
      int32_t two[2];
      dot2(at->w + 8 * k, at->w + 8 * k + 8, x, 8, two);
      acc[k] += two[0];
      acc[k + 1] += two[1];
    }
  }
}
#endif

/* activation of one element; g is the gate's */
static float activate(float u, float g) {
  (void)g;
#if STUDENT_GATE
  if (HAS(M->activation == STUDENT_SWIGLU)) return (g / (1.0f + exponential(-g))) * u;
#endif
#if STUDENT_GELU
  if (HAS(M->activation == STUDENT_IS_GELU)) {
    const float z = u * u, a = u * (z * f32(0x3d922279u) + f32(0x3fcc422au));
    return u / (1.0f + exponential(-a));
  }
#endif
#if STUDENT_SOFT_FLOAT
  if (bits(u) - 0x80000001u < INFINITE) u = 0.0f;
#else
  u = u < 0.0f ? 0.0f : u;
#endif
#if STUDENT_SQUARE
  if (HAS(M->activation == STUDENT_RELU2)) u = u * u;
#endif
  return u;
}

enum { SET, ADD, ACTIVATE, MULTIPLY };

#if STUDENT_ADAPTERS
#define WITH(state) state,
#define STATE student_state *state,
#else
#define WITH(state)
#define STATE
#endif

#if STUDENT_ADAPTERS
/* What the adapter of a sequence adds to a matrix, NULL for nothing, with a*x in low. */
PART const student_addition *addition(student_state *state, const student_matrix *m, const int8_t *q, float s) {
  const student_addition *more = state->adapter && m->number ? student_adapters[state->adapter - 1] + m->number - 1 : NULL;
  int32_t k, i;
  if (!more || more->rank == 0) return NULL;
  for (k = 0; k < more->rank; k++) {
    float l[8] = {0};
    for (i = 0; i < m->cols; i++) l[i & 7] += more->a[k * m->cols + i] * ((float)q[i] * s);
    state->low[k] = sum(l);
  }
  return more;
}
#endif

/* y = linear(m, q, s), y += linear(m, q, s), or y = activation(linear(m, q, s)) with the gate in y */
PART void linear(STATE const student_matrix *m, const int8_t *q, float s, float *y, int how) {
  int32_t acc[4], r, i, n = 2;
  const int32_t cols = ROUND4(m->cols);
  const int8_t *w = m->w;
#if STUDENT_ADAPTERS
  const student_addition *more = addition(state, m, q, s);
#endif
#if STUDENT_BLOCKS
  walk at;
  at.w = w;
  at.columns = NULL;
  if (m->index) n = 4, at.columns = m->index + ((m->rows + 3) >> 2);
#endif
  r = 0;
#if STUDENT_SIMD128
  if (!m->index) r = linear4(m, q, s, y, how), w += r * cols;
#endif
  for (; r < m->rows; r += n) {
#if STUDENT_BLOCKS
    if (m->index) block_rows(m, &at, r, q, acc);
    else
#endif
#if STUDENT_PACKED
    if (m->multiples) packed_rows(m, r, q, acc);
    else
#endif
    {
      dot2(w, r + 1 < m->rows ? w + cols : w, q, cols, acc);
      w += 2 * cols;
    }
    for (i = 0; i < n && r + i < m->rows; i++) {
      float u = scaled(m, r + i, acc[i], s), *to = y + r + i;
      if (how == ADD) u = *to + u;
#if STUDENT_ADAPTERS
      if (more) {
        int32_t k;
        for (k = 0; k < more->rank; k++) u = u + state->low[k] * more->b[k * m->rows + r + i];
      }
#endif
      if (how == ACTIVATE) u = activate(u, STUDENT_GATE ? *to : 0.0f);
      *to = u;
    }
  }
}

/* ---- 4. Rotary tables ---- */

#if STUDENT_ROPE
PART void rope(float *x, const float *cosine, const float *sine) {
  const int32_t half = M->head_dim >> 1;
  int32_t i;
  for (i = 0; i < half; i++) {
    const float a = x[i], b = x[i + half], c = cosine[i], s = sine[i];
    x[i] = a * c - b * s;
    x[i + half] = b * c + a * s;
  }
}
#endif

/* ---- 5. One token ---- */

/* The cache of one key/value head: scales of keys, then of values, and keys, then values, of all slots. */
typedef struct { float *scales; int8_t *codes; int32_t slots; } cache;

/* Where the next head's begins. */
static void next_cache(cache *c) {
  c->scales += 2 * c->slots;
  c->codes += 2 * c->slots * ROUND4(M->head_dim);
}

static void store(const cache *c, int32_t slot, const float *k, const float *v) {
  const int32_t d = M->head_dim, row = ROUND4(d);
  c->scales[slot] = quantize(k, d, c->codes + slot * row);
  slot += c->slots;
  c->scales[slot] = quantize(v, d, c->codes + slot * row);
}

/* One query head; out replaces it. The order of the slots does not matter: sums and maxima are of integers. */
PART void attend(const cache *c, int32_t n, float *q, float factor, int32_t *y, int8_t *q8) {
  const int32_t dim = M->head_dim, row = ROUND4(dim);
  const float *ks = c->scales, *vs = ks + c->slots;
  const int8_t *k8 = c->codes, *v8 = k8 + c->slots * row;
  int32_t t, d, i, best = INT32_MIN, acc[4], shift = 0;
  uint32_t m = 0, worst = 0, z = 0;
  float scale;
  for (t = 0; t < n; t++)
    if (bits(vs[t]) > m) m = bits(vs[t]);
  if (m == 0) {
    for (d = 0; d < dim; d++) q[d] = 0.0f;
    return;
  }
  for (d = dim; d < row; d++) q8[d] = 0;
  scale = quantize(q, dim, q8) * factor;
  t = 0;
#if STUDENT_SIMD128
  t = score4(k8, ks, row, n, q8, scale, y, &best, &worst);
#endif
  for (; t < n; t++) {
    float sc;
    if ((t & 1) == 0) dot2(k8 + t * row, k8 + (t + 1 < n ? t + 1 : t) * row, q8, row, acc);
    sc = (float)acc[t & 1] * (ks[t] * scale);
    if ((bits(sc) & 0x7fffffffu) > worst) worst = bits(sc) & 0x7fffffffu;
    if (worst >= 0x4e000000u) break;
    y[t] = whole(sc);
    if (y[t] > best) best = y[t];
  }
  if (worst >= 0x4e000000u || m >= 0x71800000u) { /* 2^29 and 2^100 */
    for (d = 0; d < dim; d++) q[d] = f32(NOT_A_NUMBER);
    return;
  }
  while (n > 512 << shift) shift++;
  t = 0;
#if STUDENT_SIMD128
  t = weight8(vs, n, m, shift, best, y, &z);
#endif
  for (; t < n; t++) {
    const uint32_t b = bits(vs[t]), down = 9 + (uint32_t)shift + (m >> 23) - (b >> 23);
    const int32_t e = pow2((uint32_t)(best - y[t]));
    z += (uint32_t)e;
    y[t] = down > 31 ? 0 : mulr(e, (int32_t)(((b & 0x7fffffu) | 0x800000u) >> down));
  }
  scale = f32(((m >> 23) + 1 + (uint32_t)shift) << 23) / (float)(int32_t)z;
  d = 0;
#if STUDENT_SIMD128
  d = weigh8(v8, row, dim, y, n, scale, q);
#endif
  for (; d < dim; d += 4) {
    const int8_t *v = v8 + d;
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
    for (t = 0; t < n; t++, v += row) {
      const int32_t w = y[t];
      a0 += w * v[0], a1 += w * v[1], a2 += w * v[2], a3 += w * v[3];
    }
    acc[0] = a0, acc[1] = a1, acc[2] = a2, acc[3] = a3;
    for (i = 0; i < 4 && d + i < dim; i++) q[d + i] = (float)acc[i] * scale;
  }
}

/* Weight i of row r of a matrix that is not in blocks, from the first of a row to the last; group has room for 32 codes. */
static int32_t weight(const student_matrix *m, int32_t r, int32_t i, int8_t *group, int32_t *multiple) {
#if STUDENT_PACKED
  if (m->multiples) {
    if ((i & 31) == 0) *multiple = unpack(m, r * groups(m) + (i >> 5), group);
    return *multiple * group[i & 31];
  }
#else
  (void)group, (void)multiple;
#endif
  return m->w[r * ROUND4(m->cols) + i];
}

/* Row r of a table that is not in blocks, which x is set to, or multiplied by, or which is added to it. */
static void lookup(const student_matrix *m, int32_t r, float *x, int how) {
  int8_t group[32];
  int32_t i, multiple = 0;
  for (i = 0; i < m->cols; i++) {
    const float y = (float)weight(m, r, i, group, &multiple) * m->scale[r];
#if STUDENT_PLE
    if (how == MULTIPLY) {
      x[i] = x[i] * y;
      continue;
    }
#endif
    x[i] = how == SET ? y : x[i] + y;
  }
}

static float *residual(student_state *s) { return &s->memory->f; }
static float *buffer(student_state *s) { return &s->memory[M->width].f; }
static int8_t *codes(student_state *s) { return (int8_t *)(s->memory + M->codes_at); }

/* The quantised norm of the residual stream. */
static float normalize(student_state *s, const float *gain, const float *bias) {
  (void)bias;
  NORM(residual(s), gain, bias, buffer(s));
  return quantize(buffer(s), M->width, codes(s));
}

#if STUDENT_LAYERNORM
#define BIAS_OF(b) (b)
#else
#define BIAS_OF(b) NULL
#endif

#if STUDENT_ROPE == 2
/* The rotation of this position, and its step to the next; restart begins at position 0. */
static void turn(student_state *s, int restart) {
  const int32_t half = M->head_dim >> 1;
  student_word *rotary = s->memory + M->rotary_at, *at = rotary + 2 * half;
  int32_t i;
  for (i = 0; i < half; i++, at += 4) {
    double c[2], n[2];
    COPY(c, at, sizeof c);
    if (restart) {
      n[0] = 1, n[1] = 0;
    } else {
      const double cf = M->cosine_step[i], sf = M->sine_step[i];
      rotary[i].f = (float)c[0];
      rotary[i + half].f = (float)c[1];
      n[0] = c[0] * cf - c[1] * sf;
      n[1] = c[1] * cf + c[0] * sf;
    }
    COPY(at, n, sizeof n);
  }
}
#endif

void student_reset(student_state *s) {
  s->pos = 0;
#if STUDENT_DIGEST
  s->peak = 1.0f;
#endif
#if STUDENT_ROPE == 2
  if (HAS(M->cosine_step != NULL)) turn(s, 1);
#endif
}

#if STUDENT_ADAPTERS
int student_adapt(student_state *s, int32_t adapter) {
  if (adapter < 0 || adapter > STUDENT_ADAPTERS) return -1;
  s->adapter = adapter;
  student_reset(s);
  return 0;
}
#endif

/* The cache of the first head of the first layer. */
static cache first_cache(student_state *s) {
  cache c;
  c.scales = buffer(s) + M->buffer;
  c.codes = codes(s) + M->row;
  c.slots = M->layers->slots;
  return c;
}

static void attention(student_state *s, const student_layer *l, cache *c, const float *cosine, const float *sine) {
  const int32_t dim = M->head_dim, heads = l->heads, kv = l->kv_heads;
  float *q = buffer(s), *k = q + heads * dim, *v = k + kv * dim, *x, factor = l->factor, in;
  int32_t slot = s->pos, n = slot + 1, g;
#if STUDENT_DIGEST
  factor = factor * s->peak;
#endif
  c->slots = l->slots;
  if (n > c->slots) slot %= c->slots, n = c->slots;
  in = normalize(s, l->norm1, BIAS_OF(l->norm1_bias));
  linear(WITH(s) &l->query, codes(s), in, q, SET);
  linear(WITH(s) &l->key, codes(s), in, k, SET);
  linear(WITH(s) &l->value, codes(s), in, v, SET);
  for (x = q; x < v; x += dim) {
#if STUDENT_QK_NORM
    if (HAS(l->query_norm != NULL)) rmsnorm(x, dim, x < k ? l->query_norm : l->key_norm, x);
#endif
#if STUDENT_ROPE
    if (HAS(cosine != NULL)) rope(x, cosine, sine);
#else
    (void)cosine, (void)sine;
#endif
  }
  for (x = q, g = 0; g < kv; g++, next_cache(c)) {
    store(c, slot, k + g * dim, v + g * dim);
    for (; x < q + (g + 1) * (heads / kv) * dim; x += dim) attend(c, n, x, factor, &s->memory[M->scores_at].i, codes(s));
  }
  in = quantize(q, heads * dim, codes(s));
  linear(WITH(s) &l->output, codes(s), in, residual(s), ADD);
}

static void mlp(student_state *s, const student_layer *l, int32_t token) {
  const int32_t width = l->up.rows;
  float in = normalize(s, l->norm2, BIAS_OF(l->norm2_bias));
#if STUDENT_PLE
  float *gated = buffer(s) + width;
  if (HAS(l->ple_table.w != NULL)) {
    linear(WITH(s) &l->ple_gate, codes(s), in, gated, SET);
    lookup(&l->ple_table, token, gated, MULTIPLY);
  }
#else
  (void)token;
#endif
#if STUDENT_GATE
  if (HAS(l->gate.w != NULL)) linear(WITH(s) &l->gate, codes(s), in, buffer(s), SET);
#endif
  linear(WITH(s) &l->up, codes(s), in, buffer(s), ACTIVATE);
  in = quantize(buffer(s), width, codes(s));
  linear(WITH(s) &l->down, codes(s), in, residual(s), ADD);
#if STUDENT_PLE
  if (HAS(l->ple_table.w != NULL)) {
    in = quantize(gated, l->ple_out.cols, codes(s));
    linear(WITH(s) &l->ple_out, codes(s), in, residual(s), ADD);
  }
#endif
}

/* Reads a token with the first of the layers. */
static int feed(student_state *s, int32_t token, int32_t layers) {
  const student_layer *l;
  const float *cosine = NULL, *sine = NULL;
  cache c = first_cache(s);
  if (token < 0 || token >= M->vocab || s->pos >= M->context) return -1;
  lookup(&M->embedding, token, residual(s), SET);
#if STUDENT_ROPE == 0 || STUDENT_WEB
  if (HAS(M->positions.w != NULL)) lookup(&M->positions, s->pos, residual(s), ADD);
#endif
#if STUDENT_ROPE == 1
  cosine = M->cosine + s->pos * (M->head_dim >> 1);
  sine = M->sine + s->pos * (M->head_dim >> 1);
#elif STUDENT_ROPE == 2
  if (HAS(M->cosine_step != NULL)) {
    turn(s, 0);
    cosine = &s->memory[M->rotary_at].f, sine = cosine + (M->head_dim >> 1);
  }
#endif
  for (l = M->layers; l < M->layers + layers; l++) {
    attention(s, l, &c, cosine, sine);
    mlp(s, l, token);
  }
  s->scale = normalize(s, M->norm, BIAS_OF(M->norm_bias));
  s->pos++;
  return 0;
}

int student_feed(student_state *s, int32_t token) { return feed(s, token, M->layer_count); }

int student_step(student_state *s, int32_t token, float *logits) {
  if (student_feed(s, token)) return -1;
  linear(WITH(s) &M->head, codes(s), s->scale, logits, SET);
  return 0;
}

static int allowed(const uint8_t *mask, int32_t token) { return !mask || (mask[token >> 3] >> (token & 7) & 1); }

/* Logits r and those behind it, some at a time, so that no array of all is needed. Returns how many. */
enum { SOME = 4 };

static int32_t some_logits(student_state *s, int32_t r, float y[SOME]) {
  student_matrix some = M->head;
  some.rows = M->vocab - r < SOME ? M->vocab - r : SOME;
#if STUDENT_PACKED
  if (some.multiples) {
    some.w += r * groups(&some) * group_bytes(&some);
    some.multiples += r * groups(&some);
  } else
#endif
    some.w += r * ROUND4(some.cols);
  some.scale += r;
  linear(WITH(s) &some, codes(s), s->scale, y, SET);
  return some.rows;
}

int32_t student_argmax(student_state *s, const uint8_t *mask) {
  int32_t r, i, n, best = -1;
  float y[SOME], top = 0.0f;
  for (r = 0; r < M->vocab; r += n) {
    n = some_logits(s, r, y);
    for (i = 0; i < n; i++) {
      if ((bits(y[i]) & INFINITE) == INFINITE) return -1;
      if (allowed(mask, r + i) && (best < 0 || y[i] > top)) best = r + i, top = y[i];
    }
  }
  return best;
}

/* ---- 7. Sampling ---- */

#if STUDENT_SAMPLE
static uint32_t draw(uint32_t *state) {
  uint32_t z = *state += 0x9e3779b9u;
  z = (z ^ (z >> 16)) * 0x85ebca6bu;
  z = (z ^ (z >> 13)) * 0xc2b2ae35u;
  return z ^ (z >> 16);
}

/* How many weights, or their sum, are at least the bound. */
static uint64_t above(const student_word *w, uint32_t bound, int count) {
  uint64_t n = 0;
  int32_t i;
  for (i = 0; i < M->vocab; i++)
    if (w[i].u >= bound) n += count ? 1 : w[i].u;
  return n;
}

/* Keeps the fewest of the largest weights, of equal ones the first, that are goal in number or in sum. */
PART void keep(student_word *w, uint64_t goal, int count) {
  uint32_t bound = 0, bit;
  uint64_t n;
  int32_t i;
  for (bit = 1u << 24; bit; bit >>= 1)
    if (above(w, bound | bit, count) >= goal) bound |= bit;
  n = above(w, bound + 1, count);
  for (i = 0; i < M->vocab; i++) {
    if (w[i].u > bound) continue;
    if (w[i].u < bound || n >= goal) w[i].u = 0;
    else n += count ? 1 : w[i].u;
  }
}

int32_t student_sample(student_state *s, const uint8_t *mask, const student_sampling *how, uint32_t *random, student_word *work) {
  int32_t i;
  uint64_t total, d;
  uint32_t r;
  float top = 0.0f;
  if (how->temperature == 0.0f) return student_argmax(s, mask);
  i = student_argmax(s, mask);
  if (i < 0) return -1;
  linear(WITH(s) &M->head, codes(s), s->scale, &work->f, SET);
  top = work[i].f;
  for (i = 0; i < M->vocab; i++)
    work[i].u = allowed(mask, i) ? (uint32_t)(int32_t)(exponential((work[i].f - top) / how->temperature) * 16777216.0f) : 0;
  if (how->top_k > 0) keep(work, (uint64_t)how->top_k, 1);
  if (how->top_p > 0.0f && how->top_p < 1.0f) {
    const uint64_t p = (uint32_t)(int32_t)(how->top_p * 16777216.0f);
    uint64_t goal;
    total = above(work, 1, 0);
    goal = (total >> 24) * p + ((total & 0xffffff) * p >> 24);
    keep(work, goal ? goal : 1, 0);
  }
  if (how->min_p > 0.0f)
    for (i = 0; i < M->vocab; i++)
      if (work[i].u < (uint32_t)(int32_t)(how->min_p * 16777216.0f)) work[i].u = 0;
  total = above(work, 1, 0);
  r = draw(random);
  d = (uint64_t)r * (total >> 32) + ((uint64_t)r * (uint32_t)total >> 32);
  for (i = 0, total = 0; i < M->vocab; i++) {
    total += work[i].u;
    if (total > d) return i;
  }
  return -1;
}
#endif

int32_t student_generate(student_state *s, int32_t max, const uint8_t *mask, const student_sampling *how, uint32_t *random,
                         student_word *work, int (*out)(void *arg, int32_t token), void *arg) {
  int32_t n = 0;
  while (n < max) {
    int32_t token;
#if STUDENT_SAMPLE
    token = how ? student_sample(s, mask, how, random, work) : student_argmax(s, mask);
#else
    (void)how, (void)random, (void)work;
    token = student_argmax(s, mask);
#endif
    if (token < 0) return -1;
    if (token == STUDENT_EOS) break;
    n++;
    if (out(arg, token) || student_feed(s, token)) break;
  }
  return n;
}

#define STUDENT_INTERNAL
#if STUDENT_SELFTEST || STUDENT_DIGEST
#include "selftest.c"
#endif

/* In one file the names are the program's again. */
#undef PART
#undef COPY
#undef M
#undef HAS
#undef ROUND4
#undef INFINITE
#undef NOT_A_NUMBER
#undef NORM
#undef SXTB16
#undef SXTB16_8
#undef SMLAD
#undef WITH
#undef STATE
#undef BIAS_OF
#undef ROTATE
#undef A
