/* Cortex-M on QEMU's mps2 and mps3 boards: vector table, reset, semihosting. */
#include "board.h"
#include "common.h"

static int call(int op, const void *arg) {
  register int r0 __asm__("r0") = op;
  register const void *r1 __asm__("r1") = arg;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void board_puts(const char *s) { call(0x04, s); }

/* SYS_OPEN and SYS_READ of a pipe that the emulator was started beside: at a console QEMU 7.2 does not wait for input. */
int board_getc(void) {
  static int prompts = -1;
  uint8_t c;
  uint32_t a[3];
  if (prompts < 0) {
    a[0] = (uint32_t)"prompts", a[1] = 0, a[2] = 7;
    prompts = call(0x01, a);
    if (prompts < 0) return -1;
  }
  a[0] = (uint32_t)prompts, a[1] = (uint32_t)&c, a[2] = 1;
  return call(0x06, a) == 0 ? c : -1;
}

void board_exit(int status) {
  uint32_t a[2];
  a[0] = 0x20026u, a[1] = (uint32_t)status;
  call(0x20, a);
  for (;;) {}
}

__attribute__((used)) static void start(void) { board_main(); }

__attribute__((naked)) void Reset_Handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  *(volatile uint32_t *)0xE000ED88 |= 0xfu << 20; /* CPACR: the floating-point unit is on */
  __asm__ volatile("dsb\n isb");
#endif
  __asm__ volatile("bl start");
}

static void fault(void) {
  board_puts("FAULT\n");
  board_exit(2);
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
  &board_stack_top, (void *)Reset_Handler, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault};
