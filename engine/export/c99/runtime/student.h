/* An INT8 transformer for devices: no malloc, no libm, no stdio. The caller owns all memory.
   Its arithmetic is engine/student/SPEC.md of mito, version 2: the same bits on every machine. */
#ifndef STUDENT_H
#define STUDENT_H

#include <stddef.h>
#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In a browser one program runs every model: it has all parts, and looks which are the model's. Elsewhere what is compiled is
   there. */
#ifndef STUDENT_WEB
#define STUDENT_WEB 0
#endif
#if STUDENT_WEB
#define STUDENT_HAS(part) (part)
#else
#define STUDENT_HAS(part) 1
#endif

typedef struct { /* rows padded to 4 bytes; with an index, blocks of 4 rows and 8 columns; with multiples, codes of fewer bits */
  const int8_t *w;
  const float *scale;
#if STUDENT_BIAS
  const float *bias; /* NULL for none */
#endif
#if STUDENT_BLOCKS
  const uint8_t *index; /* NULL for whole rows; how many blocks each row of blocks has, then the column of each block */
#endif
#if STUDENT_PACKED
  const uint8_t *multiples; /* NULL for bytes; what each 32 codes of a row are multiplied by */
  int32_t bits;             /* of a code; 2 stands for -1, 0 and 1 */
#endif
#if STUDENT_ADAPTERS
  int32_t number; /* of what adapters add to it, from 1; 0 for nothing */
#endif
  int32_t rows, cols;
} student_matrix;

#if STUDENT_ADAPTERS
typedef struct { /* y += b*(a*x): a [rank][cols], b [rank][rows] */
  const float *a, *b;
  int32_t rank; /* 0 for nothing */
} student_addition;

extern const student_addition *const student_adapters[STUDENT_ADAPTERS]; /* each by the matrices' numbers */
#endif

typedef struct {
  student_matrix query, key, value, output, up, down;
  const float *norm1, *norm2;
#if STUDENT_GATE
  student_matrix gate;
#endif
#if STUDENT_LAYERNORM
  const float *norm1_bias, *norm2_bias;
#endif
#if STUDENT_QK_NORM
  const float *query_norm, *key_norm;
#endif
#if STUDENT_PLE
  student_matrix ple_table, ple_gate, ple_out; /* without weights where there are no per-layer embeddings */
#endif
  int32_t heads, kv_heads, slots; /* slots of the cache: the window, or the context */
  float factor;                   /* of the scores: SPEC section 3 */
} student_layer;

typedef struct {
  student_matrix embedding, head;
#if STUDENT_ROPE == 0 || STUDENT_WEB
  student_matrix positions; /* without weights where heads are turned */
#endif
#if STUDENT_ROPE == 1
  const float *cosine, *sine; /* [context][head_dim/2] */
#elif STUDENT_ROPE == 2
  const double *cosine_step, *sine_step; /* [head_dim/2] of one position */
#endif
  const student_layer *layers;
  const float *norm;
#if STUDENT_LAYERNORM
  const float *norm_bias;
#endif
  int32_t vocab, width, layer_count, head_dim, context, buffer;
  int32_t scores_at, codes_at, row; /* in words of the state, and bytes of a quantised row */
#if STUDENT_ROPE == 2
  int32_t rotary_at;
#endif
#if STUDENT_WEB
  int32_t activation, eos;
#endif
  float eps;
} student_model_data;

#if STUDENT_WEB
enum { STUDENT_RELU, STUDENT_RELU2, STUDENT_IS_GELU, STUDENT_SWIGLU };
#else
extern const student_model_data student_model;
#endif

typedef union { float f; int32_t i; uint32_t u; } student_word;

/* One sequence. With adapters it begins as zeros, as static memory does, or by student_adapt. In memory lie the residual stream, a
   buffer, the scales of keys and values, scores, what is turned from token to token, a quantised row, and the keys and values. */
typedef struct {
  int32_t pos; /* tokens read */
  float scale; /* of the row that the head reads */
#if STUDENT_DIGEST
  float peak;  /* a factor of the scores, for the digest's stream; else 1 */
#endif
#if STUDENT_ADAPTERS
  int32_t adapter; /* from 1; 0 for none */
  float low[STUDENT_RANK];
#endif
#if STUDENT_WEB
  student_word memory[]; /* STUDENT_WORDS of the model */
#else
  student_word memory[STUDENT_WORDS];
#endif
} student_state;

typedef struct {
  float temperature; /* 0 takes the largest logit */
  int32_t top_k;     /* 0 for all */
  float top_p, min_p; /* 0 for all */
} student_sampling;

/* Begins a sequence. */
void student_reset(student_state *s);

