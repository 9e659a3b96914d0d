/* The student in a browser: the sources of engine/export/c99 as they are, and a digest in steps, between which a page stays alive. */
#include "student.h"

struct student_image {
  student_model_data model;
  student_text_data text;
};

__attribute__((import_module("page"), import_name("class"))) extern int student_class(uint32_t c);

#include "student.c"
#include "text.c"

/* What the compiler makes of loops and copies. */
__attribute__((no_builtin("memset"))) void *memset(void *to, int c, size_t n) {
  char *p = to;
  while (n--) *p++ = (char)c;
  return to;
}

__attribute__((no_builtin("memcpy"))) void *memcpy(void *to, const void *from, size_t n) {
  char *p = to;
  const char *q = from;
  while (n--) *p++ = *q++;
  return to;
}

static struct {
  hash part, all;
  uint32_t random;
  int32_t at;
} proof;

static void end_part(void) {
  int i;
  sha256_end(&proof.part);
  for (i = 0; i < 32; i++) sha256_byte(&proof.all, (uint8_t)(proof.part.h[i >> 2] >> (24 - 8 * (i & 3))));
  begin(&proof.part, 0);
}

/* How many tokens the digest's stream has. */
int32_t web_stream(void) { return stream_tokens(); }

/* Goes on with the digest by some tokens of its stream. Returns how many are left; 0 with the digest at the end; -1 where a result is
   no number. It begins again after the end. */
int32_t web_digest(student_state *s, student_word *work, int32_t tokens, char digest[65]) {
  const int32_t all = stream_tokens(), to = tokens < all - proof.at ? proof.at + tokens : all;
  if (proof.at == 0) {
    begin(&proof.all, 0);
    begin(&proof.part, 0);
    proof.random = 2;
    student_reset(s);
    put_functions(s, &proof.part);
    end_part();
  }
  if (put_stream(s, &proof.part, work, &proof.random, proof.at, to)) return -1;
  proof.at = to;
  if (to < all) return all - to;
  end_part();
  put_weights(&proof.part);
  end_part();
  sha256_end(&proof.all);
  hex(&proof.all, digest);
  student_reset(s);
  proof.at = 0;
  return 0;
}
