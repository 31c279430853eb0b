/* What surrounds the reads of a layer: its input as codes, sums of codes, products without crossbars, and its last step. */
#include "mho_loops.h"

static uint32_t next(const mho_machine *m, uint32_t *at) { return mho_word(m, (*at)++); }

static int32_t next_signed(const mho_machine *m, uint32_t *at) { return mho_signed32(next(m, at)); }

/* How a layer's input becomes codes. */
typedef struct grid {
    float scale;
    int32_t zero, low, high, offset;
    uint32_t binary;
} grid;

/* Codes of at most MHO_CHUNK floats; 0 where one is no number. */
static int quantize_floats(const mho_operand *source, uint32_t first, uint32_t count, const grid *g, int32_t *codes) {
    float values[MHO_CHUNK];
    const float scale = g->scale, zero = (float)g->zero, low = (float)g->low, high = (float)g->high;
    uint32_t k, is_nan = 0;
    mho_take_floats(source, first, count, values);
    memset(values + count, 0, (MHO_CHUNK - count) * sizeof *values);
    for (k = 0; k < MHO_CHUNK; k++) { /* a fixed count, for compilers that vectorize */
        const float x = values[k];
        float q = mho_round_half_even(x / scale) + zero;
        is_nan |= x != x;
        q = low < q ? q : low; /* also where it is no number */
        q = q < high ? q : high;
        codes[k] = (int32_t)q + g->offset;
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

static void fill(const mho_operand *target, uint32_t start, uint32_t count, int32_t value) {
    uint32_t i;
    if (mho_element_bytes(target->element) == 1) {
        memset(target->writable + start, value & 0xff, count);
        return;
    }
    for (i = 0; i < count; i++) {
        mho_put(target, start + i, value);
    }
}

mho_status mho_quantize_input(mho_machine *m, uint32_t at, uint32_t end) {
    const mho_operand source = mho_next_operand(m, &at), target = mho_next_operand(m, &at);
    const uint32_t start = next(m, &at);
    grid g;
    uint32_t rank;
    int32_t codes[MHO_CHUNK];
    uint32_t sizes[MHO_MAX_RANK], befores[MHO_MAX_RANK], strides[MHO_MAX_RANK], place[MHO_MAX_RANK];
    uint32_t axis, i, k, count, many, total = 1, to = start, line, in_line = 0;
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
    for (axis = 0; axis < rank; axis++) {
        to += befores[axis] * strides[axis];
    }
    line = rank == 0 || total == source.count ? total : sizes[rank - 1]; /* all, where there are no margins */
    if (total != source.count) {
        fill(&target, start, total, g.zero + g.offset);
    }
    for (i = 0; i < source.count; i += count) {
        count = source.count - i < MHO_CHUNK ? source.count - i : MHO_CHUNK;
        if (source.element != MHO_F32) {
            quantize_integers(&source, i, count, &g, codes);
        } else if (!quantize_floats(&source, i, count, &g, codes)) {
            return MHO_E_NAN;
        }
        for (k = 0; k < count; k += many) {
            many = count - k < line - in_line ? count - k : line - in_line;
            mho_put_all(&target, to + in_line, codes + k, many);
            in_line += many;
            if (in_line < line) {
                break;
            }
            in_line = 0;
            for (axis = rank > 0 ? rank - 1 : 0; axis-- > 0;) { /* the next line */
                to += strides[axis];
                if (++place[axis] < sizes[axis]) {
                    break;
                }
                to -= strides[axis] * sizes[axis];
                place[axis] = 0;
            }
        }
    }
    return MHO_OK;
}

/* sums at `to`, `to + stride`, ... += terms, modulo the size of a sum: only totals need to fit, and those were proven to. */
static void add_line(const mho_operand *sums, int64_t to, int32_t stride, const uint16_t *terms, uint32_t count) {
    uint8_t *first = sums->writable + 4 * to;
    uint32_t k, v;
    if (sums->element == MHO_I32 && stride == 1) {
        for (k = 0; k < count; k++) {
            memcpy(&v, first + 4 * (size_t)k, 4);
            v += terms[k];
            memcpy(first + 4 * (size_t)k, &v, 4);
        }
        return;
    }
    for (k = 0; k < count; k++) {
        mho_add_to(sums, (uint32_t)(to + (int64_t)k * stride), terms[k]);
    }
}

/* Sums of at most MHO_CHUNK bytes at `places` from each of `first`, `first + stride`, ... */
static void sum_bytes(const uint8_t *first, int32_t stride, const int64_t *places, uint32_t terms, uint16_t *sums,
                      uint32_t count) {
    uint32_t i, k;
    memset(sums, 0, count * sizeof *sums);
    for (i = 0; i < terms; i++) {
        const uint8_t *from = first + places[i];
        if (stride == 1) {
            for (k = 0; k < count; k++) {
                sums[k] = (uint16_t)(sums[k] + from[k]);
            }
        } else {
            for (k = 0; k < count; k++) {
                sums[k] = (uint16_t)(sums[k] + from[(int64_t)k * stride]);
            }
        }
    }
}

/* The innermost loop of SumInputs, of `turns`, for some of its offsets. */
static void sum_line(const mho_operand *codes, int64_t from, int32_t stride, const int64_t *places, uint32_t terms,
                     const mho_operand *sums, int64_t to, int32_t target_stride, uint32_t turns) {
    uint16_t parts[MHO_CHUNK];
    uint32_t turn, i, many;
    for (turn = 0; turn < turns; turn += many, from += (int64_t)many * stride, to += (int64_t)many * target_stride) {
        uint64_t total = 0;
        many = codes->element != MHO_U8 ? 1 : turns - turn < MHO_CHUNK ? turns - turn : MHO_CHUNK;
        if (codes->element == MHO_U8) {
            sum_bytes(codes->data + from, stride, places, terms, parts, many);
            add_line(sums, to, target_stride, parts, many);
            continue;
        }
        for (i = 0; i < terms; i++) {
            total += (uint64_t)mho_take_one(codes, (uint32_t)(from + places[i]));
        }
        mho_add_to(sums, (uint32_t)to, total);
    }
}

void mho_sum_inputs(const mho_machine *m, uint32_t at, mho_nest *n) {
    const mho_operand codes = mho_next_operand(m, &at);
    mho_address from = mho_take_address(m, n, &at), to;
    const mho_operand offsets = mho_next_operand(m, &at), sums = mho_next_operand(m, &at);
    int64_t places[MHO_CHUNK], at_from, at_to;
    uint32_t i, count, levels, inner, place[MHO_MAX_LOOPS];
    to = mho_take_address(m, n, &at);
    levels = mho_merge_levels(n, n->levels, &to, &from);
    inner = levels > 0 ? levels - 1 : 0;
    for (i = 0; i < offsets.count; i += count) {
        count = offsets.count - i < MHO_CHUNK ? offsets.count - i : MHO_CHUNK;
        mho_take(&offsets, i, count, places);
        memset(place, 0, sizeof place);
        at_from = from.base, at_to = to.base;
        do {
            sum_line(&codes, at_from, from.strides[inner], places, count, &sums, at_to, to.strides[inner],
                     levels > 0 ? n->counts[inner] : 1);
        } while (mho_next_turn(n, inner, place, &to, &at_to, &from, &at_from));
    }
}

void mho_digital_product(const mho_machine *m, uint32_t at) {
    const mho_operand codes = mho_next_operand(m, &at);
    const int64_t address = mho_next_address(m, &at);
    const mho_operand rows = mho_next_operand(m, &at), stored = mho_next_operand(m, &at);
    const int64_t stored_address = mho_next_address(m, &at);
    const mho_operand stored_rows = mho_next_operand(m, &at), columns = mho_next_operand(m, &at);
    const mho_operand sums = mho_next_operand(m, &at);
    const int64_t target = mho_next_address(m, &at);
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
            mho_add_to(&sums, (uint32_t)(target + mho_take_one(&targets, c)), total);
        }
    }
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

void mho_last_step(const mho_machine *m, uint32_t at, int is_whole) {
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
    if (!(v[7] | v[8] | v[9] | v[10])) { /* without margins all are one row */
        v[5] *= v[4], v[4] = 1;
    }
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

