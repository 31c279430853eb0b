/* Reference hardware that fuses: loops over reads become integer products. Built with MHO_FUSED alone (make FUSED=1).

   A loop over positions and input slices, with one read of an ideal crossbar within it, adds to each sum the product of a
   code and of what the cells of its columns mean together. Where the cells of a tile say that this is so, their weights are
   recovered once, into static memory (MHO_FUSED_BYTES), and each position takes one product of 16-bit integers. Sums are
   the same to the last bit. Where it is not so, or memory ends, reads are done one after the other. */
#include "mho_internal.h"

#ifdef MHO_FUSED

enum { LANES = 16, AT_ONCE = 4 };

/* Loops within each other, entered where `outer` are running. */
typedef struct nest {
    uint32_t outer, levels, counts[MHO_MAX_LOOPS];
} nest;

typedef struct address {
    int64_t base;
    int32_t strides[MHO_MAX_LOOPS]; /* by level of the nest */
} address;

typedef struct reading {
    uint32_t crossbar, rows, cols, row_start, col_start, first_row, first_col, bits;
    mho_operand codes, row_offsets, row_signs, row_shifts, sums, column_offsets, column_weights;
    address code, shift, target;
} reading;

/* Sums at `targets` grow by weights [outputs][width] times inputs: (codes at `offsets` >> shifts) & masks. Weights that
   are not zero lie between `starts` and `stops`. */
typedef struct part {
    int32_t *offsets, *targets;
    uint8_t *shifts;
    uint16_t *starts, *stops;
    int16_t *masks, *weights;
    uint32_t inputs, outputs, width, takes_all; /* takes_all: whole codes */
    uint32_t repeat; /* inputs are those of the first so many codes, again and again with other shifts; 0: they are not */
} part;

/* What is known of the loop at word `at` on these cells. */
typedef struct plan {
    const uint8_t *cells;
    uint32_t at, pool_used, levels, count;
    part parts[2];
} plan;

static uint64_t pool[MHO_FUSED_BYTES / 8 + 1];
static plan plans[MHO_FUSED_BYTES / 4096 + 64];
static uint32_t known, cursor, pool_used, fused_loops, refused_from, refused_to;
static uint16_t cells[MHO_MAX_ROWS * MHO_MAX_COLS];
static uint32_t group_of[MHO_MAX_ROWS], target_of[MHO_MAX_COLS], is_done[MHO_MAX_COLS], first_of[MHO_MAX_ROWS];
static int64_t row[MHO_MAX_COLS];
static int16_t inputs[AT_ONCE][MHO_MAX_ROWS + LANES];
static int32_t products[AT_ONCE][MHO_MAX_COLS];

void mho_fused_forget(void) { known = cursor = pool_used = fused_loops = refused_to = 0; }

void mho_fused_begin(void) { cursor = refused_to = 0; }

uint32_t mho_fused_loops(void) { return fused_loops; }

static void *allocate(uint32_t count, uint32_t bytes) {
    const uint64_t size = ((uint64_t)count * bytes + 63) / 64 * 64;
    uint8_t *found = (uint8_t *)pool + pool_used;
    if (size > sizeof pool - pool_used) {
        return NULL;
    }
    pool_used += (uint32_t)size;
    return found;
}

static address take_address(const mho_machine *m, const nest *n, uint32_t *at) {
    address a;
    uint32_t terms;
    memset(&a, 0, sizeof a);
    a.base = mho_signed_word(m, (*at)++);
    for (terms = mho_word(m, (*at)++); terms > 0; terms--) {
        const uint32_t level = mho_word(m, (*at)++);
        const int32_t stride = mho_signed_word(m, (*at)++);
        if (level < n->outer) {
            a.base += (int64_t)stride * m->variables[level];
        } else {
            a.strides[level - n->outer] = stride;
        }
    }
    return a;
}

/* Follow loops inwards; return the first word that is none. */
static uint32_t enter(const mho_machine *m, uint32_t at, uint32_t end, nest *n) {
    while (at < end && (mho_word(m, at) & 0xffU) == OP_LOOP && at + (mho_word(m, at) >> 8) == end &&
           n->outer + n->levels < MHO_MAX_LOOPS) {
        n->counts[n->levels++] = mho_word(m, at + 1);
        at += 2;
    }
    return at;
}

