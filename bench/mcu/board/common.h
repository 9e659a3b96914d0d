/* What the start-up files share. */
#include <stddef.h>

void board_number(uint32_t v) {
  char b[12];
  int k = 11;
  b[k] = 0;
  do {
    b[--k] = (char)('0' + v % 10);
    v /= 10;
  } while (v);
  board_puts(b + k);
}

/* What compilers call for copies of structures, without a C library. */
void *memset(void *d, int c, size_t n) {
  char *p = d;
  while (n--) *p++ = (char)c;
  return d;
}

void *memcpy(void *d, const void *s, size_t n) {
  char *p = d;
  const char *q = s;
  while (n--) *p++ = *q++;
  return d;
}

extern uint32_t board_data_load, board_data, board_data_end, board_bss, board_ram_end;
int main(void);

static void board_main(void) {
  uint32_t *s = &board_data_load, *d = &board_data;
  while (d < &board_data_end) *d++ = *s++;
  for (d = &board_bss; d < &board_ram_end;) *d++ = 0;
  board_exit(main());
}
