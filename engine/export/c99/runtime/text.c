/* The tokenizer, the legal answers of a game, and the texts of a grammar. */
#include "student.h"

#if STUDENT_TOKENIZER

/* Of the two ways to cut a text one is compiled; in a browser both are, and the model says which. */
#if STUDENT_WEB
#define ENCODE(how) static int32_t encode_##how
#else
#define ENCODE(how) int32_t student_encode
#endif

const char *student_piece(int32_t token, int32_t *bytes) {
  const student_offset *at = student_text.at;
  if (token < 0 || token >= student_model.vocab) token = 0, *bytes = 0;
  else *bytes = (int32_t)(at[token + 1] - at[token]);
  return (const char *)student_text.pieces + at[token];
}

/* The bytes of a token that text begins with, or 0. */
static int32_t begins(const char *text, int32_t token) {
  int32_t n, i;
  const char *piece = student_piece(token, &n);
  for (i = 0; i < n; i++)
    if (!text[i] || text[i] != piece[i]) return 0;
  return n;
}

/* The longest of the added tokens that text begins with, or -1. */
static int32_t added(const char *text, int32_t *length) {
  int32_t i, n, best = -1;
  *length = 0;
  for (i = 0; i < student_text.added_count; i++) {
    n = begins(text, student_text.added[i]);
    if (n > *length) *length = n, best = student_text.added[i];
  }
  return best;
}

#if STUDENT_BPE
enum { OTHER, LETTER, NUMBER, SPACE, UNKNOWN };

#if STUDENT_WEB
/* The class of a character, as the browser knows it. */
extern int student_class(uint32_t c);
#endif

/* The class of the character that text begins with, and its bytes. Characters beyond U+024F are not known on a device. */
static int class_of(const char *text, int32_t *n) {
  const uint8_t *t = (const uint8_t *)text;
  uint32_t c = t[0];
  *n = 1;
  if (c < 0x80) {
    if ((c | 32) >= 'a' && (c | 32) <= 'z') return LETTER;
    if (c >= '0' && c <= '9') return NUMBER;
    return c == ' ' || (c >= 9 && c <= 13) ? SPACE : OTHER;
  }
#if STUDENT_WEB
  for (*n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4, c &= 0x7f >> *n, t++; *t >> 6 == 2; t++) c = c << 6 | (*t & 63);
  return student_class(c);
#else
  if (c < 0xc2 || c > 0xc9 || (t[1] & 0xc0) != 0x80) return UNKNOWN;
  *n = 2;
  c = (c & 31) << 6 | (t[1] & 63);
  if (c == 0x85 || c == 0xa0) return SPACE;
  if (c == 0xaa || c == 0xb5 || c == 0xba || (c >= 0xc0 && c != 0xd7 && c != 0xf7)) return LETTER;
  if (c == 0xb2 || c == 0xb3 || c == 0xb9 || (c >= 0xbc && c <= 0xbe)) return NUMBER;
  return OTHER;
#endif
}

/* The bytes of the characters of one class that text begins with, before a stop. */
static int32_t stretch(const char *text, const char *stop, int class) {
  int32_t n = 0, k;
  while (text + n < stop && class_of(text + n, &k) == class) n += k;
  return n;
}

/* The bytes of the first word: GPT-2's 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static int32_t word(const char *text, const char *stop) {
  int32_t n, k, space, last;
  int class = class_of(text, &n);
  const char a = text[0] == '\'' && text + 1 < stop ? text[1] : 0, b = a && text + 2 < stop ? text[2] : 0;
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  if (class == UNKNOWN) return -1;
  space = text[0] == ' ' && text + 1 < stop;
  if (space) {
    class = class_of(text + 1, &k);
    if (class == UNKNOWN) return -1;
  }
  if (class != SPACE) return space + stretch(text + space, stop, class);
  for (n = 0, last = 0; text + n < stop && class_of(text + n, &k) == SPACE; n += k) last = k;
  return text + n < stop && n > last ? n - last : n; /* the last space belongs to the word behind it */
}

/* Joins the pair that stands first in the list of merges, until none is in it. */
static int32_t merge(int32_t *t, int32_t n) {
  int32_t r = 0, i, k;
  while (r < student_text.merge_count) {
    const uint16_t *m = student_text.merges + 3 * r++;
    for (i = 0; i + 1 < n; i++)
      if (t[i] == m[0] && t[i + 1] == m[1]) {
        t[i] = m[2];
        n--;
        for (k = i + 1; k < n; k++) t[k] = t[k + 1];
        r = 0;
        break;
      }
  }
  return n;
}

static int32_t encode_word(const char *text, int32_t bytes, int32_t *tokens, int32_t max) {
  int32_t i;
  if (bytes > max) return -1;
  for (i = 0; i < bytes; i++) {
    if (student_text.byte[(uint8_t)text[i]] == 0xffff) return -1;
    tokens[i] = student_text.byte[(uint8_t)text[i]];
  }
  return merge(tokens, bytes);
}

