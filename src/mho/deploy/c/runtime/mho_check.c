/* Checks every instruction of an image once, for all values of the variables of its loops: what passes cannot leave its
   buffers and constants when it runs. */
#include "mho_internal.h"

#define MOST_EXECUTED 100000000000ULL
enum { MOST_SHIFT = 62, MOST_INT_SHIFT = 61, MOST_REGIONS = MHO_MAX_LOOPS + 4 };

/* Words of one instruction as they are taken, one after the other. */
typedef struct reader {
    const mho_machine *machine;
    uint32_t at, end;
    mho_status status;
    uint32_t counts[MHO_MAX_LOOPS];
    uint32_t levels;
} reader;

typedef struct range {
    int64_t low, high;
} range;

static void fail(reader *r, mho_status status) {
    if (r->status == MHO_OK) {
        r->status = status;
    }
}

static uint32_t take(reader *r) {
    if (r->at >= r->end) {
        fail(r, MHO_E_CODE);
        return 0;
    }
    return mho_word(r->machine, r->at++);
}

static int32_t take_signed(reader *r) { return mho_signed32(take(r)); }

static void require(reader *r, int holds, mho_status status) {
    if (!holds) {
        fail(r, status);
    }
}

static mho_operand nothing(void) {
    mho_operand operand;
    memset(&operand, 0, sizeof operand);
    return operand;
}

static mho_operand take_operand(reader *r) {
    const uint32_t reference = take(r), number = reference & ~MHO_CONSTANT;
    const mho_program *p = &r->machine->program;
    if (number >= ((reference & MHO_CONSTANT) ? p->constants : p->buffers)) {
        fail(r, MHO_E_OPERAND);
        return nothing();
    }
    return mho_find(r->machine, reference);
}

static int is_constant(reader *r) {
    return r->at < r->end && (mho_word(r->machine, r->at) & MHO_CONSTANT) != 0;
}

static mho_operand take_buffer(reader *r) {
    require(r, !is_constant(r), MHO_E_OPERAND);
    return take_operand(r);
}

static int is_whole(const mho_operand *operand) { return operand->element >= MHO_U8 && operand->element <= MHO_I64; }

static mho_operand take_whole_buffer(reader *r) {
    const mho_operand operand = take_buffer(r);
    require(r, is_whole(&operand), MHO_E_OPERAND);
    return operand;
}

/* Sums are held in 32 or 64 bits. */
static mho_operand take_sums(reader *r) {
    const mho_operand operand = take_buffer(r);
    require(r, operand.element == MHO_I32 || operand.element == MHO_I64, MHO_E_OPERAND);
    return operand;
}

static mho_operand take_whole_constant(reader *r) {
    mho_operand operand;
    require(r, is_constant(r), MHO_E_OPERAND);
    operand = take_operand(r);
    require(r, is_whole(&operand) && operand.rows == 0 && operand.count > 0, MHO_E_OPERAND);
    return operand;
}

static mho_operand take_floats(reader *r, int must_write) {
    mho_operand operand;
    require(r, !must_write || !is_constant(r), MHO_E_OPERAND);
    operand = take_operand(r);
    require(r, operand.element == MHO_F32, MHO_E_OPERAND);
    return operand;
}

static range take_address(reader *r) {
    range found;
    uint32_t terms, i, seen = 0;
    found.low = found.high = take_signed(r);
    terms = take(r);
    require(r, terms <= MHO_MAX_LOOPS, MHO_E_OPERAND);
    for (i = 0; i < terms && r->status == MHO_OK; i++) {
        const uint32_t level = take(r);
        const int64_t stride = take_signed(r);
        if (level >= r->levels || (seen >> level & 1U)) {
            fail(r, MHO_E_OPERAND);
            break;
        }
        seen |= 1U << level;
        if (stride < 0) {
            found.low += stride * (int64_t)(r->counts[level] - 1U);
        } else {
            found.high += stride * (int64_t)(r->counts[level] - 1U);
        }
    }
    return found;
}

/* The least and the most of a part of a constant. */
static range part_range(reader *r, const mho_operand *operand, uint32_t start, uint32_t stop, int64_t least) {
    int64_t values[MHO_CHUNK];
    range found = {0, 0};
    uint32_t i, k, is_first = 1;
    if (start >= stop || stop > operand->count) {
        fail(r, MHO_E_ADDRESS);
    }
    if (r->status != MHO_OK) {
        return found;
    }
    for (i = start; i < stop; i += k) {
        const uint32_t count = stop - i < MHO_CHUNK ? stop - i : MHO_CHUNK;
        mho_take(operand, i, count, values);
        for (k = 0; k < count; k++) {
            if (values[k] < least) {
                continue;
            }
            if (is_first || values[k] < found.low) {
                found.low = values[k];
            }
            if (is_first || values[k] > found.high) {
                found.high = values[k];
            }
            is_first = 0;
        }
        if (operand->is_uniform) {
            break;
        }
    }
    return found;
}

static range all_range(reader *r, const mho_operand *operand) {
    return part_range(r, operand, 0, operand->count, INT64_MIN);
}

