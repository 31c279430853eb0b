/* Runs the code of a checked image: loops, crossbars and sums. */
#include "mho_hw.h"
#include "mho_internal.h"

typedef enum phase { WRITE_WEIGHTS, RUN, RUN_ALL } phase;

void mho_take(const mho_operand *operand, uint32_t start, uint32_t count, int64_t *out) {
    const uint8_t *data = operand->data;
    uint32_t i;
    if (operand->is_uniform) {
        out[0] = mho_take_one(operand, start);
        for (i = 1; i < count; i++) {
            out[i] = out[0];
        }
        return;
    }
    if (operand->writable == NULL) {
        switch (operand->element) {
        case MHO_U16: for (i = 0; i < count; i++) out[i] = mho_get16(data + 2 * (size_t)(start + i)); return;
        case MHO_I16: for (i = 0; i < count; i++) out[i] = mho_signed16(mho_get16(data + 2 * (size_t)(start + i))); return;
        case MHO_I32: for (i = 0; i < count; i++) out[i] = mho_signed32(mho_get32(data + 4 * (size_t)(start + i))); return;
        case MHO_U8: for (i = 0; i < count; i++) out[i] = data[start + i]; return;
        default: break;
        }
    }
    for (i = 0; i < count; i++) {
        out[i] = mho_take_one(operand, start + i);
    }
}

int64_t mho_take_one(const mho_operand *operand, uint32_t index) {
    const size_t i = operand->is_uniform ? 0 : index;
    const uint8_t *p = operand->data;
    if (operand->writable) { /* in the arena: the processor's own order of bytes */
        switch (operand->element) {
        case MHO_U8: return p[i];
        case MHO_I8: { int8_t v; memcpy(&v, p + i, 1); return v; }
        case MHO_U16: { uint16_t v; memcpy(&v, p + 2 * i, 2); return v; }
        case MHO_I16: { int16_t v; memcpy(&v, p + 2 * i, 2); return v; }
        case MHO_I32: { int32_t v; memcpy(&v, p + 4 * i, 4); return v; }
        case MHO_I64: { int64_t v; memcpy(&v, p + 8 * i, 8); return v; }
        default: return 0;
        }
    }
    switch (operand->element) {
    case MHO_U8: return p[i];
    case MHO_I8: return mho_signed16(p[i] | (p[i] & 0x80U ? 0xff00U : 0U));
    case MHO_U16: return mho_get16(p + 2 * i);
    case MHO_I16: return mho_signed16(mho_get16(p + 2 * i));
    case MHO_I32: return mho_signed32(mho_get32(p + 4 * i));
    case MHO_I64: return mho_signed64(mho_get64(p + 8 * i));
    default: return 0;
    }
}

void mho_put(const mho_operand *operand, uint32_t index, int64_t value) {
    uint8_t *p = operand->writable;
    const size_t i = index;
    switch (operand->element) {
    case MHO_U8: p[i] = (uint8_t)value; break;
    case MHO_I8: { const int8_t v = (int8_t)value; memcpy(p + i, &v, 1); break; }
    case MHO_U16: { const uint16_t v = (uint16_t)value; memcpy(p + 2 * i, &v, 2); break; }
    case MHO_I16: { const int16_t v = (int16_t)value; memcpy(p + 2 * i, &v, 2); break; }
    case MHO_I32: { const int32_t v = (int32_t)value; memcpy(p + 4 * i, &v, 4); break; }
    case MHO_I64: memcpy(p + 8 * i, &value, 8); break;
    default: break;
    }
}

void mho_put_all(const mho_operand *operand, uint32_t start, const int32_t *values, uint32_t count) {
    uint8_t *p = operand->writable + start;
    uint32_t i;
    if (operand->element == MHO_U8 || operand->element == MHO_I8) {
        for (i = 0; i < count; i++) {
            p[i] = (uint8_t)values[i];
        }
        return;
    }
    for (i = 0; i < count; i++) {
        mho_put(operand, start + i, values[i]);
    }
}

