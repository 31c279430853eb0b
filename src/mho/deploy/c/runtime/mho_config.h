/* The most that this runtime takes. `mho deploy` writes one that fits its program; this one is for many programs. */
#ifndef MHO_CONFIG_H
#define MHO_CONFIG_H
#define MHO_MAX_LOOPS 16
#define MHO_MAX_ROWS 1024
#define MHO_MAX_COLS 1024
#define MHO_MAX_CROSSBARS 4096
#define MHO_MAX_BLOCKS 64
#define MHO_ARENA_BYTES 16777216
#define MHO_FUSED_BYTES 16777216
#endif