static int within32(range v) { return v.low >= INT32_MIN && v.high <= INT32_MAX; }

static void require_within(reader *r, range address, range offsets, uint32_t size) {
    if (!within32(offsets) || address.low + offsets.low < 0 || address.high + offsets.high >= (int64_t)size) {
        fail(r, MHO_E_ADDRESS);
    }
}

static void require_range(reader *r, range v, int64_t low, int64_t high) {
    require(r, v.low >= low && v.high <= high, MHO_E_OPERAND);
}

static void require_small(reader *r, int32_t v) { require(r, v >= -(1 << 20) && v <= 1 << 20, MHO_E_OPERAND); }

static uint32_t take_crossbar(reader *r) {
    const uint32_t crossbar = take(r);
    require(r, crossbar < r->machine->program.crossbars, MHO_E_OPERAND);
    return crossbar;
}

/* Product of sizes that stays below 2^31. */
static uint32_t multiply(reader *r, uint32_t a, uint32_t b) {
    const uint64_t product = (uint64_t)a * b;
    require(r, product <= 0x7fffffffU, MHO_E_ADDRESS);
    return (uint32_t)(product & 0x7fffffffU);
}

/* A buffer's type holds these numbers. */
static void require_held(reader *r, range v, const mho_operand *target) {
    switch (target->element) {
    case MHO_U8: require_range(r, v, 0, 255); break;
    case MHO_I8: require_range(r, v, -128, 127); break;
    case MHO_U16: require_range(r, v, 0, 65535); break;
    case MHO_I16: require_range(r, v, -32768, 32767); break;
    default: break;
    }
}

static void check_quantize(reader *r) {
    const mho_operand source = take_operand(r), target = take_whole_buffer(r);
    const uint32_t start = take(r);
    const float scale = mho_float_of(take(r));
    const int32_t zero = take_signed(r), low = take_signed(r), high = take_signed(r);
    const uint32_t binary = take(r);
    const int32_t offset = take_signed(r);
    uint32_t rank, axis, inner = 1, outer = 1;
    range codes;
    require(r, source.element == MHO_F32 || is_whole(&source), MHO_E_OPERAND);
    require(r, scale > 0.0f && scale <= FLT_MAX && low < high && binary <= 1, MHO_E_OPERAND);
    require(r, !binary || (low == -1 && high == 1), MHO_E_OPERAND);
    require_small(r, zero), require_small(r, low), require_small(r, high), require_small(r, offset);
    require(r, (r->end - r->at) % 3 == 0, MHO_E_CODE);
    rank = (r->end - r->at) / 3;
    require(r, rank <= MHO_MAX_RANK, MHO_E_CODE);
    for (axis = 0; axis < rank && r->status == MHO_OK; axis++) {
        const uint32_t before = mho_word(r->machine, r->at + 2 * axis), after = mho_word(r->machine, r->at + 2 * axis + 1);
        const uint32_t size = mho_word(r->machine, r->at + 2 * rank + axis);
        require(r, before <= 0xffffffU && after <= 0xffffffU && size <= 0x7fffffffU - before - after, MHO_E_ADDRESS);
        inner = multiply(r, inner, size);
        outer = multiply(r, outer, before + size + after);
    }
    r->at = r->end;
    require(r, inner == source.count && start <= target.count && outer <= target.count - start, MHO_E_ADDRESS);
    codes.low = (low < zero ? low : zero) + (int64_t)offset;
    codes.high = (high > zero ? high : zero) + (int64_t)offset;
    require_held(r, codes, &target);
}

static void check_sum_inputs(reader *r) {
    const mho_operand codes = take_whole_buffer(r);
    const range address = take_address(r);
    const mho_operand offsets = take_whole_constant(r), sums = take_sums(r);
    const range target = take_address(r), zero = {0, 0};
    require_within(r, address, all_range(r, &offsets), codes.count);
    require_within(r, target, zero, sums.count);
}

static void check_product(reader *r) {
    const mho_operand codes = take_whole_buffer(r);
    const range address = take_address(r);
    const mho_operand rows = take_whole_constant(r), stored = take_operand(r);
    const range stored_address = take_address(r);
    const mho_operand stored_rows = take_whole_constant(r), columns = take_whole_constant(r), sums = take_sums(r);
    const range target = take_address(r);
    const mho_operand targets = take_whole_constant(r);
    const range of_rows = all_range(r, &stored_rows), of_columns = all_range(r, &columns);
    range places;
    require(r, is_whole(&stored) && stored.rows == 0, MHO_E_OPERAND);
    require(r, rows.count == stored_rows.count && columns.count == targets.count, MHO_E_OPERAND);
    require(r, within32(of_rows) && within32(of_columns), MHO_E_ADDRESS);
    places.low = of_rows.low + of_columns.low;
    places.high = of_rows.high + of_columns.high;
    require_within(r, address, all_range(r, &rows), codes.count);
    require_within(r, stored_address, places, stored.count);
    require_within(r, target, all_range(r, &targets), sums.count);
}

