/* Checks of what surrounds and makes the reads of a crossbar, from quantized inputs to requantized sums. */
#include "mho_check.h"

enum { MOST_SHIFT = 62 };

static uint32_t read_crossbar(mho_reader *r) {
    const uint32_t crossbar = mho_read_word(r);
    mho_require(r, crossbar < r->machine->program.crossbars, MHO_E_OPERAND);
    return crossbar;
}

static void check_quantize(mho_reader *r) {
    const mho_operand source = mho_read_operand(r), target = mho_read_whole_buffer(r);
    const uint32_t start = mho_read_word(r);
    const float scale = mho_float_of(mho_read_word(r));
    const int32_t zero = mho_read_signed(r), low = mho_read_signed(r), high = mho_read_signed(r);
    const uint32_t binary = mho_read_word(r);
    const int32_t offset = mho_read_signed(r);
    uint32_t rank, axis, inner = 1, outer = 1;
    mho_range codes;
    mho_require(r, source.element == MHO_F32 || mho_is_whole(&source), MHO_E_OPERAND);
    mho_require(r, scale > 0.0f && scale <= FLT_MAX && low < high && binary <= 1, MHO_E_OPERAND);
    mho_require(r, !binary || (low == -1 && high == 1), MHO_E_OPERAND);
    mho_require_small(r, zero), mho_require_small(r, low), mho_require_small(r, high), mho_require_small(r, offset);
    mho_require(r, (r->end - r->at) % 3 == 0, MHO_E_CODE);
    rank = (r->end - r->at) / 3;
    mho_require(r, rank <= MHO_MAX_RANK, MHO_E_CODE);
    for (axis = 0; axis < rank && r->status == MHO_OK; axis++) {
        const uint32_t at = r->at + 2 * axis, before = mho_word(r->machine, at), after = mho_word(r->machine, at + 1);
        const uint32_t size = mho_word(r->machine, r->at + 2 * rank + axis);
        mho_require(r, before <= 0xffffffU && after <= 0xffffffU && size <= 0x7fffffffU - before - after, MHO_E_ADDRESS);
        inner = mho_multiply(r, inner, size);
        outer = mho_multiply(r, outer, before + size + after);
    }
    r->at = r->end;
    mho_require(r, inner == source.count && start <= target.count && outer <= target.count - start, MHO_E_ADDRESS);
    codes.low = (low < zero ? low : zero) + (int64_t)offset;
    codes.high = (high > zero ? high : zero) + (int64_t)offset;
    mho_require_held(r, codes, &target);
}

static void check_sum_inputs(mho_reader *r) {
    const mho_operand codes = mho_read_whole_buffer(r);
    const mho_range address = mho_read_address(r);
    const mho_operand offsets = mho_read_whole_constant(r), sums = mho_read_sums(r);
    const mho_range target = mho_read_address(r), zero = {0, 0};
    mho_require_within(r, address, mho_all_range(r, &offsets), codes.count);
    mho_require_within(r, target, zero, sums.count);
}

static void check_product(mho_reader *r) {
    const mho_operand codes = mho_read_whole_buffer(r);
    const mho_range address = mho_read_address(r);
    const mho_operand rows = mho_read_whole_constant(r), stored = mho_read_operand(r);
    const mho_range stored_address = mho_read_address(r);
    const mho_operand stored_rows = mho_read_whole_constant(r), columns = mho_read_whole_constant(r);
    const mho_operand sums = mho_read_sums(r);
    const mho_range target = mho_read_address(r);
    const mho_operand targets = mho_read_whole_constant(r);
    const mho_range of_rows = mho_all_range(r, &stored_rows), of_columns = mho_all_range(r, &columns);
    mho_range places;
    mho_require(r, mho_is_whole(&stored) && stored.rows == 0, MHO_E_OPERAND);
    mho_require(r, rows.count == stored_rows.count && columns.count == targets.count, MHO_E_OPERAND);
    mho_require(r, mho_within32(of_rows) && mho_within32(of_columns), MHO_E_ADDRESS);
    places.low = of_rows.low + of_columns.low;
    places.high = of_rows.high + of_columns.high;
    mho_require_within(r, address, mho_all_range(r, &rows), codes.count);
    mho_require_within(r, stored_address, places, stored.count);
    mho_require_within(r, target, mho_all_range(r, &targets), sums.count);
}