void mho_take_floats(const mho_operand *operand, uint32_t start, uint32_t count, float *out) {
    uint32_t i;
    if (operand->writable) {
        memcpy(out, operand->data + (size_t)start * 4, (size_t)count * 4);
        return;
    }
    for (i = 0; i < count; i++) {
        out[i] = mho_take_float(operand, start + i);
    }
}

float mho_take_float(const mho_operand *operand, uint32_t index) {
    if (operand->writable) {
        return mho_load_f32(operand->data, index);
    }
    return mho_float_of(mho_get32(operand->data + 4 * (size_t)(operand->is_uniform ? 0 : index)));
}

/* sums[index] += term, modulo 2^32 or 2^64: only totals need to fit, and those were proven to. */
static void add_to(const mho_operand *sums, uint32_t index, uint64_t term) {
    if (sums->element == MHO_I32) {
        uint32_t v;
        memcpy(&v, sums->writable + 4 * (size_t)index, 4);
        v += (uint32_t)term;
        memcpy(sums->writable + 4 * (size_t)index, &v, 4);
    } else {
        uint64_t v;
        memcpy(&v, sums->writable + 8 * (size_t)index, 8);
        v += term;
        memcpy(sums->writable + 8 * (size_t)index, &v, 8);
    }
}

static uint32_t next(const mho_machine *m, uint32_t *at) { return mho_word(m, (*at)++); }

static int32_t next_signed(const mho_machine *m, uint32_t *at) { return mho_signed32(next(m, at)); }

static int64_t next_address(const mho_machine *m, uint32_t *at) {
    int64_t address = next_signed(m, at);
    uint32_t terms = next(m, at);
    while (terms-- > 0) {
        const uint32_t level = next(m, at);
        address += (int64_t)next_signed(m, at) * m->variables[level];
    }
    return address;
}

/* An address as a function of the variable of one loop. */
typedef struct affine {
    int64_t base;
    int32_t stride;
} affine;

static affine next_affine(mho_machine *m, uint32_t *at, uint32_t level) {
    affine found = {next_signed(m, at), 0};
    uint32_t terms = next(m, at);
    while (terms-- > 0) {
        const uint32_t own = next(m, at);
        const int32_t stride = next_signed(m, at);
        if (own == level) {
            found.stride = stride;
        } else {
            found.base += (int64_t)stride * m->variables[own];
        }
    }
    return found;
}

static void add_bytes(uint32_t *sums, const uint8_t *bytes, int32_t stride, uint32_t count) {
    uint32_t i;
    if (stride == 1) {
        for (i = 0; i < count; i++) {
            sums[i] += bytes[i];
        }
        return;
    }
    for (i = 0; i < count; i++) {
        sums[i] += bytes[(int64_t)i * stride];
    }
}

/* How a layer's input becomes codes. */
typedef struct grid {
    float scale;
    int32_t zero, low, high, offset;
    uint32_t binary;
} grid;

/* Codes of floats; 0 where one is no number. */
static int quantize_floats(const mho_operand *source, uint32_t first, uint32_t count, const grid *g, int32_t *codes) {
    float values[MHO_CHUNK];
    const float scale = g->scale, zero = (float)g->zero, low = (float)g->low, high = (float)g->high;
    uint32_t k, is_nan = 0;
    mho_take_floats(source, first, count, values);
    for (k = 0; k < count; k++) {
        const float x = values[k];
        float q = mho_round_half_even(x / scale) + zero;
        is_nan |= x != x;
        q = q < low ? low : q > high ? high : q;
        codes[k] = (int32_t)(q == q ? q : 0.0f) + g->offset;
    }
    for (k = 0; g->binary && k < count; k++) {
        codes[k] = (values[k] >= 0.0f ? 1 : -1) + g->offset;
    }
    return is_nan == 0;
}