static void check_write(reader *r) {
    const mho_program *p = &r->machine->program;
    mho_operand cells;
    range index;
    uint32_t rows, cols, row, col, start;
    take_crossbar(r);
    require(r, is_constant(r), MHO_E_OPERAND);
    cells = take_operand(r);
    require(r, cells.rows > 0, MHO_E_OPERAND);
    index = take_address(r);
    start = take(r), rows = take(r);
    require(r, start < rows && rows <= cells.rows, MHO_E_ADDRESS);
    rows -= start;
    start = take(r), cols = take(r);
    require(r, start < cols && cols <= cells.cols, MHO_E_ADDRESS);
    /* Cells of a block start at a whole byte. */
    require(r, cells.element < MHO_B1 || start * (1U << (cells.element - MHO_B1)) % 8 == 0, MHO_E_OPERAND);
    cols -= start;
    row = take(r), col = take(r);
    require(r, row <= p->rows && rows <= p->rows - row && col <= p->cols && cols <= p->cols - col, MHO_E_ADDRESS);
    require(r, take(r) <= 1, MHO_E_OPERAND);
    if (r->status == MHO_OK) {
        require(r, index.low >= 0 && index.high < (int64_t)(cells.count / (cells.rows * cells.cols)), MHO_E_ADDRESS);
    }
}

static range part(reader *r, const mho_operand *one, const uint32_t *span) {
    return part_range(r, one, span[0], span[1], INT64_MIN);
}

static void check_dynamic(reader *r) {
    const mho_program *p = &r->machine->program;
    mho_operand codes, staging, one[10];
    range address, rows, columns, none = {0, 0};
    uint32_t i, row_span[2], col_span[2], is_signed, cell_bits;
    int32_t addend;
    take_crossbar(r);
    codes = take_whole_buffer(r);
    address = take_address(r);
    for (i = 0; i < 10; i++) {
        one[i] = take_whole_constant(r);
    }
    addend = take_signed(r), is_signed = take(r), cell_bits = take(r);
    row_span[0] = take(r), row_span[1] = take(r), col_span[0] = take(r), col_span[1] = take(r);
    staging = take_buffer(r);
    require_small(r, addend);
    require(r, is_signed <= 1 && cell_bits == p->cell_bits && staging.element == MHO_U8, MHO_E_OPERAND);
    rows = part(r, &one[0], row_span);
    columns = part(r, &one[4], col_span);
    require(r, rows.low >= 0 && columns.low >= -1 && within32(rows) && within32(columns), MHO_E_ADDRESS);
    columns = part_range(r, &one[4], col_span[0], col_span[1], 0);
    rows.low += columns.low, rows.high += columns.high;
    require_within(r, address, none, codes.count);
    require_within(r, address, rows, codes.count);
    require_range(r, part(r, &one[1], row_span), -1, 1);
    require_range(r, part(r, &one[2], row_span), 0, 32);
    require(r, within32(part(r, &one[3], row_span)), MHO_E_OPERAND);
    require_range(r, part(r, &one[5], col_span), -1, 1);
    for (i = 6; i < 9; i++) {
        require_range(r, part(r, &one[i], col_span), 0, 32);
    }
    require(r, within32(part(r, &one[9], col_span)), MHO_E_OPERAND);
    if (r->status == MHO_OK) {
        const uint32_t height = row_span[1] - row_span[0], width = col_span[1] - col_span[0];
        require(r, height <= p->rows && width <= p->cols && multiply(r, height, width) <= staging.count, MHO_E_ADDRESS);
    }
}

static void check_load(reader *r) {
    const mho_program *p = &r->machine->program;
    mho_operand codes, offsets, signs, shifts;
    range address, shift, of_rows;
    uint32_t span[2], first;
    take_crossbar(r);
    codes = take_whole_buffer(r);
    address = take_address(r);
    offsets = take_whole_constant(r), signs = take_whole_constant(r), shifts = take_whole_constant(r);
    span[0] = take(r), span[1] = take(r);
    shift = take_address(r);
    require(r, take(r) == p->dac_bits, MHO_E_OPERAND);
    first = take(r);
    require_within(r, address, part(r, &offsets, span), codes.count);
    require_range(r, part(r, &signs, span), -1, 1);
    of_rows = part(r, &shifts, span);
    require_range(r, of_rows, 0, MOST_SHIFT);
    require(r, shift.low >= 0 && shift.high + of_rows.high <= MOST_SHIFT, MHO_E_OPERAND);
    if (r->status == MHO_OK) {
        require(r, first <= p->rows && span[1] - span[0] <= p->rows - first, MHO_E_ADDRESS);
    }
}

