/* The proof at boot and the digest: SPEC section 6. student.c includes this file; on its own it is empty. */
#ifdef STUDENT_INTERNAL

/* ---- Hashes ---- */

/* The self-test compares an FNV-1a of 32 bits, which is short; the digest has SHA-256 (FIPS 180-4) beside it. */
typedef struct {
  uint32_t quick;
  int boot; /* for the self-test: rows are hashed before they are quantised, too, and more activations */
#if STUDENT_DIGEST
  uint32_t h[8], count;
  uint8_t block[64];
#endif
} hash;

#if STUDENT_DIGEST
static const uint32_t sha256_k[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
  0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
  0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
  0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
  0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
  0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))

PART void sha256_block(hash *s) {
  uint32_t w[16], a[8], t, u;
  int i;
#define A(k) a[((k) - i) & 7] /* the eight words, which go round instead of being moved */
  for (i = 0; i < 16; i++)
    w[i] = (uint32_t)s->block[4 * i] << 24 | (uint32_t)s->block[4 * i + 1] << 16 | (uint32_t)s->block[4 * i + 2] << 8 | s->block[4 * i + 3];
  for (i = 0; i < 8; i++) a[i] = s->h[i];
  for (i = 0; i < 64; i++) {
    if (i >= 16) {
      t = w[(i + 1) & 15], u = w[(i + 14) & 15];
      w[i & 15] += (ROTATE(t, 7) ^ ROTATE(t, 18) ^ t >> 3) + w[(i + 9) & 15] + (ROTATE(u, 17) ^ ROTATE(u, 19) ^ u >> 10);
    }
    t = A(7) + (ROTATE(A(4), 6) ^ ROTATE(A(4), 11) ^ ROTATE(A(4), 25)) + ((A(4) & A(5)) ^ (~A(4) & A(6))) + sha256_k[i] + w[i & 15];
    u = (ROTATE(A(0), 2) ^ ROTATE(A(0), 13) ^ ROTATE(A(0), 22)) + ((A(0) & A(1)) ^ (A(0) & A(2)) ^ (A(1) & A(2)));
    A(3) += t;
    A(7) = t + u;
  }
  for (i = 0; i < 8; i++) s->h[i] += a[i];
#undef A
}

static void sha256_byte(hash *s, uint8_t b) {
  s->block[s->count++ & 63] = b;
  if ((s->count & 63) == 0) sha256_block(s);
}

/* of less than 512 MiB */
static void sha256_end(hash *s) {
  const uint32_t n = s->count;
  int i;
  sha256_byte(s, 0x80);
  while ((s->count & 63) != 56) sha256_byte(s, 0);
  for (i = 0; i < 8; i++) sha256_byte(s, (uint8_t)(i < 3 ? 0 : i == 3 ? n >> 29 : n << 3 >> (8 * (7 - i))));
}

#endif

static void begin(hash *s, int boot) {
#if STUDENT_DIGEST
  static const uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  int i;
  for (i = 0; i < 8; i++) s->h[i] = h[i];
  s->count = 0;
#endif
  s->quick = 0x811c9dc5u;
  s->boot = boot;
}

static void put_byte(hash *s, uint8_t b) {
  s->quick = (s->quick ^ b) * 0x01000193u;
#if STUDENT_DIGEST
  sha256_byte(s, b);
#endif
}

static void put_u32(hash *h, uint32_t u) {
  int i;
  for (i = 0; i < 32; i += 8) put_byte(h, (uint8_t)(u >> i));
}

static void put_f32(hash *h, float y) { put_u32(h, bits(y + 0.0f)); }

static void put_codes(hash *h, const int8_t *q, int32_t n) {
  while (n-- > 0) put_byte(h, (uint8_t)*q++);
}

/* ---- the functions of the digest ---- */

static uint32_t next_random(uint32_t *state) {
  uint32_t z = *state += 0x9e3779b9u;
  z = (z ^ (z >> 16)) * 0x85ebca6bu;
  z = (z ^ (z >> 13)) * 0xc2b2ae35u;
  return z ^ (z >> 16);
}