/* Step to the next position; 0 after the last. */
static int step(const nest *n, uint32_t levels, uint32_t *place, const address *a, int64_t *to, const address *b,
                int64_t *from) {
    uint32_t level;
    for (level = levels; level-- > 0;) {
        *to += a->strides[level], *from += b->strides[level];
        if (++place[level] < n->counts[level]) {
            return 1;
        }
        *to -= (int64_t)a->strides[level] * n->counts[level], *from -= (int64_t)b->strides[level] * n->counts[level];
        place[level] = 0;
    }
    return 0;
}

static int is_reading(const mho_machine *m, uint32_t at, uint32_t end, const nest *n, reading *r) {
    uint32_t word = mho_word(m, at), next = at + 1, bits;
    address shift;
    if ((word & 0xffU) != OP_LOAD_INPUT || at + (word >> 8) >= end) {
        return 0;
    }
    at += word >> 8;
    r->crossbar = mho_word(m, next++);
    r->codes = mho_next_operand(m, &next);
    r->code = take_address(m, n, &next);
    r->row_offsets = mho_next_operand(m, &next), r->row_signs = mho_next_operand(m, &next);
    r->row_shifts = mho_next_operand(m, &next);
    r->row_start = mho_word(m, next++);
    r->rows = mho_word(m, next++) - r->row_start;
    r->shift = take_address(m, n, &next);
    bits = mho_word(m, next++);
    r->bits = bits;
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
    r->target = take_address(m, n, &next);
    r->column_offsets = mho_next_operand(m, &next), r->column_weights = mho_next_operand(m, &next);
    r->col_start = mho_word(m, next++);
    r->cols = mho_word(m, next++) - r->col_start;
    shift = take_address(m, n, &next);
    r->first_col = mho_word(m, next);
    return memcmp(&shift, &r->shift, sizeof shift) == 0;
}

/* The bits of a code that all slices take from its lowest, where each takes others; 0: shifts are not such.
   `levels`: of loops over positions. */
static uint64_t slice_mask(const nest *n, const reading *r, uint32_t *levels) {
    const uint32_t last = n->levels - 1;
    const int32_t stride = r->shift.strides[last];
    const uint64_t one = ((uint64_t)1 << r->bits) - 1U;
    uint64_t mask = 0;
    uint32_t level, s;
    int64_t place = r->shift.base;
    for (level = 0; level < last; level++) {
        if (r->shift.strides[level] != 0) {
            return 0;
        }
    }
    *levels = stride == 0 ? n->levels : last;
    if (stride != 0 && (r->code.strides[last] != 0 || r->target.strides[last] != 0)) {
        return 0;
    }
    for (s = 0; s < (stride == 0 ? 1U : n->counts[last]); s++, place += stride) {
        if (place < 0 || place > 62 || (mask & one << place)) {
            return 0;
        }
        mask |= one << place;
    }
    return mask;
}

static void find_repeat(part *p) {
    uint32_t k, size = 0;
    while (size < p->inputs && p->shifts[size] == p->shifts[0]) {
        size++;
    }
    p->repeat = size > 0 && size < p->inputs && p->inputs % size == 0 ? size : 0;
    for (k = size; p->repeat > 0 && k < p->inputs; k++) {
        const uint32_t first = k / size * size;
        if (p->offsets[k] != p->offsets[k - first] || p->shifts[k] != p->shifts[first] || p->masks[k] != p->masks[first] ||
            p->masks[k - first] != p->masks[0]) {
            p->repeat = 0;
        }
    }
}