static void check_write(mho_reader *r) {
    const mho_program *p = &r->machine->program;
    mho_operand cells;
    mho_range index;
    uint32_t rows, cols, row, col, start;
    read_crossbar(r);
    mho_require(r, mho_is_constant(r), MHO_E_OPERAND);
    cells = mho_read_operand(r);
    mho_require(r, cells.rows > 0, MHO_E_OPERAND);
    index = mho_read_address(r);
    start = mho_read_word(r), rows = mho_read_word(r);
    mho_require(r, start < rows && rows <= cells.rows, MHO_E_ADDRESS);
    rows -= start;
    start = mho_read_word(r), cols = mho_read_word(r);
    mho_require(r, start < cols && cols <= cells.cols, MHO_E_ADDRESS);
    /* Cells of a block start at a whole byte. */
    mho_require(r, cells.element < MHO_B1 || start * (1U << (cells.element - MHO_B1)) % 8 == 0, MHO_E_OPERAND);
    cols -= start;
    row = mho_read_word(r), col = mho_read_word(r);
    mho_require(r, row <= p->rows && rows <= p->rows - row && col <= p->cols && cols <= p->cols - col, MHO_E_ADDRESS);
    mho_require(r, mho_read_word(r) <= 1, MHO_E_OPERAND);
    if (r->status == MHO_OK) {
        mho_require(r, index.low >= 0 && index.high < (int64_t)(cells.count / (cells.rows * cells.cols)), MHO_E_ADDRESS);
    }
}

static mho_range part(mho_reader *r, const mho_operand *one, const uint32_t *span) {
    return mho_part_range(r, one, span[0], span[1], INT64_MIN);
}

static void check_dynamic(mho_reader *r) {
    const mho_program *p = &r->machine->program;
    mho_operand codes, staging, one[10];
    mho_range address, rows, columns, none = {0, 0};
    uint32_t i, row_span[2], col_span[2], is_signed, cell_bits;
    int32_t addend;
    read_crossbar(r);
    codes = mho_read_whole_buffer(r);
    address = mho_read_address(r);
    for (i = 0; i < 10; i++) {
        one[i] = mho_read_whole_constant(r);
    }
    addend = mho_read_signed(r), is_signed = mho_read_word(r), cell_bits = mho_read_word(r);
    row_span[0] = mho_read_word(r), row_span[1] = mho_read_word(r);
    col_span[0] = mho_read_word(r), col_span[1] = mho_read_word(r);
    staging = mho_read_buffer(r);
    mho_require_small(r, addend);
    mho_require(r, is_signed <= 1 && cell_bits == p->cell_bits && staging.element == MHO_U8, MHO_E_OPERAND);
    rows = part(r, &one[0], row_span);
    columns = part(r, &one[4], col_span);
    mho_require(r, rows.low >= 0 && columns.low >= -1 && mho_within32(rows) && mho_within32(columns), MHO_E_ADDRESS);
    columns = mho_part_range(r, &one[4], col_span[0], col_span[1], 0);
    rows.low += columns.low, rows.high += columns.high;
    mho_require_within(r, address, none, codes.count);
    mho_require_within(r, address, rows, codes.count);
    mho_require_range(r, part(r, &one[1], row_span), -1, 1);
    mho_require_range(r, part(r, &one[2], row_span), 0, 32);
    mho_require(r, mho_within32(part(r, &one[3], row_span)), MHO_E_OPERAND);
    mho_require_range(r, part(r, &one[5], col_span), -1, 1);
    for (i = 6; i < 9; i++) {
        mho_require_range(r, part(r, &one[i], col_span), 0, 32);
    }
    mho_require(r, mho_within32(part(r, &one[9], col_span)), MHO_E_OPERAND);
    if (r->status == MHO_OK) {
        const uint32_t height = row_span[1] - row_span[0], width = col_span[1] - col_span[0];
        mho_require(r, height <= p->rows && width <= p->cols, MHO_E_ADDRESS);
        mho_require(r, mho_multiply(r, height, width) <= staging.count, MHO_E_ADDRESS);
    }
}

static void check_load(mho_reader *r) {
    const mho_program *p = &r->machine->program;
    mho_operand codes, offsets, signs, shifts;
    mho_range address, shift, of_rows;
    uint32_t span[2], first;
    read_crossbar(r);
    codes = mho_read_whole_buffer(r);
    address = mho_read_address(r);
    offsets = mho_read_whole_constant(r), signs = mho_read_whole_constant(r), shifts = mho_read_whole_constant(r);
    span[0] = mho_read_word(r), span[1] = mho_read_word(r);
    shift = mho_read_address(r);
    mho_require(r, mho_read_word(r) == p->dac_bits, MHO_E_OPERAND);
    first = mho_read_word(r);
    mho_require_within(r, address, part(r, &offsets, span), codes.count);
    mho_require_range(r, part(r, &signs, span), -1, 1);
    of_rows = part(r, &shifts, span);
    mho_require_range(r, of_rows, 0, MOST_SHIFT);
    mho_require(r, shift.low >= 0 && shift.high + of_rows.high <= MOST_SHIFT, MHO_E_OPERAND);
    if (r->status == MHO_OK) {
        mho_require(r, first <= p->rows && span[1] - span[0] <= p->rows - first, MHO_E_ADDRESS);
    }
}

