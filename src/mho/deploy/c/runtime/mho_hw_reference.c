/* Reference hardware: an ideal crossbar, simulated. It keeps no cells but refers to the blocks that it was given. */
#include "mho_hw.h"
#include "mho_internal.h"

enum { NO_CROSSBAR = 1, NOT_WRITTEN = 2, NOT_DRIVEN = 3, NOT_READ = 4, OUTSIDE = 5, TOO_MANY_BLOCKS = 6, TOO_LARGE = 7 };

typedef struct block {
    mho_cells cells;
    uint32_t row, col;
} block;

typedef struct crossbar {
    block blocks[MHO_MAX_BLOCKS];
    uint32_t count;
} crossbar;

static struct {
    crossbar crossbars[MHO_MAX_CROSSBARS];
    int16_t drives[MHO_MAX_ROWS];
    int32_t counts[MHO_MAX_COLS];
    uint16_t narrow[MHO_MAX_COLS + 8];
    mho_chip chip;
    uint32_t first_row, driven, of, is_driven, is_read, code, rows_at_once;
} hw;

static mho_status fail(uint32_t code) {
    hw.code = code;
    return MHO_E_HARDWARE;
}

mho_status mho_hw_open(const mho_chip *chip) {
    uint32_t largest;
    if (chip->crossbars > MHO_MAX_CROSSBARS || chip->rows > MHO_MAX_ROWS || chip->cols > MHO_MAX_COLS) {
        return fail(TOO_LARGE);
    }
    if (chip->cell_bits < 1 || chip->cell_bits > 8 || chip->dac_bits < 1 || chip->dac_bits > 15) {
        return fail(TOO_LARGE);
    }
    hw.chip = *chip;
    largest = ((1U << chip->cell_bits) - 1U) * ((1U << chip->dac_bits) - 1U);
    /* Counts of so many rows fit 16 bits. */
    hw.rows_at_once = INT16_MAX / largest;
    hw.code = 0;
#ifdef MHO_FUSED
    mho_fused_open();
#endif
    return mho_hw_reset();
}

mho_status mho_hw_close(void) { return MHO_OK; }

mho_status mho_hw_reset(void) {
    uint32_t i;
    for (i = 0; i < hw.chip.crossbars; i++) {
        hw.crossbars[i].count = 0;
    }
    hw.is_driven = hw.is_read = 0;
    return MHO_OK;
}

mho_status mho_hw_begin_layer(uint32_t layer, uint32_t adc_bits) {
    (void)layer;
    (void)adc_bits; /* ADCs are ideal */
    return MHO_OK;
}

mho_status mho_hw_write_tile(uint32_t number, uint32_t row, uint32_t col, const mho_cells *cells, int joins) {
    crossbar *one;
    if (number >= hw.chip.crossbars) {
        return fail(NO_CROSSBAR);
    }
    if (row > hw.chip.rows || cells->rows > hw.chip.rows - row || col > hw.chip.cols ||
        cells->cols > hw.chip.cols - col) {
        return fail(OUTSIDE);
    }
    one = &hw.crossbars[number];
    if (!joins) {
        one->count = 0;
    }
    if (one->count >= MHO_MAX_BLOCKS) {
        return fail(TOO_MANY_BLOCKS);
    }
    one->blocks[one->count].cells = *cells;
    one->blocks[one->count].row = row;
    one->blocks[one->count].col = col;
    one->count++;
    if (hw.of == number) {
        hw.is_driven = hw.is_read = 0;
    }
    return MHO_OK;
}

mho_status mho_hw_load_drives(uint32_t number, uint32_t first_row, const int16_t *drives, uint32_t count) {
    uint32_t i;
    if (number >= hw.chip.crossbars) {
        return fail(NO_CROSSBAR);
    }
    if (hw.crossbars[number].count == 0) {
        return fail(NOT_WRITTEN);
    }
    if (first_row > hw.chip.rows || count > hw.chip.rows - first_row) {
        return fail(OUTSIDE);
    }
    for (i = 0; i < count; i++) {
        hw.drives[i] = drives[i];
    }
    hw.first_row = first_row;
    hw.driven = count;
    hw.of = number;
    hw.is_driven = 1;
    hw.is_read = 0;
    return MHO_OK;
}

/* Add up whole numbers of 16 bits, modulo 2^16, of one row of packed cells: plane p holds columns p, p + planes, ... */
static void add_row(uint16_t *planes, uint32_t plane_size, const uint8_t *row, uint32_t bytes, uint32_t bits,
                    uint16_t drive) {
    uint32_t p, k;
    if (bits == 8) {
        for (k = 0; k < bytes; k++) {
            planes[k] = (uint16_t)(planes[k] + (uint16_t)(drive * row[k]));
        }
        return;
    }
    for (p = 0; p < 8 / bits; p++) {
        uint16_t *plane = planes + p * plane_size;
        const uint32_t shift = p * bits, mask = (1U << bits) - 1U;
        if (drive == 1) {
            for (k = 0; k < bytes; k++) {
                plane[k] = (uint16_t)(plane[k] + ((row[k] >> shift) & mask));
            }
        } else {
            for (k = 0; k < bytes; k++) {
                plane[k] = (uint16_t)(plane[k] + (uint16_t)(drive * ((row[k] >> shift) & mask)));
            }
        }
    }
}

