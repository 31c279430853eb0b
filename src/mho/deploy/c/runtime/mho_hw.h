/* What a crossbar chip does for the runtime: ten functions. mho_hw_reference.c simulates them; write your own for a chip.

   Each returns MHO_OK, or MHO_E_HARDWARE where it cannot do what is asked, which ends the run. Calls come from one thread.
   Crossbars are numbered from 0, their rows and columns too. */
#ifndef MHO_HW_H
#define MHO_HW_H

#include "mho.h"

/* What the program was compiled for. */
typedef struct mho_chip {
    uint32_t crossbars, rows, cols, cell_bits, dac_bits;
    uint32_t adc_bits; /* 0: ideal */
} mho_chip;

/* A block of cells: row r starts at data + r * row_bytes; cell c of it has `bits` (1, 2, 4 or 8) bits from bit
   c * bits on, the lowest bit of the first byte first. The block stays in memory until the crossbar is written again. */
typedef struct mho_cells {
    const uint8_t *data;
    uint32_t rows, cols, row_bytes, bits;
} mho_cells;

#ifdef __cplusplus
extern "C" {
#endif

/* Take the chip; refuse what it cannot be. */
mho_status mho_hw_open(const mho_chip *chip);

/* Give the chip back. */
mho_status mho_hw_close(void);

/* All cells are zero, nothing is driven, there are no counts. */
mho_status mho_hw_reset(void);

/* All that follows belongs to this layer. adc_bits: of its ADCs; 0: as opened. */
mho_status mho_hw_begin_layer(uint32_t layer, uint32_t adc_bits);

/* Write a block, its first cell at (row, col). All other cells become zero, unless it joins the write before it. */
mho_status mho_hw_write_tile(uint32_t crossbar, uint32_t row, uint32_t col, const mho_cells *cells, int joins);

/* Drive rows first_row .. first_row + count - 1; no other row is driven. |drive| < 2^dac_bits, negative ones are read
   voltages of the other polarity. */
mho_status mho_hw_load_drives(uint32_t crossbar, uint32_t first_row, const int16_t *drives, uint32_t count);

/* Begin one analog read: the count of column c becomes the sum over the driven rows of drive[r] * cell[r, c]. */
mho_status mho_hw_mvm(uint32_t crossbar);

/* Wait for the read and take counts of columns first_col .. first_col + count - 1. */
mho_status mho_hw_read_columns(uint32_t crossbar, uint32_t first_col, int32_t *counts, uint32_t count);

/* Return when all that was begun is finished: after the writes of a layer that stay, and at the end of a sample. */
mho_status mho_hw_barrier(void);

/* The hardware's own code of what went wrong; 0: nothing. */
uint32_t mho_hw_status(void);

#ifdef __cplusplus
}
#endif

#endif
