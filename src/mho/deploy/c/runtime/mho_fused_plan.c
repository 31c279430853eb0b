/* Plans of loops over reads: recovers weights from cells, once, into static memory. */
#include "mho_fused.h"

#ifdef MHO_FUSED

static uint64_t pool[MHO_FUSED_BYTES / 8 + 1];
static mho_plan plans[MHO_FUSED_BYTES / 4096 + 64];
static uint32_t known, cursor, pool_used;
static uint16_t cells[MHO_MAX_ROWS * MHO_MAX_COLS];
static uint32_t group_of[MHO_MAX_ROWS], target_of[MHO_MAX_COLS], is_done[MHO_MAX_COLS], first_of[MHO_MAX_ROWS];
static int64_t row[MHO_MAX_COLS];

void mho_forget_plans(void) { known = cursor = pool_used = 0; }

void mho_begin_plans(void) { cursor = 0; }

static void *allocate(uint32_t count, uint32_t bytes) {
    const uint64_t size = ((uint64_t)count * bytes + 63) / 64 * 64;
    uint8_t *found = (uint8_t *)pool + pool_used;
    if (size > sizeof pool - pool_used) {
        return NULL;
    }
    pool_used += (uint32_t)size;
    return found;
}

/* The bits of a code that all slices take from its lowest, where each takes others; 0: shifts are not such.
   `levels`: of loops over positions. */
static uint64_t slice_mask(const mho_nest *n, const mho_reading *r, uint32_t *levels) {
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

static void find_repeat(mho_part *p) {
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
static int list_inputs(const mho_reading *r, uint64_t slices, int merges, mho_part *p) {
    const uint64_t largest = r->codes.element == MHO_U8 ? 0xffU : UINT64_MAX;
    uint32_t i, k, turn;
    p->inputs = p->is_sparse = p->shares = 0;
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
static int list_outputs(const mho_reading *r, const uint32_t *done, mho_part *p) {
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
static int read_row(const mho_reading *r, uint32_t i, uint32_t outputs, uint32_t cols) {
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
static void find_span(const mho_part *p, uint32_t output) {
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

/* Write weights as pairs where products of bytes are exact in floats, and where that saves work: a pair takes about 5
   steps, 8 weights in a row 9, and a sum of such 24. */
static void make_sparse(mho_part *p) {
    static int16_t line[MHO_MAX_ROWS + LANES];
    uint64_t pairs = 0, dense = 0;
    uint32_t c, k, count;
    for (c = 0; c < p->outputs; c++) {
        const int16_t *weights = p->weights + (size_t)c * p->width;
        int64_t most = 0;
        for (k = 0, count = 0; k < p->width; k++) {
            count += weights[k] != 0;
            most += 255 * (weights[k] < 0 ? -weights[k] : weights[k]);
        }
        if (2 * count > p->width || most > 1 << 24) {
            return;
        }
        pairs += 5 * (uint64_t)count + 5;
        dense += (uint64_t)(p->stops[c] - p->starts[c]) / 8 * 9 + 24;
    }
    p->is_sparse = p->takes_all && pairs < dense;
    for (c = 0; p->is_sparse && c < p->outputs; c++) {
        int16_t *weights = p->weights + (size_t)c * p->width;
        memcpy(line, weights, p->width * sizeof *line);
        for (k = 0, count = 0; k < p->width; k++) {
            if (line[k] != 0) {
                weights[count] = (int16_t)k, weights[count + 1] = line[k];
                count += 2;
            }
        }
        p->starts[c] = 0, p->stops[c] = (uint16_t)(count / 2);
    }
}

/* Recover weights, and leave out the sums of which no such are. A merged row must hold the code's weight times two to the
   power of its shift. Weights fit 16 bits, products 32. */
static int recover(const mho_reading *r, int merges, uint32_t cols, mho_part *p) {
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
    make_sparse(p);
    return 1;
}

static int add_part(const mho_reading *r, uint64_t slices, int merges, uint32_t cols, mho_plan *p) {
    mho_part *one = p->parts + p->count;
    if (!list_inputs(r, slices, merges, one) || !list_outputs(r, is_done, one) || !recover(r, merges, cols, one)) {
        return 0;
    }
    one->shares = p->count > 0 && p->parts[0].outputs > 0 && p->parts[0].takes_all && !p->parts[0].is_sparse &&
                  one->repeat == p->parts[0].inputs && one->repeat > 0 &&
                  memcmp(one->offsets, p->parts[0].offsets, one->repeat * sizeof *one->offsets) == 0;
    p->count += one->outputs > 0;
    return 1;
}

/* Merge rows for the sums where they can be, and not for the others. */
static void make_plan(const mho_machine *m, const mho_nest *n, const mho_reading *r, mho_plan *p) {
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

/* Loops come in the same order in each sample; where one does not, later ones are new. */
const mho_plan *mho_find_plan(const mho_machine *m, const mho_nest *n, const mho_reading *r, uint32_t at,
                              const uint8_t *data) {
    mho_plan *p = plans + cursor;
    if (cursor >= sizeof plans / sizeof *plans) {
        return NULL;
    }
    if (cursor >= known || p->at != at || p->cells != data) {
        pool_used = cursor < known ? p->pool_used : pool_used;
        known = cursor + 1;
        p->at = at, p->cells = data;
        make_plan(m, n, r, p);
    }
    cursor++;
    return p;
}

#else
typedef int mho_no_plans; /* a file must not be empty */
#endif
