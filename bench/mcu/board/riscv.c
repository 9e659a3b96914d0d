/* QEMU's RISC-V board virt: start, UART, the device that ends the emulation. */
#include "board.h"
#include "common.h"

__asm__(".section .init\n.global _start\n_start:\n la sp, board_stack_top\n"
#ifdef __riscv_flen
        " li t0, 0x2000\n csrs mstatus, t0\n csrw fcsr, zero\n" /* the floating-point unit is on */
#endif
        " j board_start\n.text\n");

void board_puts(const char *s) {
  while (*s) *(volatile uint8_t *)0x10000000 = (uint8_t)*s++;
}

int board_getc(void) {
  while (!(*(volatile uint8_t *)0x10000005 & 1)) {}
  return *(volatile uint8_t *)0x10000000;
}

void board_exit(int status) {
  *(volatile uint32_t *)0x100000 = status ? (uint32_t)status << 16 | 0x3333 : 0x5555;
  for (;;) {}
}

__attribute__((used)) void board_start(void) { board_main(); }
