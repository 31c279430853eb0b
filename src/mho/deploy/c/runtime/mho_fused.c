/* Reference hardware that fuses: loops over reads become integer products. Built with MHO_FUSED alone (make FUSED=1).

   A loop over positions and input slices, with one read of an ideal crossbar within it, adds to each sum the product of a
   code and of what the cells of its columns mean together. Where the cells of a tile say that this is so, their weights are
   recovered once, into static memory (MHO_FUSED_BYTES), and each position takes one product of 16-bit integers. Sums are
   the same to the last bit. Where it is not so, or memory ends, reads are done one after the other. */
#include "mho_fused.h"

#ifdef MHO_FUSED

static uint32_t fused_loops, refused_from, refused_to;
static int16_t inputs[2][AT_ONCE][MHO_MAX_ROWS + LANES]; /* of both parts: by position, input */
static float columns[MHO_MAX_ROWS * AT_ONCE]; /* by input, position */
static int32_t products[MHO_MAX_COLS][AT_ONCE];

void mho_fused_open(void) {
    fused_loops = refused_to = 0;
    mho_forget_plans();
}

void mho_fused_begin(void) {
    refused_to = 0;
    mho_begin_plans();
}

uint32_t mho_fused_loops(void) { return fused_loops; }

static int is_reading(const mho_machine *m, uint32_t at, uint32_t end, const mho_nest *n, mho_reading *r) {
    uint32_t word = mho_word(m, at), next = at + 1;
    mho_address shift;
    if ((word & 0xffU) != OP_LOAD_INPUT || at + (word >> 8) >= end) {
        return 0;
    }
    at += word >> 8;
    r->crossbar = mho_word(m, next++);
    r->codes = mho_next_operand(m, &next);
    r->code = mho_take_address(m, n, &next);
    r->row_offsets = mho_next_operand(m, &next), r->row_signs = mho_next_operand(m, &next);
    r->row_shifts = mho_next_operand(m, &next);
    r->row_start = mho_word(m, next++);
    r->rows = mho_word(m, next++) - r->row_start;
    r->shift = mho_take_address(m, n, &next);
    r->bits = mho_word(m, next++);
    r->first_row = mho_word(m, next);
    word = mho_word(m, at);
    if ((word & 0xffU) != OP_MVM || mho_word(m, at + 1) != r->crossbar || at + (word >> 8) >= end) {
        return 0;
    }
    at += word >> 8;
    word = mho_word(m, at), next = at + 1;
    if ((word & 0xffU) != OP_SHIFT_ADD || at + (word >> 8) != end || mho_word(m, next++) != r->crossbar) {
        return 0;
    }
    r->sums = mho_next_operand(m, &next);
    r->target = mho_take_address(m, n, &next);
    r->column_offsets = mho_next_operand(m, &next), r->column_weights = mho_next_operand(m, &next);
    r->col_start = mho_word(m, next++);
    r->cols = mho_word(m, next++) - r->col_start;
    shift = mho_take_address(m, n, &next);
    r->first_col = mho_word(m, next);
    return memcmp(&shift, &r->shift, sizeof shift) == 0;
}

/* Four positions at once, so that each weight is fetched once for all of them. */
static void multiply(const mho_part *p, int16_t (*in)[MHO_MAX_ROWS + LANES], uint32_t first) {
    const int16_t *weights = p->weights;
    uint32_t c, k;
    for (c = 0; c < p->outputs; c++, weights += p->width) {
        int32_t a = 0, b = 0, d = 0, e = 0, *out = products[c] + first;
        const uint32_t stop = p->stops[c];
        for (k = p->starts[c]; k < stop; k++) {
            const int32_t weight = weights[k];
            a += weight * in[first][k];
            b += weight * in[first + 1][k];
            d += weight * in[first + 2][k];
            e += weight * in[first + 3][k];
        }
        out[0] = a, out[1] = b, out[2] = d, out[3] = e;
    }
}

