/* Programs for boards. WHAT: 1 the digest, 2 the self-test as often as the emulator says, 3 as many tokens as it says, 4 answers to
   prompts, 5 calls of everything. */
#include "board.h"
#include "student.h"

static student_state state;

#if WHAT == 1
static student_word work[STUDENT_VOCAB];

int main(void) {
  char digest[65], parts[3][65];
  int i;
  if (student_digest(&state, work, digest, parts)) return 1;
  board_puts(digest);
  for (i = 0; i < 3; i++) board_puts(" "), board_puts(parts[i]);
  board_puts("\n");
  return 0;
}
#endif

#if WHAT == 2 || WHAT == 3 || WHAT == 4
#define PAINT 0xdeadbeefu

/* Bytes of stack that f uses below this function. */
static uint32_t __attribute__((noinline)) stack_of(void (*f)(void)) {
  uint32_t *volatile top, *p;
#if defined(__arm__)
  uint32_t *sp;
  __asm__ volatile("mov %0, sp" : "=r"(sp));
#else
  uint32_t *sp;
  __asm__ volatile("mv %0, sp" : "=r"(sp));
#endif
  top = sp;
  for (p = &board_ram_end; p < top; p++) *p = PAINT;
  f();
  for (p = &board_ram_end; *p == PAINT; p++) {}
  return (uint32_t)((char *)top - (char *)p);
}

static int result, times;

#if WHAT == 4
/* Reads prompts line by line and writes an answer for each, from the start as a program would; an empty line ends it. */
static void run(void) {
  static char line[64];
  result = student_selftest(&state);
  while (!result) {
    int c, n = 0;
    char answer[3] = {0, '\n', 0};
    while ((c = board_getc()) > 0 && c != '\n')
      if (n + 1 < (int)sizeof line) line[n++] = (char)c;
    line[n] = 0;
    if (n == 0) return;
    c = student_play(&state, line);
    if (c < 0) {
      result = 1;
      return;
    }
    answer[0] = (char)c;
    board_puts(answer);
  }
}
#else
static void run(void) {
  int i;
#if WHAT == 2
  for (i = 0; i < times; i++) result |= student_selftest(&state);
#ifdef UNCHECKED
  result = 0;
#endif
#else
  student_reset(&state);
  for (i = 0; i < times; i++) {
    if (student_feed(&state, i % STUDENT_VOCAB)) result = -1;
    if (student_argmax(&state, NULL) < 0) result = -1;
  }
#endif
}
#endif

int main(void) {
  times = (int)board_stack_top;
  board_number(stack_of(run));
  board_puts("\n");
  return result;
}
#endif

#if WHAT == 5
#if STUDENT_GRAMMAR
static int put(void *arg, int32_t token) {
  (void)arg, (void)token;
  return 0;
}
#endif

/* So that a linker keeps what a program would use. */
int main(void) {
  int32_t token;
  student_reset(&state);
#if STUDENT_SELFTEST
  if (student_selftest(&state)) return 1;
#endif
  if (student_feed(&state, 0)) return 1;
#if STUDENT_SAMPLE
  {
    static student_word work[STUDENT_VOCAB];
    static const student_sampling how = {1.0f, 0, 0.0f, 0.0f};
    uint32_t random = 1;
    token = student_sample(&state, NULL, &how, &random, work);
  }
#else
  token = student_argmax(&state, NULL);
#endif
#if STUDENT_TASK
  token += student_play(&state, "");
#elif STUDENT_TOKENIZER
  {
    static int32_t tokens[8];
    token += student_encode("", tokens, 8) + *student_piece(token, tokens);
  }
#endif
#if STUDENT_GRAMMAR
  token += student_write(&state, 1, NULL, NULL, NULL, put, NULL);
#endif
  return (int)token;
}
#endif