ENCODE(words)(const char *text, int32_t *tokens, int32_t max) {
  int32_t n = 0, k, id;
  while (*text) {
    const char *stop = text;
    while (*stop && added(stop, &k) < 0) stop++;
    while (text < stop) {
      k = word(text, stop);
      if (k < 0) return -1;
      id = encode_word(text, k, tokens + n, max - n);
      if (id < 0) return -1;
      n += id;
      text += k;
    }
    id = *text ? added(text, &k) : -1;
    if (id >= 0) {
      if (n == max) return -1;
      tokens[n++] = id;
      text += k;
    }
  }
  return n;
}
#endif

#if !STUDENT_BPE || STUDENT_WEB
ENCODE(characters)(const char *text, int32_t *tokens, int32_t max) {
  int32_t n = 0, k, id;
  while (*text) {
    id = added(text, &k);
    for (; id < student_model.vocab && k == 0; k = k ? k : begins(text, id)) id++; /* one character each: no piece begins another */
    if (k == 0 || n == max) return -1;
    tokens[n++] = id;
    text += k;
  }
  return n;
}
#endif

#if STUDENT_WEB
int32_t student_encode(const char *text, int32_t *tokens, int32_t max) {
  return student_text.merges ? encode_words(text, tokens, max) : encode_characters(text, tokens, max);
}
#endif
#endif

#if STUDENT_TASK
int student_legal(const char *prompt, uint8_t *mask) {
  int32_t i, k, n = 0, length = 0;
  for (i = 0; i < (student_model.vocab + 7) >> 3; i++) mask[i] = 0;
  while (prompt[length]) length++;
  for (i = 0; i < student_task.count; i++) {
    const uint16_t *r = student_task.rules + 3 * i; /* legal where this character stands there: its token */
    if (r[0] >= length || (uint8_t)prompt[r[0]] != r[1]) continue;
    k = r[2];
    if (!(mask[k >> 3] >> (k & 7) & 1)) n++;
    mask[k >> 3] |= (uint8_t)(1 << (k & 7));
  }
  return n;
}

int student_play(student_state *s, const char *prompt) {
  uint8_t mask[STUDENT_MASK];
  int32_t tokens[1], n, bytes;
  char one[8];
  const char *piece;
  if (student_legal(prompt, mask) == 0) return -1;
  student_reset(s);
  while (*prompt) { /* a character at a time, which is a token */
    for (n = 0; n == 0 || ((uint8_t)prompt[n] & 0xc0) == 0x80; n++)
      if (n + 1 < (int32_t)sizeof one) one[n] = prompt[n];
    if (n >= (int32_t)sizeof one) return -1;
    one[n] = 0;
    if (student_encode(one, tokens, 1) != 1 || student_feed(s, tokens[0])) return -1;
    prompt += n;
  }
  n = student_argmax(s, mask);
  if (n < 0) return -1;
  piece = student_piece(n, &bytes);
  return bytes == 1 ? (uint8_t)piece[0] : -1;
}
#endif

#if STUDENT_GRAMMAR
int32_t student_may(int32_t state, int32_t left, uint8_t *mask) {
  const student_grammar_data *g = &student_grammar;
  uint32_t i;
  int32_t n = 0, k;
  for (k = 0; k < STUDENT_MASK; k++) mask[k] = 0;
  for (i = g->from[state]; i < g->from[state + 1]; i++) {
    if (g->least[g->to[i]] >= left) continue;
    k = g->tokens[i];
    mask[k >> 3] |= (uint8_t)(1 << (k & 7));
    n++;
  }
#if STUDENT_EOS >= 0
  if (g->least[state] == 0 && g->from[state] < g->from[state + 1]) {
    mask[STUDENT_EOS >> 3] |= 1 << (STUDENT_EOS & 7);
    n++;
  }
#endif
  return n;
}

int32_t student_after(int32_t state, int32_t token) {
  const student_grammar_data *g = &student_grammar;
  uint32_t i;
  for (i = g->from[state]; i < g->from[state + 1]; i++)
    if (g->tokens[i] == token) return g->to[i];
  return -1;
}

int32_t student_write(student_state *s, int32_t max, const student_sampling *how, uint32_t *random, student_word *work,
                      int (*out)(void *arg, int32_t token), void *arg) {
  uint8_t mask[STUDENT_MASK];
  int32_t n = 0, state = 0, token;
  if (max > student_model.context - s->pos + 1) max = student_model.context - s->pos + 1; /* the last is not read */
  if (max < student_grammar.least[0]) return -1;
  while (n < max && student_may(state, max - n, mask)) {
#if STUDENT_SAMPLE
    token = how ? student_sample(s, mask, how, random, work) : student_argmax(s, mask);
#else
    (void)how, (void)random, (void)work;
    token = student_argmax(s, mask);
#endif
    if (token < 0) return -1;
    if (token == STUDENT_EOS) break;
    state = student_after(state, token);
    n++;
    if (out(arg, token) || student_feed(s, token)) break;
  }
  return n;
}
#endif

#undef ENCODE