/* Number the inputs of a part. Each row is one, or where `merges` all rows that take other bits of the same code. */
static int list_inputs(const reading *r, uint64_t slices, int merges, part *p) {
    const uint64_t largest = r->codes.element == MHO_U8 ? 0xffU : UINT64_MAX;
    uint32_t i, k, turn;
    p->inputs = 0;
    p->offsets = allocate(r->rows, 4), p->shifts = allocate(r->rows, 1), p->masks = allocate(r->rows, 2);
    if (!p->offsets || !p->shifts || !p->masks) {
        return 0;
    }
    for (turn = 0; turn < (merges ? 1U : 63U); turn++) { /* rows of one shift stand together */
        for (i = 0; i < r->rows; i++) {
            const int32_t offset = (int32_t)mho_take_one(&r->row_offsets, r->row_start + i);
            const uint32_t shift = (uint32_t)mho_take_one(&r->row_shifts, r->row_start + i);
            const uint64_t taken = merges ? (slices << shift) & largest : slices & largest >> shift;
            if (!merges && shift != turn) {
                continue;
            }
            for (k = merges ? p->inputs : 0; k > 0 && p->offsets[k - 1] != offset; k--) {
            }
            if (k == 0) {
                first_of[p->inputs] = i;
                p->offsets[p->inputs] = offset;
                p->shifts[p->inputs] = merges ? 0 : (uint8_t)shift;
                p->masks[p->inputs] = 0;
                k = ++p->inputs;
            }
            if (taken > 0x7fffU || (merges && (slices << shift) >> shift != slices) || ((uint64_t)p->masks[k - 1] & taken)) {
                return 0;
            }
            p->masks[k - 1] = (int16_t)((uint64_t)p->masks[k - 1] | taken);
            group_of[i] = k - 1;
        }
    }
    p->width = (p->inputs + LANES - 1) / LANES * LANES;
    for (k = 0, p->takes_all = 1; k < p->inputs; k++) {
        p->takes_all &= p->shifts[k] == 0 && p->masks[k] == 0xff;
    }
    find_repeat(p);
    return 1;
}

/* Number the sums that columns add to, but those that are done. */
static int list_outputs(const reading *r, const uint32_t *done, part *p) {
    uint32_t c, k;
    p->outputs = 0;
    p->targets = allocate(r->cols, 4), p->starts = allocate(r->cols, 2), p->stops = allocate(r->cols, 2);
    if (!p->targets || !p->starts || !p->stops) {
        return 0;
    }
    for (c = 0; c < r->cols; c++) {
        const int32_t offset = (int32_t)mho_take_one(&r->column_offsets, r->col_start + c);
        target_of[c] = UINT32_MAX;
        if (offset < 0 || done[c]) {
            continue;
        }
        for (k = p->outputs; k > 0 && p->targets[k - 1] != offset; k--) {
        }
        if (k == 0) {
            p->targets[p->outputs] = offset;
            k = ++p->outputs;
        }
        target_of[c] = k - 1;
    }
    p->weights = allocate(p->outputs * p->width, 2);
    return p->weights != NULL;
}

/* What the cells of a row mean for each sum, into `row`. */
static int read_row(const reading *r, uint32_t i, uint32_t outputs, uint32_t cols) {
    const uint16_t *line = cells + (size_t)(r->first_row + i) * cols + r->first_col;
    const int64_t sign = mho_take_one(&r->row_signs, r->row_start + i);
    uint32_t c;
    memset(row, 0, outputs * sizeof *row);
    for (c = 0; c < r->cols; c++) {
        if (target_of[c] != UINT32_MAX && line[c] != 0) {
            const int64_t weight = mho_take_one(&r->column_weights, r->col_start + c);
            if (weight > 1 << 24 || weight < -(1 << 24)) {
                return 0;
            }
            row[target_of[c]] += sign * weight * line[c];
        }
    }
    return 1;
}

/* Whole lanes, from the first weight that is not zero to the last. */
static void find_span(const part *p, uint32_t output) {
    const int16_t *line = p->weights + (size_t)output * p->width;
    uint32_t start = 0, stop = p->width;
    while (start < stop && line[start] == 0) {
        start++;
    }
    while (stop > start && line[stop - 1] == 0) {
        stop--;
    }
    p->starts[output] = (uint16_t)(start / LANES * LANES);
    p->stops[output] = (uint16_t)((stop + LANES - 1) / LANES * LANES);
}

/* Recover weights, and leave out the sums of which no such are. A merged row must hold the code's weight times two to the
   power of its shift. Weights fit 16 bits, products 32. */