static void check_add(reader *r) {
    const mho_program *p = &r->machine->program;
    mho_operand sums, offsets, weights;
    range address, shift, columns;
    uint32_t span[2], first;
    take_crossbar(r);
    sums = take_sums(r);
    address = take_address(r);
    offsets = take_whole_constant(r), weights = take_whole_constant(r);
    span[0] = take(r), span[1] = take(r);
    shift = take_address(r);
    first = take(r);
    columns = part(r, &offsets, span);
    require(r, columns.low >= -1 && within32(columns), MHO_E_ADDRESS);
    if (columns.high >= 0) {
        require_within(r, address, part_range(r, &offsets, span[0], span[1], 0), sums.count);
    }
    part(r, &weights, span);
    require(r, shift.low >= 0 && shift.high <= MOST_SHIFT, MHO_E_OPERAND);
    if (r->status == MHO_OK) {
        require(r, first <= p->cols && span[1] - span[0] <= p->cols - first, MHO_E_ADDRESS);
    }
}

/* low and high, which a buffer holds. */
static void check_limits(reader *r, const mho_operand *target) {
    const int32_t low = take_signed(r), high = take_signed(r);
    range limits;
    limits.low = low, limits.high = high;
    require_small(r, low), require_small(r, high);
    require(r, low <= high, MHO_E_OPERAND);
    require_held(r, limits, target);
}

static mho_operand take_per_channel(reader *r, uint32_t count, int is_float, int may_lack) {
    mho_operand operand = nothing();
    if (may_lack && r->at < r->end && mho_word(r->machine, r->at) == MHO_NONE) {
        r->at++;
        return operand;
    }
    if (is_float) {
        require(r, is_constant(r), MHO_E_OPERAND);
        operand = take_floats(r, 0);
    } else {
        operand = take_whole_constant(r);
    }
    require(r, operand.count == count, MHO_E_OPERAND);
    return operand;
}

static void check_last_step(reader *r, int is_whole) {
    const mho_operand sums = take_sums(r), target = is_whole ? take_whole_buffer(r) : take_floats(r, 1);
    uint32_t layout[11], i, made = 1, held, channels;
    for (i = 0; i < 11; i++) {
        layout[i] = take(r);
    }
    for (i = 0; i < 6; i++) {
        require(r, layout[i] >= 1, MHO_E_OPERAND);
        made = multiply(r, made, layout[i]);
    }
    require(r, layout[6] <= 1, MHO_E_OPERAND);
    for (i = 7; i < 11; i++) {
        require(r, layout[i] <= 0xffffffU, MHO_E_OPERAND);
    }
    require(r, layout[2] == 1 || (layout[4] == 1 && layout[5] == 1), MHO_E_OPERAND);
    if (r->status != MHO_OK) {
        return;
    }
    channels = multiply(r, layout[1], layout[3]);
    held = multiply(r, layout[0], layout[1]);
    held = multiply(r, held, layout[3] + layout[6]);
    held = multiply(r, held, layout[4] + layout[7] + layout[8]);
    if (layout[4] == 1 && layout[5] == 1) {
        held = multiply(r, held, layout[2] + layout[9] + layout[10]);
    } else {
        held = multiply(r, held, layout[5] + layout[9] + layout[10]);
    }
    require(r, target.count == made && sums.count == held, MHO_E_ADDRESS);
    take_per_channel(r, channels, 0, 0);
    i = r->at;
    take_per_channel(r, channels, 0, 1);
    require(r, r->status != MHO_OK || (mho_word(r->machine, i) != MHO_NONE) == (layout[6] == 1), MHO_E_OPERAND);
    if (r->at < r->end && mho_word(r->machine, r->at) == MHO_NONE) {
        r->at++;
    } else {
        const mho_operand stored = take_sums(r);
        require(r, stored.count == channels, MHO_E_OPERAND);
    }
    require_small(r, take_signed(r));
    take_per_channel(r, channels, !is_whole, 0);
    take_per_channel(r, channels, !is_whole, !is_whole);
    if (is_whole) {
        const uint32_t shift = take(r);
        uint64_t limit = take(r);
        limit |= (uint64_t)take(r) << 32;
        require(r, shift <= MOST_INT_SHIFT && limit <= (uint64_t)1 << 62, MHO_E_OPERAND);
        check_limits(r, &target);
    }
}

/* A float32 or whole tensor. */
static mho_operand take_tensor(reader *r, int must_write) {
    mho_operand operand;
    require(r, !must_write || !is_constant(r), MHO_E_OPERAND);
    operand = take_operand(r);
    require(r, operand.rows == 0 && (operand.element == MHO_F32 || is_whole(&operand)), MHO_E_OPERAND);
    return operand;
}

/* An operand of the same kind as another. */
static mho_operand take_like(reader *r, const mho_operand *other) {
    const mho_operand operand = take_tensor(r, 0);
    require(r, (operand.element == MHO_F32) == (other->element == MHO_F32), MHO_E_OPERAND);
    return operand;
}