static float unit(uint32_t *state) {
  const uint32_t z = next_random(state);
  return (float)((int32_t)(z >> 8) - (z >> 31 ? 1 << 24 : 0)) * f32(0x34000000u);
}

/* 2^n */
static float power(int32_t n) { return f32((uint32_t)(n + 127) << 23); }

static void put_row(hash *h, const float *x, int32_t n) {
  while (n-- > 0) put_f32(h, *x++);
}

static void put_quantized(hash *h, const float *x, int32_t n, int8_t *q) {
  const float scale = quantize(x, n, q);
  if (h->boot) put_row(h, x, n);
  put_codes(h, q, n);
  put_f32(h, scale);
}

static void put_attention(student_state *s, hash *h, uint32_t *g, int32_t rows) {
  const student_layer *l = M->layers;
  const int32_t dim = M->head_dim;
  float *q = buffer(s), *k = q + dim, *v = k + dim;
  const cache c = first_cache(s);
  int32_t run, t, i;
  for (run = 0; run < 3; run++) {
    uint32_t at = *g; /* base is drawn again where it is used, so that it needs no memory */
    if (run == 2)
      for (i = 0; i < dim; i++) unit(g);
    for (t = 0; t < rows; t++) {
      uint32_t b = at;
      for (i = 0; i < dim; i++) {
        if (run == 0) q[i] = unit(g);
        if (run == 1) q[i] = unit(g) * 32.0f;
        if (run == 2) q[i] = unit(&b) * 64.0f + unit(g);
      }
      b = at;
      for (i = 0; i < dim; i++) k[i] = run < 2 ? unit(g) : unit(&b) + unit(g) * power(-6);
      for (i = 0; i < dim; i++) v[i] = run < 2 ? unit(g) * power(-(t & 3)) : unit(g);
      store(&c, t, k, v);
      attend(&c, t + 1, q, l->factor, &s->memory[M->scores_at].i, codes(s));
      put_quantized(h, q, dim, codes(s));
    }
  }
}

static void put_functions(student_state *s, hash *h) {
  float *x = buffer(s);
  uint32_t g = 1;
  int32_t i, j, rows = h->boot ? 20 : 32;
  const int32_t norms = h->boot ? 24 : 8;
  if (M->context < rows) rows = M->context;
  for (j = 0; j < 24; j++) {
    const float a = (unit(&g) + 3.0f) * power(4 * j - 64);
    x[0] = -a;
    for (i = 1; i < 32; i++) {
      x[i] = ((float)(int32_t)(2 * (next_random(&g) % 127) + 1) * a) / 254.0f;
      if (next_random(&g) & 1) x[i] = -x[i];
    }
    put_quantized(h, x, 32, codes(s));
  }
  for (j = 0; j < norms; j++) {
    for (i = 0; i < M->width; i++) residual(s)[i] = unit(&g) * power(4 * (j & 7) - 16);
    NORM(residual(s), M->norm, BIAS_OF(M->norm_bias), x);
    put_quantized(h, x, M->width, codes(s));
  }
#if STUDENT_QK_NORM
  for (j = 0; j < norms && HAS(M->layers->query_norm != NULL); j++) {
    for (i = 0; i < M->head_dim; i++) x[i] = unit(&g) * power(4 * (j & 7) - 16);
    rmsnorm(x, M->head_dim, M->layers->query_norm, x);
    put_quantized(h, x, M->head_dim, codes(s));
  }
#endif
  for (j = 0; j < 8; j++)
    for (i = 0; i < (h->boot ? 64 : 16); i++) {
      const float u = unit(&g) * power(j);
#if STUDENT_GATE
      if (HAS(M->layers->gate.w != NULL)) {
        put_f32(h, activate(unit(&g), u));
        continue;
      }
#endif
      put_f32(h, activate(u, 0.0f));
    }
  for (i = 0; i < M->layer_count; i++)
    if (M->layers[i].slots < rows) rows = M->layers[i].slots;
#if STUDENT_ROPE
  for (j = 0; j < rows && HAS(M->cosine_step != NULL); j++) {
    const float *cosine, *sine;
#if STUDENT_ROPE == 1
    cosine = M->cosine + j * (M->head_dim >> 1), sine = M->sine + j * (M->head_dim >> 1);
#else
    if (j == 0) turn(s, 1);
    turn(s, 0);
    cosine = &s->memory[M->rotary_at].f, sine = cosine + (M->head_dim >> 1);
#endif
    for (i = 0; i < M->head_dim; i++) x[i] = unit(&g);
    rope(x, cosine, sine);
    put_quantized(h, x, M->head_dim, codes(s));
  }
#endif
  put_attention(s, h, &g, rows);
}