static void check_add(mho_reader *r) {
    const mho_program *p = &r->machine->program;
    mho_operand sums, offsets, weights;
    mho_range address, shift, columns;
    uint32_t span[2], first;
    read_crossbar(r);
    sums = mho_read_sums(r);
    address = mho_read_address(r);
    offsets = mho_read_whole_constant(r), weights = mho_read_whole_constant(r);
    span[0] = mho_read_word(r), span[1] = mho_read_word(r);
    shift = mho_read_address(r);
    first = mho_read_word(r);
    columns = part(r, &offsets, span);
    mho_require(r, columns.low >= -1 && mho_within32(columns), MHO_E_ADDRESS);
    if (columns.high >= 0) {
        mho_require_within(r, address, mho_part_range(r, &offsets, span[0], span[1], 0), sums.count);
    }
    part(r, &weights, span);
    mho_require(r, shift.low >= 0 && shift.high <= MOST_SHIFT, MHO_E_OPERAND);
    if (r->status == MHO_OK) {
        mho_require(r, first <= p->cols && span[1] - span[0] <= p->cols - first, MHO_E_ADDRESS);
    }
}

/* A number for each channel; where it may be left out, the word for none, and then no operand. */
static mho_operand read_per_channel(mho_reader *r, uint32_t count, int is_float, int may_lack) {
    mho_operand operand = mho_no_operand();
    if (may_lack && r->at < r->end && mho_word(r->machine, r->at) == MHO_NONE) {
        r->at++;
        return operand;
    }
    if (is_float) {
        mho_require(r, mho_is_constant(r), MHO_E_OPERAND);
        operand = mho_read_floats(r, 0);
    } else {
        operand = mho_read_whole_constant(r);
    }
    mho_require(r, operand.count == count, MHO_E_OPERAND);
    return operand;
}

static void check_last_step(mho_reader *r, int is_whole) {
    const mho_operand sums = mho_read_sums(r), target = is_whole ? mho_read_whole_buffer(r) : mho_read_floats(r, 1);
    uint32_t layout[11], i, made = 1, held, channels;
    for (i = 0; i < 11; i++) {
        layout[i] = mho_read_word(r);
    }
    for (i = 0; i < 6; i++) {
        mho_require(r, layout[i] >= 1, MHO_E_OPERAND);
        made = mho_multiply(r, made, layout[i]);
    }
    mho_require(r, layout[6] <= 1, MHO_E_OPERAND);
    for (i = 7; i < 11; i++) {
        mho_require(r, layout[i] <= 0xffffffU, MHO_E_OPERAND);
    }
    mho_require(r, layout[2] == 1 || (layout[4] == 1 && layout[5] == 1), MHO_E_OPERAND);
    if (r->status != MHO_OK) {
        return;
    }
    channels = mho_multiply(r, layout[1], layout[3]);
    held = mho_multiply(r, layout[0], layout[1]);
    held = mho_multiply(r, held, layout[3] + layout[6]);
    held = mho_multiply(r, held, layout[4] + layout[7] + layout[8]);
    if (layout[4] == 1 && layout[5] == 1) {
        held = mho_multiply(r, held, layout[2] + layout[9] + layout[10]);
    } else {
        held = mho_multiply(r, held, layout[5] + layout[9] + layout[10]);
    }
    mho_require(r, target.count == made && sums.count == held, MHO_E_ADDRESS);
    read_per_channel(r, channels, 0, 0);
    i = r->at;
    read_per_channel(r, channels, 0, 1);
    mho_require(r, r->status != MHO_OK || (mho_word(r->machine, i) != MHO_NONE) == (layout[6] == 1), MHO_E_OPERAND);
    if (r->at < r->end && mho_word(r->machine, r->at) == MHO_NONE) {
        r->at++;
    } else {
        const mho_operand stored = mho_read_sums(r);
        mho_require(r, stored.count == channels, MHO_E_OPERAND);
    }
    mho_require_small(r, mho_read_signed(r));
    read_per_channel(r, channels, !is_whole, 0);
    read_per_channel(r, channels, !is_whole, !is_whole);
    if (is_whole) {
        const uint32_t shift = mho_read_word(r);
        uint64_t limit = mho_read_word(r);
        limit |= (uint64_t)mho_read_word(r) << 32;
        mho_require(r, shift <= MHO_MOST_INT_SHIFT && limit <= (uint64_t)1 << 62, MHO_E_OPERAND);
        mho_check_limits(r, &target);
    }
}

void mho_check_crossbar(mho_reader *r, uint32_t opcode) {
    switch (opcode) {
    case OP_QUANTIZE_INPUT: check_quantize(r); break;
    case OP_CLEAR: mho_read_sums(r); break;
    case OP_SUM_INPUTS: check_sum_inputs(r); break;
    case OP_DIGITAL_PRODUCT: check_product(r); break;
    case OP_WRITE_TILE: check_write(r); break;
    case OP_WRITE_DYNAMIC: check_dynamic(r); break;
    case OP_LOAD_INPUT: check_load(r); break;
    case OP_MVM: read_crossbar(r); break;
    case OP_SHIFT_ADD: check_add(r); break;
    case OP_DEQUANTIZE: check_last_step(r, 0); break;
    case OP_REQUANTIZE: check_last_step(r, 1); break;
    default: mho_fail(r, MHO_E_CODE); break;
    }
}