/* A walk: rank, sizes, and for each operand one stride an axis. Returns how many steps it takes. */
static uint32_t check_walk(reader *r, uint32_t operands, const uint64_t *bases, const uint32_t *counts) {
    const uint32_t rank = take(r), at = r->at;
    uint32_t axis, k, steps = 1;
    if (rank > MHO_MAX_RANK || (r->end - at) / (1U + operands) < rank) {
        fail(r, MHO_E_CODE);
        return 0;
    }
    r->at = at + (1U + operands) * rank;
    for (axis = 0; axis < rank; axis++) {
        steps = multiply(r, steps, mho_word(r->machine, at + axis));
    }
    for (k = 0; k < operands && steps > 0 && r->status == MHO_OK; k++) {
        int64_t low = 0, high = 0;
        for (axis = 0; axis < rank; axis++) {
            const int64_t stride = mho_signed_word(r->machine, at + (1U + k) * rank + axis);
            *(stride < 0 ? &low : &high) += stride * (int64_t)(mho_word(r->machine, at + axis) - 1U);
        }
        if (counts[k] != MHO_NONE && (bases[k] > 0x7fffffffU || (int64_t)bases[k] + low < 0 ||
                                      (int64_t)bases[k] + high >= (int64_t)counts[k])) {
            fail(r, MHO_E_ADDRESS);
        }
    }
    return steps;
}

static void check_binary(reader *r) {
    const uint32_t function = take(r);
    const mho_operand out = take_tensor(r, 1), a = take_like(r, &out), b = take_like(r, &out);
    const uint64_t bases[3] = {0, 0, 0};
    uint32_t counts[3];
    counts[0] = a.count, counts[1] = b.count, counts[2] = MHO_NONE;
    require(r, function < FN_BINARY_COUNT, MHO_E_OPERAND);
    require(r, out.element == MHO_F32 || function == FN_MINIMUM || function == FN_MAXIMUM || function == FN_WHERE,
            MHO_E_OPERAND);
    if (function == FN_WHERE) {
        const mho_operand mask = take_operand(r);
        counts[2] = mask.count;
        require(r, mask.rows == 0 && (is_whole(&mask) || (mask.element == MHO_F32 && out.element == MHO_F32)),
                MHO_E_OPERAND);
    } else {
        require(r, take(r) == MHO_NONE, MHO_E_OPERAND);
    }
    require(r, check_walk(r, 3, bases, counts) == out.count, MHO_E_ADDRESS);
}

static void check_move(reader *r) {
    const mho_operand out = take_tensor(r, 1), in = take_like(r, &out);
    uint64_t bases[2];
    uint32_t counts[2];
    bases[1] = take(r), bases[0] = take(r);
    counts[0] = in.count, counts[1] = out.count;
    check_walk(r, 2, bases, counts);
}

static void check_gather(reader *r) {
    const mho_operand out = take_tensor(r, 1), in = take_like(r, &out), indices = take_whole_constant(r);
    const uint32_t outer = take(r), size = take(r), inner = take(r), count = take(r);
    require(r, count == indices.count, MHO_E_OPERAND);
    require_range(r, all_range(r, &indices), 0, (int64_t)size - 1);
    require(r, multiply(r, multiply(r, outer, size), inner) == in.count, MHO_E_ADDRESS);
    require(r, multiply(r, multiply(r, outer, count), inner) == out.count, MHO_E_ADDRESS);
}

static void check_embed(reader *r) {
    const mho_operand out = take_floats(r, 1), in = take_floats(r, 0), table = take_floats(r, 0);
    const uint32_t rows = take(r), width = take(r);
    require(r, rows >= 1 && rows <= 1U << 24, MHO_E_OPERAND);
    require(r, multiply(r, rows, width) == table.count && multiply(r, in.count, width) == out.count, MHO_E_ADDRESS);
}

static void check_scatter(reader *r) {
    const mho_operand out = take_floats(r, 1), indices = take_floats(r, 0), in = take_floats(r, 0);
    const uint32_t outer = take(r), size = take(r), inner = take(r);
    require(r, size >= 1 && size <= 1U << 24, MHO_E_OPERAND);
    require(r, multiply(r, multiply(r, outer, size), inner) == out.count, MHO_E_ADDRESS);
    require(r, multiply(r, multiply(r, outer, indices.count), inner) == in.count, MHO_E_ADDRESS);
}

static void check_order(reader *r) {
    const uint32_t flags = take(r) | take(r) | take(r);
    const mho_operand out = take_floats(r, 1), in = take_floats(r, 0);
    const uint32_t outer = take(r), size = take(r), inner = take(r), count = take(r);
    require(r, flags <= 1 && count >= 1 && count <= size && size <= 1U << 24, MHO_E_OPERAND);
    require(r, multiply(r, multiply(r, outer, size), inner) == in.count, MHO_E_ADDRESS);
    require(r, multiply(r, multiply(r, outer, count), inner) == out.count, MHO_E_ADDRESS);
}

/* The largest step of a walk over one operand, whose strides are not negative. */
static uint64_t walk_top(reader *r, uint32_t at) {
    const uint32_t rank = mho_word(r->machine, at);
    uint64_t top = 0;
    uint32_t axis;
    for (axis = 1; axis <= rank; axis++) {
        const uint32_t stride = mho_word(r->machine, at + rank + axis);
        require(r, stride <= 0x7fffffffU, MHO_E_ADDRESS);
        top += (uint64_t)stride * (mho_word(r->machine, at + axis) - 1U);
    }
    return top;
}