#if STUDENT_SELFTEST
/* The products of this processor's instructions, which may saturate, against a plain loop. */
static int products(int8_t *a, int8_t *b) {
  int32_t acc[2], n, i;
  for (i = 0; i < 32; i++) a[i] = 127, b[i] = (int8_t)(i & 2 ? i - 127 : 127 - i);
  for (n = 4; n <= 32; n += 4) {
    int32_t x = 0, y = 0;
    for (i = 0; i < n; i++) x += a[i] * b[i], y += b[i] * b[i];
    dot2(a, b, b, n, acc);
    if (acc[0] != x || acc[1] != y) return 0;
  }
  return 1;
}

int student_selftest(student_state *s) {
  /* What no macro shows: a product that is fused with a sum, a quotient that is not rounded to nearest, sums in double. */
  volatile float a = f32(0x3f800001u), b = f32(0x3f7fffffu), c = -1.0f, d = 127.0f, e = f32(0x40400001u), big = 16777216.0f;
  hash h;
  int32_t i, k, n;
  const int32_t logits = M->vocab < 64 ? M->vocab : 64;
  const float fused = a * b + c, quotient = d / e, lane = (big + 1.0f) + 1.0f;
  student_reset(s);
#if STUDENT_ADAPTERS
  s->adapter = 0;
#endif
  begin(&h, 1);
  put_functions(s, &h);
  /* One token, with its products. */
  student_reset(s);
  feed(s, 0, STUDENT_BOOT_LAYERS);
  for (i = 0; i < logits; i += n) {
    float y[SOME];
    n = some_logits(s, i, y);
    for (k = 0; k < n && i + k < logits; k++) put_u32(&h, bits(y[k]));
  }
  k = bits(fused) != 0 || bits(quotient) != 0x42295554u || bits(lane) != 0x4b800000u;
  if (!k && !products(codes(s), (int8_t *)buffer(s))) k = 2;
  if (!k && h.quick != STUDENT_BOOT) k = 3;
  student_reset(s);
  return (int)k;
}
#endif

/* ---- the digest in full ---- */

#if STUDENT_DIGEST
static void hex(const hash *h, char to[65]) {
  int i;
  for (i = 0; i < 64; i++) to[i] = "0123456789abcdef"[h->h[i >> 3] >> (28 - 4 * (i & 7)) & 15];
  to[64] = 0;
}

/* The tokens of a sequence of the stream, and of all of it. */
static int32_t stream_length(void) {
#if STUDENT_ROPE
  if (HAS(M->cosine_step != NULL) && M->context > 1024) return 1024;
#endif
  return M->context;
}

static int32_t stream_tokens(void) {
  const int32_t n = 2 * stream_length() > 4096 ? 2 * stream_length() : 4096;
  return M->vocab > n ? M->vocab : n;
}

/* Tokens i to n of the stream; g is 2 at first. */
static int put_stream(student_state *s, hash *h, student_word *work, uint32_t *g, int32_t i, int32_t n) {
  const int32_t length = stream_length();
  int32_t j;
  for (; i < n; i++) {
    if (i % length == 0) {
      student_reset(s);
      s->peak = i / length & 1 ? 8.0f : 1.0f;
    }
    if (student_step(s, i < M->vocab ? i : (int32_t)(next_random(g) % (uint32_t)M->vocab), &work->f)) return -1;
    for (j = 0; j < M->vocab; j++) {
      if ((work[j].u & INFINITE) == INFINITE) return -1;
      put_u32(h, work[j].u);
    }
  }
  return 0;
}