static void quantize_integers(const mho_operand *source, uint32_t first, uint32_t count, const grid *g, int32_t *codes) {
    uint32_t k;
    for (k = 0; k < count; k++) {
        const int64_t v = mho_take_one(source, first + k), moved = mho_plus(v, g->zero);
        codes[k] = g->offset + (g->binary ? (v >= 0 ? 1 : -1)
                                          : moved < g->low ? g->low : moved > g->high ? g->high : (int32_t)moved);
    }
}

static mho_status quantize_input(mho_machine *m, uint32_t at, uint32_t end) {
    const mho_operand source = mho_next_operand(m, &at), target = mho_next_operand(m, &at);
    const uint32_t start = next(m, &at);
    grid g;
    uint32_t rank;
    int32_t codes[MHO_CHUNK];
    uint32_t sizes[MHO_MAX_RANK], befores[MHO_MAX_RANK], strides[MHO_MAX_RANK], place[MHO_MAX_RANK];
    uint32_t axis, i, k, count, total = 1, to = start, line;
    g.scale = mho_float_of(next(m, &at));
    g.zero = next_signed(m, &at), g.low = next_signed(m, &at), g.high = next_signed(m, &at);
    g.binary = next(m, &at);
    g.offset = next_signed(m, &at);
    rank = (end - at) / 3;
    memset(target.writable, 0, (size_t)target.count * mho_element_bytes(target.element));
    for (axis = rank; axis-- > 0;) {
        const uint32_t before = mho_word(m, at + 2 * axis), after = mho_word(m, at + 2 * axis + 1);
        sizes[axis] = mho_word(m, at + 2 * rank + axis);
        befores[axis] = before;
        strides[axis] = total;
        total *= before + sizes[axis] + after;
        place[axis] = 0;
    }
    if (total != source.count) {
        for (i = 0; i < total; i++) {
            mho_put(&target, start + i, (int64_t)g.zero + g.offset);
        }
    }
    for (axis = 0; axis < rank; axis++) {
        to += befores[axis] * strides[axis];
    }
    line = rank > 0 ? sizes[rank - 1] : 1;
    for (i = 0; i < source.count; i += line) {
        for (k = 0; k < line; k += count) {
            count = line - k < MHO_CHUNK ? line - k : MHO_CHUNK;
            if (source.element != MHO_F32) {
                quantize_integers(&source, i + k, count, &g, codes);
            } else if (!quantize_floats(&source, i + k, count, &g, codes)) {
                return MHO_E_NAN;
            }
            mho_put_all(&target, to + k, codes, count);
        }
        for (axis = rank > 0 ? rank - 1 : 0; axis-- > 0;) { /* the next line */
            to += strides[axis];
            if (++place[axis] < sizes[axis]) {
                break;
            }
            to -= strides[axis] * sizes[axis];
            place[axis] = 0;
        }
    }
    return MHO_OK;
}

/* SumInputs for all values of the variable of the loop right around it; of no loop: level MHO_MAX_LOOPS, one turn. */
static void sum_inputs(mho_machine *m, uint32_t at, uint32_t level, uint32_t turns) {
    const mho_operand codes = mho_next_operand(m, &at);
    const affine from = next_affine(m, &at, level);
    const mho_operand offsets = mho_next_operand(m, &at), sums = mho_next_operand(m, &at);
    const affine to = next_affine(m, &at, level);
    int64_t places[MHO_CHUNK];
    uint64_t totals[MHO_CHUNK];
    uint32_t turn, i, k, x, count, many;
    for (turn = 0; turn < turns; turn += many) {
        const int64_t start = from.base + (int64_t)turn * from.stride;
        many = turns - turn < MHO_CHUNK ? turns - turn : MHO_CHUNK;
        memset(totals, 0, sizeof totals);
        for (i = 0; i < offsets.count; i += count) {
            count = offsets.count - i < MHO_CHUNK ? offsets.count - i : MHO_CHUNK;
            mho_take(&offsets, i, count, places);
            if (codes.element == MHO_U8 && many > 1) {
                uint32_t parts[MHO_CHUNK];
                memset(parts, 0, sizeof parts);
                for (k = 0; k < count; k++) {
                    add_bytes(parts, codes.data + start + places[k], from.stride, many);
                }
                for (x = 0; x < many; x++) {
                    totals[x] += parts[x];
                }
                continue;
            }
            for (x = 0; x < many; x++) {
                const int64_t address = start + (int64_t)x * from.stride;
                for (k = 0; k < count; k++) {
                    totals[x] += (uint64_t)mho_take_one(&codes, (uint32_t)(address + places[k]));
                }
            }
        }
        for (x = 0; x < many; x++) {
            add_to(&sums, (uint32_t)(to.base + (int64_t)(turn + x) * to.stride), totals[x]);
        }
    }
}