static void check_reduce(reader *r) {
    const uint32_t function = take(r);
    const mho_operand out = take_tensor(r, 1), in = take_like(r, &out);
    uint64_t bases[1] = {0};
    uint32_t outer, inner, counts[1], first, second;
    counts[0] = in.count;
    require(r, function < FN_REDUCE_COUNT && (out.element == MHO_F32 || function == FN_MAX), MHO_E_OPERAND);
    first = r->at;
    outer = check_walk(r, 1, bases, counts);
    second = r->at;
    inner = check_walk(r, 1, bases, counts);
    require(r, outer == out.count && outer > 0 && inner > 0 && inner <= 0x40000000U, MHO_E_ADDRESS);
    if (r->status == MHO_OK) {
        require(r, walk_top(r, first) + walk_top(r, second) < in.count, MHO_E_ADDRESS);
    }
}

static void check_windows(reader *r, const mho_operand *out, const mho_operand *in, uint32_t *made) {
    uint32_t v[17], i;
    int64_t reach;
    for (i = 0; i < 17; i++) {
        v[i] = take(r);
    }
    for (i = 1; i < 9; i++) { /* sizes, extents, kernel, strides */
        require(r, v[i] >= 1 && v[i] <= 0xffffffU, MHO_E_OPERAND);
    }
    require(r, v[9] <= 0xffffffU && v[10] <= 0xffffffU, MHO_E_OPERAND);
    require(r, v[11] >= 1 && v[11] <= 0xffffffU && v[12] >= 1 && v[12] <= 0xffffffU, MHO_E_OPERAND);
    require(r, (uint64_t)v[5] * v[6] <= 1U << 14, MHO_E_OPERAND);
    if (r->status != MHO_OK) {
        return;
    }
    for (i = 0; i < 2; i++) {
        reach = (int64_t)(v[3 + i] - 1U) * v[7 + i] + (int64_t)v[11 + i] * (v[5 + i] - 1U);
        require(r, reach <= 0x7fffffff, MHO_E_ADDRESS);
    }
    require(r, multiply(r, multiply(r, v[0], v[1]), v[2]) == in->count, MHO_E_ADDRESS);
    require(r, multiply(r, multiply(r, v[0], v[3]), v[4]) == out->count, MHO_E_ADDRESS);
    made[0] = v[3], made[1] = v[4];
}

static void check_pool(reader *r) {
    const uint32_t function = take(r);
    const mho_operand out = take_tensor(r, 1), in = take_like(r, &out);
    uint32_t made[2];
    require(r, function <= 1 && (out.element == MHO_F32 || function == 0), MHO_E_OPERAND);
    check_windows(r, &out, &in, made);
}

static void check_softmax(reader *r) {
    const uint32_t function = take(r);
    const mho_operand out = take_floats(r, 1), in = take_floats(r, 0);
    const uint32_t outer = take(r), size = take(r), inner = take(r);
    require(r, function <= 1 && size >= 1 && size <= 0x40000000U, MHO_E_OPERAND);
    require(r, multiply(r, multiply(r, outer, size), inner) == in.count && in.count == out.count, MHO_E_ADDRESS);
}

static void check_layer_norm(reader *r) {
    const mho_operand out = take_floats(r, 1), in = take_floats(r, 0), scale = take_floats(r, 0);
    const uint64_t bases[2] = {0, 0};
    uint32_t counts[2], outer, size;
    counts[0] = scale.count, counts[1] = MHO_NONE;
    if (r->at < r->end && mho_word(r->machine, r->at) == MHO_NONE) {
        r->at++;
    } else {
        counts[1] = take_floats(r, 0).count;
    }
    take(r);
    outer = take(r), size = take(r);
    require(r, size >= 1 && size <= 0x40000000U, MHO_E_OPERAND);
    require(r, multiply(r, outer, size) == in.count && in.count == out.count, MHO_E_ADDRESS);
    require(r, check_walk(r, 2, bases, counts) == size, MHO_E_ADDRESS);
}

static void check_shift(reader *r, const mho_operand *out) {
    require(r, take(r) <= MOST_INT_SHIFT, MHO_E_OPERAND);
    check_limits(r, out);
}

static mho_operand take_whole(reader *r) {
    const mho_operand operand = take_operand(r);
    require(r, is_whole(&operand) && operand.rows == 0 && operand.count > 0, MHO_E_OPERAND);
    return operand;
}

static void check_int_walk(reader *r, uint32_t operands, const uint32_t *counts, uint32_t steps) {
    const uint64_t bases[MHO_MAX_OPERANDS] = {0};
    require(r, check_walk(r, operands, bases, counts) == steps, MHO_E_ADDRESS);
}