static int recover(const reading *r, int merges, uint32_t cols, part *p) {
    static uint32_t fails[MHO_MAX_COLS];
    uint32_t i, k, c, kept = 0;
    memset(p->weights, 0, (size_t)p->outputs * p->width * 2);
    memset(fails, 0, sizeof fails);
    for (i = 0; i < r->rows; i++) {
        const uint32_t shift = (uint32_t)mho_take_one(&r->row_shifts, r->row_start + i);
        const int64_t factor = (int64_t)1 << (merges ? shift : 0);
        if (!read_row(r, i, p->outputs, cols)) {
            return 0;
        }
        for (c = 0; c < p->outputs; c++) {
            int16_t *weight = p->weights + (size_t)c * p->width + group_of[i];
            const int64_t own = row[c] / factor;
            if (own * factor != row[c] || own > INT16_MAX || own < INT16_MIN ||
                (first_of[group_of[i]] != i && *weight != own)) {
                fails[c] = 1;
            } else {
                *weight = (int16_t)own;
            }
        }
    }
    for (c = 0; c < p->outputs; c++) {
        const int16_t *line = p->weights + (size_t)c * p->width;
        int64_t most = 0;
        for (k = 0; k < p->inputs; k++) {
            most += (int64_t)p->masks[k] * (line[k] < 0 ? -line[k] : line[k]);
        }
        fails[c] |= most > INT32_MAX;
    }
    for (i = 0; i < r->cols; i++) {
        is_done[i] |= target_of[i] != UINT32_MAX && !fails[target_of[i]];
    }
    for (c = 0; c < p->outputs; c++) {
        if (!fails[c]) {
            memmove(p->weights + (size_t)kept * p->width, p->weights + (size_t)c * p->width, (size_t)p->width * 2);
            p->targets[kept] = p->targets[c];
            find_span(p, kept++);
        }
    }
    p->outputs = kept;
    return 1;
}

static int add_part(const reading *r, uint64_t slices, int merges, uint32_t cols, plan *p) {
    part *one = p->parts + p->count;
    if (!list_inputs(r, slices, merges, one) || !list_outputs(r, is_done, one) || !recover(r, merges, cols, one)) {
        return 0;
    }
    p->count += one->outputs > 0;
    return 1;
}

/* Merge rows for the sums where they can be, and not for the others. */
static void make_plan(const mho_machine *m, const nest *n, const reading *r, plan *p) {
    const uint64_t slices = slice_mask(n, r, &p->levels);
    uint32_t c, is_fused;
    memset(is_done, 0, sizeof is_done);
    p->pool_used = pool_used;
    p->count = 0;
    is_fused = slices > 0;
    if (is_fused) {
        mho_reference_cells(r->crossbar, cells);
        add_part(r, slices, 1, m->program.cols, p);
        for (c = 0; c < r->cols; c++) {
            if (!is_done[c] && mho_take_one(&r->column_offsets, r->col_start + c) >= 0) {
                is_fused = 0;
            }
        }
        is_fused = is_fused || add_part(r, slices, 0, m->program.cols, p);
        for (c = 0; c < r->cols; c++) {
            is_fused = is_fused && (is_done[c] || mho_take_one(&r->column_offsets, r->col_start + c) < 0);
        }
    }
    if (!is_fused) {
        p->count = 0;
        pool_used = p->pool_used;
    }
}

/* The plan of the loop at `at`. Loops come in the same order in each sample; where one does not, later ones are new. */
static plan *find_plan(uint32_t at, const uint8_t *data, int *is_new) {
    plan *p = plans + cursor;
    if (cursor >= sizeof plans / sizeof *plans) {
        return NULL;
    }
    *is_new = cursor >= known || p->at != at || p->cells != data;
    if (*is_new) {
        pool_used = cursor < known ? p->pool_used : pool_used;
        known = cursor + 1;
        p->at = at, p->cells = data;
    }
    cursor++;
    return p;
}