static void digital_product(const mho_machine *m, uint32_t at) {
    const mho_operand codes = mho_next_operand(m, &at);
    const int64_t address = next_address(m, &at);
    const mho_operand rows = mho_next_operand(m, &at), stored = mho_next_operand(m, &at);
    const int64_t stored_address = next_address(m, &at);
    const mho_operand stored_rows = mho_next_operand(m, &at), columns = mho_next_operand(m, &at);
    const mho_operand sums = mho_next_operand(m, &at);
    const int64_t target = next_address(m, &at);
    const mho_operand targets = mho_next_operand(m, &at);
    int64_t places[MHO_CHUNK], of_stored[MHO_CHUNK];
    uint64_t taken[MHO_CHUNK];
    uint32_t i, k, c, count;
    for (i = 0; i < rows.count; i += count) {
        count = rows.count - i < MHO_CHUNK ? rows.count - i : MHO_CHUNK;
        mho_take(&rows, i, count, places);
        mho_take(&stored_rows, i, count, of_stored);
        for (k = 0; k < count; k++) {
            taken[k] = (uint64_t)mho_take_one(&codes, (uint32_t)(address + places[k]));
        }
        for (c = 0; c < columns.count; c++) {
            const int64_t column = stored_address + mho_take_one(&columns, c);
            uint64_t total = 0;
            for (k = 0; k < count; k++) {
                total += taken[k] * (uint64_t)mho_take_one(&stored, (uint32_t)(column + of_stored[k]));
            }
            add_to(&sums, (uint32_t)(target + mho_take_one(&targets, c)), total);
        }
    }
}

static mho_status write_tile(const mho_machine *m, uint32_t at) {
    const uint32_t crossbar = next(m, &at);
    const mho_operand cells = mho_next_operand(m, &at);
    const uint32_t index = (uint32_t)next_address(m, &at);
    const uint32_t row_start = next(m, &at), row_stop = next(m, &at), col_start = next(m, &at), col_stop = next(m, &at);
    const uint32_t row = next(m, &at), col = next(m, &at), joins = next(m, &at);
    mho_cells block;
    block.bits = cells.element == MHO_U8 ? 8U : 1U << (cells.element - MHO_B1);
    block.row_bytes = (cells.cols * block.bits + 7) / 8;
    block.rows = row_stop - row_start;
    block.cols = col_stop - col_start;
    block.data = cells.data + ((size_t)index * cells.rows + row_start) * block.row_bytes + col_start * block.bits / 8;
    return mho_hw_write_tile(crossbar, row, col, &block, joins != 0);
}

/* The digit of one stored integer, see WriteDynamicTile in docs/isa.md. */
static uint8_t encode_digit(int64_t value, int64_t sign, const int64_t *column, int64_t row_shift, uint32_t is_signed,
                            uint32_t cell_bits) {
    const uint32_t start = (uint32_t)column[0], bits = (uint32_t)column[1];
    uint64_t stored;
    if (is_signed) {
        stored = (uint64_t)mho_shift_right(value, start) & (((uint64_t)1 << bits) - 1U);
    } else {
        const int64_t own = mho_times(sign, value);
        stored = own > 0 ? (uint64_t)own >> start : 0;
    }
    return (uint8_t)(((stored << row_shift) >> (uint32_t)column[2]) & ((1U << cell_bits) - 1U));
}