static void check_int_add(reader *r) {
    const mho_operand out = take_whole_buffer(r);
    const uint32_t count = take(r);
    uint32_t counts[MHO_MAX_OPERANDS], k;
    require(r, count >= 1 && count <= MHO_MAX_OPERANDS, MHO_E_OPERAND);
    check_shift(r, &out);
    for (k = 0; k < count && r->status == MHO_OK; k++) {
        counts[k] = take_whole(r).count;
    }
    for (k = 0; k < count && r->status == MHO_OK; k++) {
        take(r);
    }
    if (r->status == MHO_OK) {
        check_int_walk(r, count, counts, out.count);
    }
}

static void check_int_pool(reader *r) {
    const mho_operand out = take_whole_buffer(r), in = take_whole(r), multiplier = take_whole(r);
    uint32_t made[2] = {1, 1}, down, right;
    check_windows(r, &out, &in, made);
    check_shift(r, &out);
    down = take(r), right = take(r);
    require(r, down <= 0xffffffU && right <= 0xffffffU, MHO_E_OPERAND);
    require(r, (uint64_t)down * (made[0] - 1U) + (uint64_t)right * (made[1] - 1U) < multiplier.count, MHO_E_ADDRESS);
}

static void check_int_softmax(reader *r) {
    const mho_operand out = take_whole_buffer(r), in = take_whole(r), fine = take_whole(r);
    uint32_t outer, size, inner;
    take_whole(r);
    outer = take(r), size = take(r), inner = take(r);
    take(r);
    check_shift(r, &out);
    require(r, fine.count == 256 && size >= 1, MHO_E_OPERAND);
    require(r, multiply(r, multiply(r, outer, size), inner) == in.count && in.count == out.count, MHO_E_ADDRESS);
}

static void check_int_layer_norm(reader *r) {
    const mho_operand out = take_whole_buffer(r), in = take_whole(r);
    uint32_t counts[2], outer, size;
    counts[0] = take_whole(r).count, counts[1] = take_whole(r).count;
    take(r), take(r);
    outer = take(r), size = take(r);
    check_shift(r, &out);
    require(r, size >= 1 && multiply(r, outer, size) == in.count && in.count == out.count, MHO_E_ADDRESS);
    check_int_walk(r, 2, counts, size);
}

static void check_int_embed(reader *r) {
    const mho_operand out = take_whole_buffer(r), in = take_whole(r), table = take_whole(r);
    const uint32_t rows = take(r), width = take(r);
    require(r, rows >= 1 && rows <= 1U << 24, MHO_E_OPERAND);
    require(r, multiply(r, rows, width) == table.count && multiply(r, in.count, width) == out.count, MHO_E_ADDRESS);
}

static void check_integers(reader *r, uint32_t opcode) {
    mho_operand out, in;
    uint32_t counts[3], first, second, outer;
    uint64_t base = 0;
    float scale;
    switch (opcode) {
    case OP_INT_QUANTIZE:
    case OP_INT_DEQUANTIZE:
        out = take_tensor(r, 1), in = take_tensor(r, 0);
        require(r, (out.element == MHO_F32) == (opcode == OP_INT_DEQUANTIZE), MHO_E_OPERAND);
        require(r, (in.element == MHO_F32) == (opcode == OP_INT_QUANTIZE), MHO_E_OPERAND);
        require(r, take(r) == out.count && in.count == out.count, MHO_E_ADDRESS);
        scale = mho_float_of(take(r));
        require(r, scale > 0.0f && scale <= FLT_MAX, MHO_E_OPERAND);
        if (opcode == OP_INT_QUANTIZE) {
            check_limits(r, &out);
        }
        break;
    case OP_INT_CLAMP:
        out = take_whole_buffer(r), in = take_whole(r);
        require(r, take(r) == out.count && in.count == out.count, MHO_E_ADDRESS);
        take(r), take(r);
        break;
    case OP_INT_SCALE:
        out = take_whole_buffer(r);
        counts[0] = take_whole(r).count, counts[1] = take_whole(r).count, counts[2] = take_whole(r).count;
        check_shift(r, &out);
        check_int_walk(r, 3, counts, out.count);
        break;
    case OP_INT_ADD: check_int_add(r); break;
    case OP_INT_MUL:
    case OP_INT_DIV:
        out = take_whole_buffer(r);
        counts[0] = take_whole(r).count, counts[1] = take_whole(r).count;
        take(r);
        check_shift(r, &out);
        check_int_walk(r, 2, counts, out.count);
        break;
    case OP_INT_TABLE:
        out = take_whole_buffer(r), in = take_whole(r);
        take_whole(r);
        require(r, take(r) == out.count && in.count == out.count, MHO_E_ADDRESS);
        take(r);
        break;
    case OP_INT_POOL: check_int_pool(r); break;
    case OP_INT_REDUCE:
        out = take_whole_buffer(r), in = take_whole(r);
        take(r);
        check_shift(r, &out);
        counts[0] = in.count;
        first = r->at, outer = check_walk(r, 1, &base, counts), second = r->at;
        require(r, check_walk(r, 1, &base, counts) > 0 && outer == out.count && outer > 0, MHO_E_ADDRESS);
        if (r->status == MHO_OK) {
            require(r, walk_top(r, first) + walk_top(r, second) < in.count, MHO_E_ADDRESS);
        }
        break;
    case OP_INT_SOFTMAX: check_int_softmax(r); break;
    case OP_INT_LAYER_NORM:
    case OP_INT_RMS_NORM: check_int_layer_norm(r); break;
    case OP_INT_EMBED: check_int_embed(r); break;
    default: fail(r, MHO_E_CODE); break;
    }
}

