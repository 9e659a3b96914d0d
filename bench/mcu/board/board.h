/* What a program on an emulated board uses. */
#ifndef BOARD_H
#define BOARD_H
#include <stdint.h>
void board_puts(const char *s);
void board_number(uint32_t v);
int board_getc(void); /* -1 at the end */
void board_exit(int status);
extern uint32_t board_stack_top;
extern uint32_t board_ram_end; /* behind .bss, where the stack may grow down to */
#endif
