/* Runs the code of a checked image: loops, and what crossbars do. */
#include "mho_hw.h"
#include "mho_loops.h"

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
void mho_add_to(const mho_operand *sums, uint32_t index, uint64_t term) {
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

int64_t mho_next_address(const mho_machine *m, uint32_t *at) {
    int64_t address = next_signed(m, at);
    uint32_t terms = next(m, at);
    while (terms-- > 0) {
        const uint32_t level = next(m, at);
        address += (int64_t)next_signed(m, at) * m->variables[level];
    }
    return address;
}

static mho_status write_tile(const mho_machine *m, uint32_t at) {
    const uint32_t crossbar = next(m, &at);
    const mho_operand cells = mho_next_operand(m, &at);
    const uint32_t index = (uint32_t)mho_next_address(m, &at);
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
    const int64_t address = mho_next_address(m, &at);
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
    const int64_t address = mho_next_address(m, &at);
    const mho_operand offsets = mho_next_operand(m, &at), signs = mho_next_operand(m, &at), shifts = mho_next_operand(m, &at);
    const uint32_t start = next(m, &at), stop = next(m, &at);
    const uint32_t shift = (uint32_t)mho_next_address(m, &at), bits = next(m, &at), first = next(m, &at);
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
    const int64_t address = mho_next_address(m, &at);
    const mho_operand offsets = mho_next_operand(m, &at), weights = mho_next_operand(m, &at);
    const uint32_t start = next(m, &at), stop = next(m, &at);
    const uint32_t shift = (uint32_t)mho_next_address(m, &at), first = next(m, &at);
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
                mho_add_to(&sums, (uint32_t)(address + places[k]), term);
            }
        }
    }
    return MHO_OK;
}

static mho_status execute(mho_machine *m, uint32_t opcode, uint32_t at, uint32_t end) {
    mho_operand sums;
    mho_nest none;
    switch (opcode) {
    case OP_QUANTIZE_INPUT: return mho_quantize_input(m, at, end);
    case OP_CLEAR:
        sums = mho_next_operand(m, &at);
        memset(sums.writable, 0, (size_t)sums.count * mho_element_bytes(sums.element));
        return MHO_OK;
    case OP_SUM_INPUTS:
        memset(&none, 0, sizeof none);
        none.outer = MHO_MAX_LOOPS;
        mho_sum_inputs(m, at, &none);
        return MHO_OK;
    case OP_DIGITAL_PRODUCT: mho_digital_product(m, at); return MHO_OK;
    case OP_WRITE_TILE: return write_tile(m, at);
    case OP_WRITE_DYNAMIC: return write_dynamic(m, at);
    case OP_LOAD_INPUT: return load_input(m, at);
    case OP_MVM: return mho_hw_mvm(next(m, &at));
    case OP_SHIFT_ADD: return shift_add(m, at);
    case OP_DEQUANTIZE: mho_last_step(m, at, 0); return MHO_OK;
    case OP_REQUANTIZE: mho_last_step(m, at, 1); return MHO_OK;
    default: return mho_run_digital(m, opcode, at);
    }
}

/* Run the loop at word `at` at once where it does nothing but SumInputs; 0: it is left to do. */
static int sum_all(const mho_machine *m, uint32_t level, uint32_t at) {
    const uint32_t end = at + (mho_word(m, at) >> 8);
    mho_nest n;
    memset(&n, 0, sizeof n);
    n.outer = level;
    at = mho_enter(m, at, end, &n);
    if (at >= end || mho_word(m, at) != (OP_SUM_INPUTS | (end - at) << 8)) {
        return 0;
    }
    mho_sum_inputs(m, at + 1, &n);
    return 1;
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
        } else if (opcode == OP_LOOP && sum_all(m, level, at)) {
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