static void check_digital(reader *r, uint32_t opcode) {
    mho_operand out, in;
    uint32_t function;
    switch (opcode) {
    case OP_UNARY:
        function = take(r);
        out = take_floats(r, 1), in = take_floats(r, 0);
        require(r, function < FN_UNARY_COUNT, MHO_E_OPERAND);
        require(r, take(r) == out.count && in.count == out.count, MHO_E_ADDRESS);
        if (function == FN_WHOLE_POWER) {
            const int32_t exponent = take_signed(r);
            require(r, exponent >= -64 && exponent <= 64, MHO_E_OPERAND);
            r->at--;
        }
        r->at += 4;
        break;
    case OP_BINARY: check_binary(r); break;
    case OP_MOVE: check_move(r); break;
    case OP_FILL:
        out = take_buffer(r);
        require(r, out.element == MHO_F32 || is_whole(&out), MHO_E_OPERAND);
        take(r);
        break;
    case OP_GATHER: check_gather(r); break;
    case OP_EMBED: check_embed(r); break;
    case OP_SCATTER: check_scatter(r); break;
    case OP_ORDER: check_order(r); break;
    case OP_REDUCE: check_reduce(r); break;
    case OP_POOL: check_pool(r); break;
    case OP_SOFTMAX: check_softmax(r); break;
    case OP_LAYER_NORM: check_layer_norm(r); break;
    default: check_integers(r, opcode); break;
    }
}

static void check_one(reader *r, uint32_t opcode) {
    switch (opcode) {
    case OP_QUANTIZE_INPUT: check_quantize(r); break;
    case OP_CLEAR: take_sums(r); break;
    case OP_SUM_INPUTS: check_sum_inputs(r); break;
    case OP_DIGITAL_PRODUCT: check_product(r); break;
    case OP_WRITE_TILE: check_write(r); break;
    case OP_WRITE_DYNAMIC: check_dynamic(r); break;
    case OP_LOAD_INPUT: check_load(r); break;
    case OP_MVM: take_crossbar(r); break;
    case OP_SHIFT_ADD: check_add(r); break;
    case OP_DEQUANTIZE: check_last_step(r, 0); break;
    case OP_REQUANTIZE: check_last_step(r, 1); break;
    default: check_digital(r, opcode); break;
    }
    require(r, r->at == r->end, MHO_E_CODE);
}

mho_status mho_check_code(mho_machine *machine) {
    const mho_program *p = &machine->program;
    uint32_t ends[MOST_REGIONS], is_loop[MOST_REGIONS], regions = 0, at = 0;
    uint64_t turns[MOST_REGIONS + 1];
    reader r;
    memset(&r, 0, sizeof r);
    r.machine = machine;
    turns[0] = 1;
    machine->program.executed = 0;
    while (at < p->code_words || regions > 0) {
        uint32_t word, opcode, length, end;
        if (regions > 0 && at == ends[regions - 1]) {
            regions--;
            r.levels -= is_loop[regions];
            continue;
        }
        word = mho_word(machine, at);
        opcode = word & 0xffU, length = word >> 8;
        end = regions > 0 ? ends[regions - 1] : p->code_words;
        if (length < 1 || length > end - at) {
            return MHO_E_CODE;
        }
        r.at = at + 1, r.end = at + length, r.status = MHO_OK;
        if (opcode == OP_LOOP || opcode == OP_WINDOW || opcode == OP_LAYER) {
            uint64_t count = 1;
            if (opcode != OP_WINDOW) {
                count = take(&r);
            }
            if (regions == MOST_REGIONS || (opcode == OP_LOOP && r.levels == MHO_MAX_LOOPS)) {
                return MHO_E_CONFIG;
            }
            if (r.status != MHO_OK || (opcode == OP_LAYER && (regions > 0 || count >= p->layers)) ||
                (opcode == OP_LOOP && (count < 1 || count > 0x7fffffffU)) || (opcode != OP_LAYER && regions == 0)) {
                return MHO_E_CODE;
            }
            is_loop[regions] = opcode == OP_LOOP;
            if (opcode == OP_LOOP) {
                r.counts[r.levels++] = (uint32_t)count;
            } else {
                count = 1;
            }
            ends[regions] = at + length;
            if (turns[regions] > MOST_EXECUTED / count) {
                return MHO_E_OPERAND;
            }
            turns[regions + 1] = turns[regions] * count;
            regions++;
            at = r.at;
            continue;
        }
        check_one(&r, opcode);
        if (r.status != MHO_OK) {
            return r.status;
        }
        machine->program.executed += turns[regions];
        if (machine->program.executed > MOST_EXECUTED) {
            return MHO_E_OPERAND;
        }
        at += length;
    }
    return MHO_OK;
}
