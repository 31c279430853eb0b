/* What is known of a loop over reads, to run it as integer products (mho_fused.c, mho_fused_plan.c). */
#ifndef MHO_FUSED_H
#define MHO_FUSED_H

#include "mho_loops.h"

enum { LANES = 16, AT_ONCE = 8 };

typedef struct mho_reading {
    uint32_t crossbar, rows, cols, row_start, col_start, first_row, first_col, bits;
    mho_operand codes, row_offsets, row_signs, row_shifts, sums, column_offsets, column_weights;
    mho_address code, shift, target;
} mho_reading;

/* Sums at `targets` grow by weights [outputs][width] times inputs: (codes at `offsets` >> shifts) & masks. Weights that
   are not zero lie between `starts` and `stops`; or a line of weights holds `stops` pairs of an input's number and its
   weight, where few are not zero. */
typedef struct mho_part {
    int32_t *offsets, *targets;
    uint8_t *shifts;
    uint16_t *starts, *stops;
    int16_t *masks, *weights;
    uint32_t inputs, outputs, width, takes_all, is_sparse; /* takes_all: whole codes; is_sparse: weights are pairs */
    uint32_t repeat; /* inputs are those of the first so many codes, again and again with other shifts; 0: they are not */
    uint32_t shares; /* and those codes are the inputs of the part before */
} mho_part;

/* What is known of the loop at word `at` on these cells. */
typedef struct mho_plan {
    const uint8_t *cells;
    uint32_t at, pool_used, levels, count;
    mho_part parts[2];
} mho_plan;

/* Find what the loop at word `at`, on the cells at `data`, was planned as, or plan it; NULL: there is no room. */
const mho_plan *mho_find_plan(const mho_machine *machine, const mho_nest *nest, const mho_reading *reading, uint32_t at,
                              const uint8_t *data);
/* The hardware is opened; a sample begins. */
void mho_forget_plans(void);
void mho_begin_plans(void);

#endif