static mho_status write_dynamic(mho_machine *m, uint32_t at) {
    const uint32_t crossbar = next(m, &at);
    const mho_operand codes = mho_next_operand(m, &at);
    const int64_t address = next_address(m, &at);
    mho_operand one[10], staging;
    uint32_t i, r, c, is_signed, cell_bits, rows[2], cols[2];
    int32_t addend;
    mho_cells block;
    for (i = 0; i < 10; i++) {
        one[i] = mho_next_operand(m, &at);
    }
    addend = next_signed(m, &at), is_signed = next(m, &at), cell_bits = next(m, &at);
    rows[0] = next(m, &at), rows[1] = next(m, &at), cols[0] = next(m, &at), cols[1] = next(m, &at);
    staging = mho_next_operand(m, &at);
    block.data = staging.data;
    block.rows = rows[1] - rows[0];
    block.cols = block.row_bytes = cols[1] - cols[0];
    block.bits = 8;
    for (r = rows[0]; r < rows[1]; r++) {
        const int64_t row_offset = mho_take_one(&one[0], r), row_sign = mho_take_one(&one[1], r);
        const int64_t row_shift = mho_take_one(&one[2], r), row_block = mho_take_one(&one[3], r);
        uint8_t *out = staging.writable + (size_t)(r - rows[0]) * block.cols;
        for (c = cols[0]; c < cols[1]; c++) {
            const int64_t offset = mho_take_one(&one[4], c);
            int64_t column[3];
            uint8_t digit;
            column[0] = mho_take_one(&one[6], c);
            column[1] = mho_take_one(&one[7], c);
            column[2] = mho_take_one(&one[8], c);
            if (row_block != mho_take_one(&one[9], c)) {
                digit = 0;
            } else if (offset < 0) {
                digit = (uint8_t)((((uint64_t)1 << row_shift) >> (uint32_t)column[2]) & ((1U << cell_bits) - 1U));
            } else {
                const int64_t code = mho_take_one(&codes, (uint32_t)(address + row_offset + offset));
                const int64_t value = mho_plus(code, addend);
                digit = encode_digit(value, row_sign * mho_take_one(&one[5], c), column, row_shift, is_signed, cell_bits);
            }
            out[c - cols[0]] = digit;
        }
    }
    return mho_hw_write_tile(crossbar, 0, 0, &block, 0);
}

static mho_status load_input(mho_machine *m, uint32_t at) {
    const uint32_t crossbar = next(m, &at);
    const mho_operand codes = mho_next_operand(m, &at);
    const int64_t address = next_address(m, &at);
    const mho_operand offsets = mho_next_operand(m, &at), signs = mho_next_operand(m, &at), shifts = mho_next_operand(m, &at);
    const uint32_t start = next(m, &at), stop = next(m, &at);
    const uint32_t shift = (uint32_t)next_address(m, &at), bits = next(m, &at), first = next(m, &at);
    const uint64_t mask = ((uint64_t)1 << bits) - 1U;
    int64_t places[MHO_CHUNK], of_sign[MHO_CHUNK], of_shift[MHO_CHUNK];
    uint32_t i, k, count;
    for (i = start; i < stop; i += count) {
        int16_t *drives = m->drives + (i - start);
        count = stop - i < MHO_CHUNK ? stop - i : MHO_CHUNK;
        mho_take(&offsets, i, count, places);
        mho_take(&signs, i, count, of_sign);
        mho_take(&shifts, i, count, of_shift);
        if (codes.element == MHO_U8 && shifts.is_uniform && signs.is_uniform && of_sign[0] == 1) {
            const uint32_t all = shift + (uint32_t)of_shift[0];
            for (k = 0; k < count; k++) {
                const uint32_t code = codes.data[address + places[k]];
                drives[k] = (int16_t)(all < 32 ? (code >> all) & mask : 0);
            }
            continue;
        }
        for (k = 0; k < count; k++) {
            const int64_t code = mho_take_one(&codes, (uint32_t)(address + places[k]));
            const uint64_t slice = (uint64_t)mho_shift_right(code, shift + (uint32_t)of_shift[k]) & mask;
            drives[k] = (int16_t)(of_sign[k] * (int64_t)slice);
        }
    }
    return mho_hw_load_drives(crossbar, first, m->drives, stop - start);
}