/* In floats, which are exact below 2^24, as compilers vectorize these on any processor. */
static void multiply_pairs(const mho_part *p) {
    const int16_t *line = p->weights;
    uint32_t c, i, k;
    for (c = 0; c < p->outputs; c++, line += p->width) {
        float sums[AT_ONCE] = {0.0f};
        for (i = 0; i < p->stops[c]; i++) {
            const float *in = columns + (size_t)line[2 * i] * AT_ONCE;
            const float weight = line[2 * i + 1];
            for (k = 0; k < AT_ONCE; k++) {
                sums[k] += weight * in[k];
            }
        }
        for (k = 0; k < AT_ONCE; k++) {
            products[c][k] = (int32_t)sums[k];
        }
    }
}

/* Inputs of AT_ONCE positions, by input and position. */
static void take_columns(const mho_reading *r, const mho_part *p, const int64_t *from, int is_row) {
    uint32_t i, k;
    for (i = 0; i < p->inputs; i++) {
        const uint8_t *codes = r->codes.data + p->offsets[i];
        float *out = columns + (size_t)i * AT_ONCE;
        if (is_row) {
            for (k = 0; k < AT_ONCE; k++) {
                out[k] = codes[from[0] + k];
            }
        } else {
            for (k = 0; k < AT_ONCE; k++) {
                out[k] = codes[from[k]];
            }
        }
    }
}

/* Whole codes of AT_ONCE positions that lie side by side. */
static void take_row(const mho_reading *r, const mho_part *p, int64_t from, int16_t (*out)[MHO_MAX_ROWS + LANES]) {
    uint32_t i, k;
    for (i = 0; i < p->inputs; i++) {
        const uint8_t *codes = r->codes.data + from + p->offsets[i];
        for (k = 0; k < AT_ONCE; k++) {
            out[k][i] = codes[k];
        }
    }
}

/* Inputs of one position. */
static void take_inputs(const mho_reading *r, const mho_part *p, int64_t from, int16_t *out) {
    const uint32_t count = p->inputs;
    const int32_t *offsets = p->offsets;
    const uint8_t *codes = r->codes.data, *shifts = p->shifts;
    const int16_t *masks = p->masks;
    uint32_t k;
    if (r->codes.element == MHO_U8 && p->takes_all) {
        for (k = 0; k < count; k++) {
            out[k] = codes[from + offsets[k]];
        }
    } else if (r->codes.element == MHO_U8) {
        for (k = 0; k < count; k++) {
            out[k] = (int16_t)((codes[from + offsets[k]] >> shifts[k]) & masks[k]);
        }
    } else {
        for (k = 0; k < count; k++) {
            const int64_t code = mho_take_one(&r->codes, (uint32_t)(from + offsets[k]));
            out[k] = (int16_t)(mho_shift_right(code, shifts[k]) & masks[k]);
        }
    }
}

/* Inputs that are those of the first codes, `taken`, which are bytes, again and again with other shifts: by products and
   a shift by 8, as processors do not shift numbers of 16 bits by any distance. */
static void repeat_inputs(const mho_part *p, const int16_t *taken, int16_t *out) {
    const uint32_t count = p->repeat;
    uint32_t first, k;
    for (first = 0; first < p->inputs; first += count) {
        int16_t *line = out + first;
        const uint16_t factor = (uint16_t)(p->shifts[first] <= 8 ? 0x100U >> p->shifts[first] : 0U);
        const uint16_t mask = (uint16_t)p->masks[first];
        for (k = 0; k < count; k++) {
            const uint16_t scaled = (uint16_t)((uint16_t)taken[k] * (uint32_t)factor);
            line[k] = (int16_t)((scaled >> 8) & mask);
        }
    }
}

static void take_repeated(const mho_reading *r, const mho_part *p, int64_t from, int16_t *out) {
    static int16_t taken[MHO_MAX_ROWS];
    uint32_t k;
    for (k = 0; k < p->repeat; k++) {
        taken[k] = r->codes.data[from + p->offsets[k]];
    }
    repeat_inputs(p, taken, out);
}