static void put_floats(hash *h, const float *x, int32_t n) {
  while (n-- > 0) put_u32(h, bits(*x++));
}

static void put_matrix(hash *h, const student_matrix *m) {
  int8_t group[32];
  int32_t r, i, multiple = 0;
  for (r = 0; r < m->rows; r++) {
#if STUDENT_BLOCKS
    if (m->index) {
      const uint8_t *column = m->index + ((m->rows + 3) >> 2), *end;
      const int8_t *w = m->w + 8 * (r & 3);
      for (i = 0; i < r >> 2; i++) column += m->index[i], w += 32 * m->index[i];
      end = column + m->index[r >> 2];
      for (i = 0; i < m->cols; i++) {
        while (column < end && *column < i >> 3) column++, w += 32;
        put_byte(h, column < end && *column == i >> 3 ? (uint8_t)w[i & 7] : 0);
      }
      continue;
    }
#endif
    for (i = 0; i < m->cols; i++) put_byte(h, (uint8_t)weight(m, r, i, group, &multiple));
  }
  put_floats(h, m->scale, m->rows);
#if STUDENT_BIAS
  if (m->bias) put_floats(h, m->bias, m->rows);
#endif
}

static void put_norm(hash *h, const float *gain, const float *bias) {
  put_floats(h, gain, M->width);
  if (bias) put_floats(h, bias, M->width);
}

static void put_weights(hash *h) {
  const student_layer *l;
  put_matrix(h, &M->embedding);
#if STUDENT_ROPE == 0 || STUDENT_WEB
  if (HAS(M->positions.w != NULL)) put_matrix(h, &M->positions);
#endif
  for (l = M->layers; l < M->layers + M->layer_count; l++) {
    put_norm(h, l->norm1, BIAS_OF(l->norm1_bias));
    put_matrix(h, &l->query);
    put_matrix(h, &l->key);
    put_matrix(h, &l->value);
#if STUDENT_QK_NORM
    if (HAS(l->query_norm != NULL)) {
      put_floats(h, l->query_norm, M->head_dim);
      put_floats(h, l->key_norm, M->head_dim);
    }
#endif
    put_matrix(h, &l->output);
    put_norm(h, l->norm2, BIAS_OF(l->norm2_bias));
#if STUDENT_GATE
    if (HAS(l->gate.w != NULL)) put_matrix(h, &l->gate);
#endif
    put_matrix(h, &l->up);
    put_matrix(h, &l->down);
#if STUDENT_PLE
    if (HAS(l->ple_table.w != NULL)) {
      put_matrix(h, &l->ple_table);
      put_matrix(h, &l->ple_gate);
      put_matrix(h, &l->ple_out);
    }
#endif
  }
  put_norm(h, M->norm, BIAS_OF(M->norm_bias));
  if (M->head.w != M->embedding.w) put_matrix(h, &M->head);
}

int student_digest(student_state *s, student_word *work, char digest[65], char parts[3][65]) {
  hash h, all;
  uint32_t g = 2;
  int i, k;
#if STUDENT_ADAPTERS
  s->adapter = 0;
#endif
  begin(&all, 0);
  for (i = 0; i < 3; i++) {
    begin(&h, 0);
    student_reset(s);
    if (i == 0) put_functions(s, &h);
    if (i == 1 && put_stream(s, &h, work, &g, 0, stream_tokens())) return -1;
    if (i == 2) put_weights(&h);
    sha256_end(&h);
    hex(&h, parts[i]);
    for (k = 0; k < 32; k++) sha256_byte(&all, (uint8_t)(h.h[k >> 2] >> (24 - 8 * (k & 3))));
  }
  student_reset(s);
  sha256_end(&all);
  hex(&all, digest);
  return 0;
}
#endif

#endif