/* Of positions at once, so that each weight is fetched once for all of them. */
static void multiply(const part *p) {
    const int16_t *weights = p->weights;
    uint32_t c, k;
    for (c = 0; c < p->outputs; c++, weights += p->width) {
        int32_t a = 0, b = 0, d = 0, e = 0;
        const uint32_t stop = p->stops[c];
        for (k = p->starts[c]; k < stop; k++) {
            const int32_t weight = weights[k];
            a += weight * inputs[0][k];
            b += weight * inputs[1][k];
            d += weight * inputs[2][k];
            e += weight * inputs[3][k];
        }
        products[0][c] = a, products[1][c] = b, products[2][c] = d, products[3][c] = e;
    }
}

static void take_inputs(const reading *r, const part *p, int64_t from, int16_t *out) {
    const uint32_t count = p->inputs;
    const int32_t *offsets = p->offsets;
    const uint8_t *codes = r->codes.data, *shifts = p->shifts;
    const int16_t *masks = p->masks;
    uint32_t k;
    if (r->codes.element == MHO_U8 && p->takes_all) {
        for (k = 0; k < count; k++) {
            out[k] = codes[from + offsets[k]];
        }
    } else if (r->codes.element == MHO_U8 && p->repeat > 0) {
        static uint8_t taken[MHO_MAX_ROWS];
        uint32_t first;
        for (k = 0; k < p->repeat; k++) {
            taken[k] = codes[from + offsets[k]];
        }
        for (first = 0; first < count; first += p->repeat) {
            const int32_t shift = shifts[first], mask = masks[first];
            for (k = 0; k < p->repeat; k++) {
                out[first + k] = (int16_t)((taken[k] >> shift) & mask);
            }
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
    memset(out + count, 0, (size_t)(p->width - count) * sizeof *out);
}

static void add_products(const reading *r, const part *p, const int64_t *to, uint32_t positions) {
    const uint32_t outputs = p->outputs;
    const int32_t *targets = p->targets;
    uint8_t *sums = r->sums.writable;
    uint32_t c, k;
    if (r->sums.element == MHO_I32) {
        for (c = 0; c < outputs; c++) {
            const int64_t target = targets[c];
            for (k = 0; k < positions; k++) {
                uint32_t v;
                memcpy(&v, sums + 4 * (to[k] + target), 4);
                v += (uint32_t)products[k][c];
                memcpy(sums + 4 * (to[k] + target), &v, 4);
            }
        }
    } else {
        for (c = 0; c < outputs; c++) {
            for (k = 0; k < positions; k++) {
                uint8_t *sum = sums + 8 * (to[k] + targets[c]);
                uint64_t v;
                memcpy(&v, sum, 8);
                v += (uint64_t)(int64_t)products[k][c];
                memcpy(sum, &v, 8);
            }
        }
    }
}

static void run_plan(const nest *n, const reading *r, const plan *p) {
    uint32_t place[MHO_MAX_LOOPS], i, k, count;
    int64_t from[AT_ONCE], to[AT_ONCE], next_from = r->code.base, next_to = r->target.base;
    int is_left = 1;
    memset(place, 0, sizeof place);
    while (is_left) {
        for (count = 0; is_left && count < AT_ONCE; count++) {
            from[count] = next_from, to[count] = next_to;
            is_left = step(n, p->levels, place, &r->target, &next_to, &r->code, &next_from);
        }
        for (i = 0; i < p->count; i++) {
            for (k = 0; k < count; k++) {
                take_inputs(r, p->parts + i, from[k], inputs[k]);
            }
            multiply(p->parts + i);
            add_products(r, p->parts + i, to, count);
        }
    }
}

int mho_fused_loop(const mho_machine *m, uint32_t outer, uint32_t at) {
    const uint32_t end = at + (mho_word(m, at) >> 8);
    const uint8_t *data;
    reading r;
    nest n;
    plan *p;
    int is_new;
    uint32_t body;
    memset(&n, 0, sizeof n);
    n.outer = outer;
    body = enter(m, at, end, &n);
    if (body >= end || (at > refused_from && at < refused_to) || !is_reading(m, body, end, &n, &r)) {
        return 0;
    }
    data = mho_reference_block(r.crossbar);
    if (!data || (data >= m->arena && data < m->arena + m->program.arena_bytes) || !(p = find_plan(at, data, &is_new))) {
        return 0; /* cells in the arena change from sample to sample */
    }
    if (is_new) {
        make_plan(m, &n, &r, p);
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