/* Compute products of a part at `count` positions; `is_row`: they lie side by side. */
static void run_part(const mho_reading *r, const mho_plan *plan, uint32_t number, const int64_t *from, uint32_t count,
                     int is_row) {
    const mho_part *p = plan->parts + number;
    int16_t (*in)[MHO_MAX_ROWS + LANES] = inputs[number];
    const int is_bytes = r->codes.element == MHO_U8;
    uint32_t k;
    if (is_bytes && p->is_sparse) {
        take_columns(r, p, from, is_row);
        multiply_pairs(p);
        return;
    }
    if (is_bytes && p->takes_all && is_row) {
        take_row(r, p, from[0], in);
    } else {
        for (k = 0; k < count; k++) {
            if (is_bytes && p->shares) {
                repeat_inputs(p, inputs[0][k], in[k]);
            } else if (is_bytes && p->repeat > 0) {
                take_repeated(r, p, from[k], in[k]);
            } else {
                take_inputs(r, p, from[k], in[k]);
            }
        }
    }
    for (k = 0; k < count; k++) {
        memset(in[k] + p->inputs, 0, (size_t)(p->width - p->inputs) * sizeof **in);
    }
    for (k = 0; k < count; k += 4) {
        multiply(p, in, k);
    }
}

static void add_products(const mho_reading *r, const mho_part *p, const int64_t *to, uint32_t positions, int is_row) {
    const int32_t *targets = p->targets;
    uint8_t *sums = r->sums.writable;
    uint32_t c, k, v;
    for (c = 0; c < p->outputs; c++) {
        const int64_t target = targets[c];
        if (r->sums.element != MHO_I32) {
            for (k = 0; k < positions; k++) {
                uint64_t wide;
                memcpy(&wide, sums + 8 * (to[k] + target), 8);
                wide += (uint64_t)(int64_t)products[c][k];
                memcpy(sums + 8 * (to[k] + target), &wide, 8);
            }
        } else if (is_row) {
            uint8_t *first = sums + 4 * (to[0] + target);
            for (k = 0; k < AT_ONCE; k++) {
                memcpy(&v, first + 4 * (size_t)k, 4);
                v += (uint32_t)products[c][k];
                memcpy(first + 4 * (size_t)k, &v, 4);
            }
        } else {
            for (k = 0; k < positions; k++) {
                memcpy(&v, sums + 4 * (to[k] + target), 4);
                v += (uint32_t)products[c][k];
                memcpy(sums + 4 * (to[k] + target), &v, 4);
            }
        }
    }
}

static int is_side_by_side(const int64_t *places, uint32_t count) {
    uint32_t k = 1;
    while (k < count && places[k] == places[0] + k) {
        k++;
    }
    return count == AT_ONCE && k == count;
}

static void run_plan(mho_nest *n, mho_reading *r, const mho_plan *p) {
    const uint32_t levels = mho_merge_levels(n, p->levels, &r->target, &r->code);
    uint32_t place[MHO_MAX_LOOPS], i, count;
    int64_t from[AT_ONCE], to[AT_ONCE], next_from = r->code.base, next_to = r->target.base;
    int is_left = 1;
    memset(place, 0, sizeof place);
    while (is_left) {
        for (count = 0; is_left && count < AT_ONCE; count++) {
            from[count] = next_from, to[count] = next_to;
            is_left = mho_next_turn(n, levels, place, &r->target, &next_to, &r->code, &next_from);
        }
        for (i = count; i < AT_ONCE; i++) {
            from[i] = from[0]; /* products of these are not used */
        }
        for (i = 0; i < p->count; i++) {
            run_part(r, p, i, from, count, is_side_by_side(from, count));
            add_products(r, p->parts + i, to, count, is_side_by_side(to, count));
        }
    }
}

int mho_fused_loop(const mho_machine *m, uint32_t outer, uint32_t at) {
    const uint32_t end = at + (mho_word(m, at) >> 8);
    const uint8_t *data;
    const mho_plan *p;
    mho_reading r;
    mho_nest n;
    uint32_t body;
    memset(&n, 0, sizeof n);
    n.outer = outer;
    body = mho_enter(m, at, end, &n);
    if (body >= end || (at > refused_from && at < refused_to) || !is_reading(m, body, end, &n, &r)) {
        return 0;
    }
    data = mho_reference_block(r.crossbar);
    if (!data || (data >= m->arena && data < m->arena + m->program.arena_bytes)) {
        return 0; /* cells in the arena change from sample to sample */
    }
    p = mho_find_plan(m, &n, &r, at, data);
    if (!p) {
        return 0;
    }
    if (p->count == 0) {
        refused_from = at, refused_to = end;
        return 0;
    }
    run_plan(&n, &r, p);
    fused_loops++;
    return 1;
}

#else
typedef int mho_no_fused_reads; /* a file must not be empty */
#endif