static mho_status shift_add(const mho_machine *m, uint32_t at) {
    const uint32_t crossbar = next(m, &at);
    const mho_operand sums = mho_next_operand(m, &at);
    const int64_t address = next_address(m, &at);
    const mho_operand offsets = mho_next_operand(m, &at), weights = mho_next_operand(m, &at);
    const uint32_t start = next(m, &at), stop = next(m, &at);
    const uint32_t shift = (uint32_t)next_address(m, &at), first = next(m, &at);
    int64_t places[MHO_CHUNK], of_weight[MHO_CHUNK];
    int32_t counts[MHO_CHUNK];
    uint32_t i, k, count;
    for (i = start; i < stop; i += count) {
        mho_status status;
        count = stop - i < MHO_CHUNK ? stop - i : MHO_CHUNK;
        status = mho_hw_read_columns(crossbar, first + (i - start), counts, count);
        if (status != MHO_OK) {
            return status;
        }
        mho_take(&offsets, i, count, places);
        mho_take(&weights, i, count, of_weight);
        for (k = 0; k < count; k++) {
            if (places[k] >= 0) {
                const uint64_t term = ((uint64_t)of_weight[k] * (uint64_t)(int64_t)counts[k]) << shift;
                add_to(&sums, (uint32_t)(address + places[k]), term);
            }
        }
    }
    return MHO_OK;
}

/* Totals of sums of 32 bits, modulo 2^32: verified ones fit. */
static void add_totals(const mho_operand *sums, uint32_t own, uint32_t of_inputs, int has_factors, uint32_t factor,
                       uint32_t constant, uint32_t count, uint32_t *totals) {
    uint32_t inputs[MHO_CHUNK], k;
    memcpy(totals, sums->data + (size_t)own * 4, (size_t)count * 4);
    if (has_factors) {
        memcpy(inputs, sums->data + (size_t)of_inputs * 4, (size_t)count * 4);
    }
    for (k = 0; k < count; k++) {
        totals[k] += constant;
    }
    for (k = 0; has_factors && k < count; k++) {
        totals[k] += factor * inputs[k];
    }
}

static void scale_totals(const mho_operand *target, uint32_t start, const uint32_t *totals, uint32_t count, float scale,
                         int has_bias, float bias) {
    uint8_t *out = target->writable;
    uint32_t k;
    for (k = 0; k < count; k++) {
        const float result = (float)mho_signed32(totals[k]) * scale;
        mho_store_f32(out, start + k, has_bias ? result + bias : result);
    }
}