#if STUDENT_ADAPTERS
/* Begins a sequence that goes through an adapter, from 1 on in the order of model.h; 0 is none. Returns 0, or -1 where there is none of
   that number. The digest and the self-test are of the model without adapters, and end without one. */
int student_adapt(student_state *s, int32_t adapter);
#endif

/* Reads a token. Returns 0, or -1 where the token is none or the context is full. */
int student_feed(student_state *s, int32_t token);

/* Reads a token and writes the logits [STUDENT_VOCAB] of the next. Returns as student_feed. */
int student_step(student_state *s, int32_t token, float *logits);

/* The first of the tokens with the largest logit after the last token read; no array of logits is needed. mask has a bit for each
   token that may come, token t in bit t%8 of byte t/8; NULL lets all come. Returns -1 where none may, or a logit is no number. */
int32_t student_argmax(student_state *s, const uint8_t *mask);

/* Draws a token. work has STUDENT_VOCAB words; random is the generator's state, at first the seed. Returns as student_argmax. */
int32_t student_sample(student_state *s, const uint8_t *mask, const student_sampling *how, uint32_t *random, student_word *work);

/* Continues with at most max tokens, after what was fed (at least one token), giving each token out. It ends at STUDENT_EOS, a full
   context, or where out returns other than 0. how NULL is greedy; random and work may then be NULL. Returns the tokens given out,
   or -1 as student_argmax. */
int32_t student_generate(student_state *s, int32_t max, const uint8_t *mask, const student_sampling *how, uint32_t *random,
                         student_word *work, int (*out)(void *arg, int32_t token), void *arg);

#if STUDENT_SELFTEST
/* Proves at boot that this compiler and this processor compute what the model was tested with. Returns 0, or which part differs:
   1 float arithmetic, 2 products of many codes at once, 3 the functions of the digest or a token. The sequence begins again. */
int student_selftest(student_state *s);
#endif
#if STUDENT_DIGEST
/* The digest in full, 64 hexadecimal digits and a 0, with its parts: functions, stream, weights. work has STUDENT_VOCAB words. It
   reads thousands of tokens. Returns 0, or -1 where a result is no number. */
int student_digest(student_state *s, student_word *work, char digest[65], char parts[3][65]);
#endif

#if STUDENT_TOKENIZER
typedef struct {
  const uint8_t *pieces; /* the bytes of all tokens, and where each begins */
  const student_offset *at;
  const int32_t *added; /* tokens that are looked for before the others */
#if STUDENT_BPE
  const uint16_t *byte, *merges; /* the token of each byte; left, right and what they become */
  int32_t merge_count;
#endif
  int32_t added_count;
} student_text_data;

#if !STUDENT_WEB
extern const student_text_data student_text;
#endif

/* Writes the tokens of a text in UTF-8. max is the room for them: as many as the text has bytes are always enough, and a word needs
   as many as it has bytes before they are joined. Returns how many there are, or -1 where the room is too small or the text has what
   the vocabulary has not. */
int32_t student_encode(const char *text, int32_t *tokens, int32_t max);

/* The bytes that a token stands for, which may be a part of a character. */
const char *student_piece(int32_t token, int32_t *bytes);
#endif

#if STUDENT_TASK
typedef struct { const uint16_t *rules; int32_t count; } student_task_data; /* at, character, token */

#if !STUDENT_WEB
extern const student_task_data student_task;
#endif

/* Sets the mask of the legal answers to a prompt, STUDENT_MASK bytes. Returns how many there are. */
int student_legal(const char *prompt, uint8_t *mask);

/* The answer to a prompt, which is always legal. Returns its character, or -1 where the prompt is none. */
int student_play(student_state *s, const char *prompt);
#endif

#if STUDENT_GRAMMAR
typedef struct { /* state by state: where its tokens begin, the tokens and the states behind them, the fewest tokens that end the text */
  const uint32_t *from;
  const uint16_t *tokens, *to, *least;
} student_grammar_data;

extern const student_grammar_data student_grammar;

/* Sets the mask of what may come in a state, 0 at the beginning of a text, where at most left tokens may still come; STUDENT_MASK
   bytes. Returns how many tokens there are; 0 where the text is whole or left is too little. */
int32_t student_may(int32_t state, int32_t left, uint8_t *mask);

/* The state behind a token, or -1 where the grammar does not have it there. */
int32_t student_after(int32_t state, int32_t token);

/* student_generate, held to the grammar: what is given out is one of its texts. Returns -1 too where no text has so few tokens. */
int32_t student_write(student_state *s, int32_t max, const student_sampling *how, uint32_t *random, student_word *work,
                      int (*out)(void *arg, int32_t token), void *arg);
#endif

#ifdef __cplusplus
}
#endif

#endif