/* Bytes of one row of a block: fewer than from row to row where the block is a part of a wider matrix. */
static uint32_t block_bytes(const block *one) { return (one->cells.cols * one->cells.bits + 7) / 8; }

static void flush(const block *one) {
    const uint32_t planes = 8 / one->cells.bits, size = block_bytes(one);
    uint32_t p, k;
    for (p = 0; p < planes; p++) {
        int32_t *counts = hw.counts + one->col;
        const uint16_t *sums = hw.narrow + p * size;
        for (k = 0; k * planes + p < one->cells.cols; k++) {
            counts[k * planes + p] += mho_signed16(sums[k]);
        }
    }
    for (k = 0; k < planes * size; k++) {
        hw.narrow[k] = 0;
    }
}

static void multiply_narrow(const block *one, uint32_t start, uint32_t stop) {
    const uint32_t bytes = block_bytes(one);
    uint32_t r, rows = 0;
    for (r = start; r < stop; r++) {
        const int16_t drive = hw.drives[r - hw.first_row];
        if (drive == 0) {
            continue;
        }
        add_row(hw.narrow, bytes, one->cells.data + (size_t)(r - one->row) * one->cells.row_bytes, bytes,
                one->cells.bits, (uint16_t)drive);
        if (++rows == hw.rows_at_once) {
            flush(one);
            rows = 0;
        }
    }
    if (rows) {
        flush(one);
    }
}

static void multiply_wide(const block *one, uint32_t start, uint32_t stop) {
    const uint32_t bits = one->cells.bits, mask = (1U << bits) - 1U;
    uint32_t r, c;
    for (r = start; r < stop; r++) {
        const int32_t drive = hw.drives[r - hw.first_row];
        const uint8_t *row = one->cells.data + (size_t)(r - one->row) * one->cells.row_bytes;
        for (c = 0; drive != 0 && c < one->cells.cols; c++) {
            const uint32_t cell = ((uint32_t)row[c * bits / 8] >> (c * bits % 8)) & mask;
            hw.counts[one->col + c] += drive * (int32_t)cell;
        }
    }
}

mho_status mho_hw_mvm(uint32_t number) {
    const uint32_t last = hw.first_row + hw.driven;
    uint32_t i;
    if (number >= hw.chip.crossbars) {
        return fail(NO_CROSSBAR);
    }
    if (!hw.is_driven || hw.of != number) {
        return fail(NOT_DRIVEN);
    }
    for (i = 0; i < hw.chip.cols; i++) {
        hw.counts[i] = 0;
    }
    for (i = 0; i < hw.crossbars[number].count; i++) {
        const block *one = &hw.crossbars[number].blocks[i];
        const uint32_t end = one->row + one->cells.rows;
        const uint32_t start = one->row > hw.first_row ? one->row : hw.first_row, stop = end < last ? end : last;
        if (hw.rows_at_once > 0) {
            multiply_narrow(one, start, stop);
        } else {
            multiply_wide(one, start, stop);
        }
    }
    hw.is_read = 1;
    return MHO_OK;
}

mho_status mho_hw_read_columns(uint32_t number, uint32_t first_col, int32_t *counts, uint32_t count) {
    uint32_t i;
    if (!hw.is_read || hw.of != number) {
        return fail(NOT_READ);
    }
    if (first_col > hw.chip.cols || count > hw.chip.cols - first_col) {
        return fail(OUTSIDE);
    }
    for (i = 0; i < count; i++) {
        counts[i] = hw.counts[first_col + i];
    }
    return MHO_OK;
}

mho_status mho_hw_barrier(void) { return MHO_OK; }

uint32_t mho_hw_status(void) { return hw.code; }

#ifdef MHO_FUSED
const uint8_t *mho_reference_block(uint32_t number) {
    return number < hw.chip.crossbars && hw.crossbars[number].count > 0 ? hw.crossbars[number].blocks[0].cells.data : NULL;
}

void mho_reference_cells(uint32_t number, uint16_t *cells) {
    uint32_t i, r, c;
    memset(cells, 0, (size_t)hw.chip.rows * hw.chip.cols * sizeof *cells);
    for (i = 0; i < hw.crossbars[number].count; i++) {
        const block *one = &hw.crossbars[number].blocks[i];
        const uint32_t bits = one->cells.bits, mask = (1U << bits) - 1U;
        for (r = 0; r < one->cells.rows; r++) {
            const uint8_t *row = one->cells.data + (size_t)r * one->cells.row_bytes;
            uint16_t *out = cells + (size_t)(one->row + r) * hw.chip.cols + one->col;
            for (c = 0; c < one->cells.cols; c++) {
                out[c] = (uint16_t)(out[c] + (((uint32_t)row[c * bits / 8] >> (c * bits % 8)) & mask));
            }
        }
    }
}
#endif