static void last_step(const mho_machine *m, uint32_t at, int is_whole) {
    const mho_operand sums = mho_next_operand(m, &at), target = mho_next_operand(m, &at);
    uint32_t v[11], i, b, g, l, c, y, x, k, count, made = 0, lines, height, width, shift = 0;
    uint32_t totals[MHO_CHUNK];
    mho_operand correction, factors, stored, multiplier, bias;
    int64_t limit = 0, low = 0, high = 0;
    int32_t stored_factor;
    int has_factors, has_stored, has_bias;
    for (i = 0; i < 11; i++) {
        v[i] = next(m, &at);
    }
    memset(&factors, 0, sizeof factors);
    memset(&stored, 0, sizeof stored);
    memset(&bias, 0, sizeof bias);
    correction = mho_next_operand(m, &at);
    has_factors = mho_word(m, at) != MHO_NONE;
    if (has_factors) {
        factors = mho_find(m, mho_word(m, at));
    }
    at++;
    has_stored = mho_word(m, at) != MHO_NONE;
    if (has_stored) {
        stored = mho_find(m, mho_word(m, at));
    }
    at++;
    stored_factor = next_signed(m, &at);
    multiplier = mho_next_operand(m, &at);
    has_bias = mho_word(m, at) != MHO_NONE;
    if (has_bias) {
        bias = mho_find(m, mho_word(m, at));
    }
    if (is_whole) {
        shift = mho_word(m, at + 1);
        limit = mho_signed64(mho_word(m, at + 2) | (uint64_t)mho_word(m, at + 3) << 32);
        low = mho_signed_word(m, at + 4), high = mho_signed_word(m, at + 5);
    }
    /* Positions lie along lines, or along rows and columns; margins surround them. */
    i = v[4] == 1 && v[5] == 1;
    lines = v[2] + (i ? v[9] + v[10] : 0);
    height = v[4] + v[7] + v[8];
    width = v[5] + (i ? 0 : v[9] + v[10]);
    for (b = 0; b < v[0]; b++) {
        for (g = 0; g < v[1]; g++) {
            for (l = 0; l < v[2]; l++) {
                const uint32_t line = ((b * v[1] + g) * lines + l + (i ? v[9] : 0)) * (v[3] + v[6]);
                for (c = 0; c < v[3]; c++) {
                    const uint32_t channel = g * v[3] + c;
                    const float scale = is_whole ? 0.0f : mho_take_float(&multiplier, channel);
                    const float moved = !is_whole && has_bias ? mho_take_float(&bias, channel) : 0.0f;
                    const int64_t factor_of = is_whole ? mho_take_one(&multiplier, channel) : 0;
                    const int64_t offset_of = is_whole ? mho_take_one(&bias, channel) : 0;
                    const uint64_t factor = has_factors ? (uint64_t)mho_take_one(&factors, channel) : 0;
                    uint64_t constant = (uint64_t)mho_take_one(&correction, channel);
                    if (has_stored) {
                        constant += (uint64_t)(int64_t)stored_factor * (uint64_t)mho_take_one(&stored, channel);
                    }
                    for (y = 0; y < v[4]; y++) {
                        const uint32_t row = (y + v[7]) * width + (i ? 0 : v[9]);
                        for (x = 0; x < v[5]; x += count, made += count) {
                            const uint32_t own = (line + c) * height * width + row + x;
                            const uint32_t of_inputs = (line + v[3]) * height * width + row + x;
                            count = v[5] - x < MHO_CHUNK ? v[5] - x : MHO_CHUNK;
                            if (sums.element == MHO_I32 && !is_whole) {
                                add_totals(&sums, own, of_inputs, has_factors, (uint32_t)factor, (uint32_t)constant, count, totals);
                                scale_totals(&target, made, totals, count, scale, has_bias, moved);
                                continue;
                            }
                            for (k = 0; k < count; k++) {
                                uint64_t total = constant + (uint64_t)mho_take_one(&sums, own + k);
                                int64_t whole;
                                float result;
                                if (has_factors) {
                                    total += factor * (uint64_t)mho_take_one(&sums, of_inputs + k);
                                }
                                whole = sums.element == MHO_I32 ? mho_signed32((uint32_t)total) : mho_signed64(total);
                                if (is_whole) {
                                    whole = mho_plus(mho_times(mho_rescale(whole, 0, -limit, limit), factor_of), offset_of);
                                    mho_put(&target, made + k, mho_rescale(whole, shift, low, high));
                                    continue;
                                }
                                result = (float)whole * scale;
                                mho_store_f32(target.writable, made + k, has_bias ? result + moved : result);
                            }
                        }
                    }
                }
            }
        }
    }
}

