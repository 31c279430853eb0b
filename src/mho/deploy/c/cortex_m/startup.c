/* Start of a bare Cortex-M4: memory, floating point, then main, whose result ends the semihosting session. */
#include <stdint.h>
#include <stdlib.h>

extern uint32_t stack_top, data_source, data_start, data_end, bss_start, bss_end;
extern void initialise_monitor_handles(void);
extern int main(void);
void reset(void);
void halt(void);
void _init(void);
void _fini(void);

void _init(void) {}
void _fini(void) {}

void reset(void) {
    volatile uint32_t *const coprocessors = (volatile uint32_t *)0xe000ed88U;
    uint32_t *to, *from = &data_source;
    *coprocessors |= 0xfU << 20; /* the floating-point unit, before anything uses it */
    __asm volatile("dsb\n isb");
    for (to = &data_start; to < &data_end;) {
        *to++ = *from++;
    }
    for (to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    initialise_monitor_handles();
    exit(main());
}

void halt(void) {
    for (;;) {
    }
}

typedef void (*handler)(void);
typedef union vector {
    const void *stack;
    handler run;
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = &stack_top}, {.run = reset}, {.run = halt}, {.run = halt}, {.run = halt}, {.run = halt}, {.run = halt},
    {.run = halt},         {.run = halt},  {.run = halt}, {.run = halt}, {.run = halt}, {.run = halt}, {.run = halt},
    {.run = halt},         {.run = halt},
};