static mho_status execute(mho_machine *m, uint32_t opcode, uint32_t at, uint32_t end) {
    mho_operand sums;
    switch (opcode) {
    case OP_QUANTIZE_INPUT: return quantize_input(m, at, end);
    case OP_CLEAR:
        sums = mho_next_operand(m, &at);
        memset(sums.writable, 0, (size_t)sums.count * mho_element_bytes(sums.element));
        return MHO_OK;
    case OP_SUM_INPUTS: sum_inputs(m, at, MHO_MAX_LOOPS, 1); return MHO_OK;
    case OP_DIGITAL_PRODUCT: digital_product(m, at); return MHO_OK;
    case OP_WRITE_TILE: return write_tile(m, at);
    case OP_WRITE_DYNAMIC: return write_dynamic(m, at);
    case OP_LOAD_INPUT: return load_input(m, at);
    case OP_MVM: return mho_hw_mvm(next(m, &at));
    case OP_SHIFT_ADD: return shift_add(m, at);
    case OP_DEQUANTIZE: last_step(m, at, 0); return MHO_OK;
    case OP_REQUANTIZE: last_step(m, at, 1); return MHO_OK;
    default: return mho_run_digital(m, opcode, at);
    }
}

/* Run all code, loops by a stack of as many as there may be. */
static mho_status run(mho_machine *m, phase now) {
    const mho_program *p = &m->program;
    uint32_t starts[MHO_MAX_LOOPS], ends[MHO_MAX_LOOPS], counts[MHO_MAX_LOOPS], level = 0, at = 0;
    mho_status status = MHO_OK;
    while (status == MHO_OK) {
        uint32_t opcode, length;
        if (level > 0 && at == ends[level - 1]) {
            if (++m->variables[level - 1] < counts[level - 1]) {
                at = starts[level - 1];
            } else {
                level--;
            }
            continue;
        }
        if (at >= p->code_words) {
            break;
        }
        opcode = mho_word(m, at) & 0xffU, length = mho_word(m, at) >> 8;
        if (opcode == OP_LAYER) {
            const uint32_t layer = mho_word(m, at + 1);
            status = mho_hw_begin_layer(layer, mho_get32(p->image + p->layers_at + (size_t)layer * 8 + 4));
            at += 2;
        } else if (opcode == OP_WINDOW) {
            at += 1;
        } else if (opcode == OP_LOOP && now == WRITE_WEIGHTS) {
            at += length; /* weights that stay are written outside of loops */
#ifdef MHO_FUSED
        } else if (opcode == OP_LOOP && mho_fused_loop(m, level, at)) {
            at += length;
#endif
        } else if (opcode == OP_LOOP && length > 2 && mho_word(m, at + 2) == (OP_SUM_INPUTS | (length - 2) << 8)) {
            sum_inputs(m, at + 3, level, mho_word(m, at + 1));
            at += length;
        } else if (opcode == OP_LOOP) {
            starts[level] = at + 2, ends[level] = at + length, counts[level] = mho_word(m, at + 1);
            m->variables[level++] = 0;
            at += 2;
        } else {
            const int is_weight = opcode == OP_WRITE_TILE;
            if (now == RUN_ALL || is_weight == (now == WRITE_WEIGHTS)) {
                status = execute(m, opcode, at + 1, at + length);
            }
            at += length;
        }
    }
    return status == MHO_OK ? mho_hw_barrier() : status;
}

mho_status mho_start(mho_machine *machine, void *arena, size_t arena_bytes) {
    const mho_program *p = &machine->program;
    mho_chip chip;
    mho_status status;
    if (!machine->is_loaded) {
        return MHO_E_STATE;
    }
    if (arena_bytes < p->arena_bytes) {
        return MHO_E_ARGUMENT;
    }
    chip.crossbars = p->crossbars, chip.rows = p->rows, chip.cols = p->cols;
    chip.cell_bits = p->cell_bits, chip.dac_bits = p->dac_bits, chip.adc_bits = p->adc_bits;
    machine->arena = (uint8_t *)arena;
    memset(arena, 0, p->arena_bytes);
    status = mho_hw_open(&chip);
    if (status == MHO_OK && p->regime == 1) {
        status = run(machine, WRITE_WEIGHTS);
    }
    machine->is_started = status == MHO_OK;
    return status;
}

mho_status mho_run(mho_machine *machine) {
    if (!machine->is_started) {
        return MHO_E_STATE;
    }
#ifdef MHO_FUSED
    mho_fused_begin();
#endif
    return run(machine, machine->program.regime == 1 ? RUN : RUN_ALL);
}
