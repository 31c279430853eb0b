/* Operations of the digital unit that combine many float32 numbers: sums and maxima by the fixed tree of mho.arithmetic. */
#include "mho_internal.h"

enum { SMALL = 256 };

/* Combines values by the tree in which the upper half is added to the lower until one is left. Values come in the order
   of reversed bits, so that a stack of one value a level suffices. */
typedef struct tree {
    float values[32];
    uint32_t is_there, bits, size, turn;
    int is_sum;
} tree;

static void tree_begin(tree *t, uint32_t size, int is_sum) {
    t->size = size;
    t->bits = 0;
    while (t->bits < 31 && (1U << t->bits) < size) {
        t->bits++;
    }
    t->is_there = 0;
    t->turn = 0;
    t->is_sum = is_sum;
}

/* Which element comes next; at least `size`: none, pass anything. */
static uint32_t tree_index(const tree *t) {
    uint32_t index = 0, bit;
    for (bit = 0; bit < t->bits; bit++) {
        index |= (t->turn >> bit & 1U) << (t->bits - 1 - bit);
    }
    return index;
}

static int tree_is_done(const tree *t) { return t->turn >> t->bits != 0; }

static void tree_add(tree *t, float value, int is_there) {
    uint32_t level = 0, turn = t->turn++;
    while (turn & 1U) { /* the partner came before, one level below */
        const int has_partner = (t->is_there >> level & 1U) != 0;
        if (has_partner && is_there) {
            value = t->is_sum ? t->values[level] + value : mho_maximum(t->values[level], value);
        } else if (has_partner) {
            value = t->values[level];
            is_there = 1;
        }
        turn >>= 1;
        level++;
    }
    t->values[level] = value;
    t->is_there = (t->is_there & ~(1U << level)) | (uint32_t)(is_there != 0) << level;
}

static float tree_result(const tree *t) { return t->values[t->bits]; }

/* The same of at most SMALL values that are all there; they are overwritten. */
static float combine(float *values, uint32_t size, int is_sum) {
    uint32_t half = 1, i;
    while (2 * half < size) {
        half *= 2;
    }
    for (; size > 1; size = half, half /= 2) {
        const float *upper = values + half;
        for (i = 0; is_sum && i < size - half; i++) {
            values[i] = values[i] + upper[i];
        }
        for (i = 0; !is_sum && i < size - half; i++) {
            values[i] = mho_maximum(values[i], upper[i]);
        }
    }
    return values[0];
}

static int64_t largest_of(const mho_operand *in, int64_t first, mho_walk *inner, uint32_t size) {
    int64_t largest = mho_take_one(in, (uint32_t)(first + inner->at[0]));
    uint32_t i;
    for (i = 0; i < size; i++, mho_step(inner)) {
        const int64_t value = mho_take_one(in, (uint32_t)(first + inner->at[0]));
        largest = value > largest ? value : largest;
    }
    return largest; /* the walk is at its start again */
}

/* The sum or the largest of the floats of a walk that starts at `first`. */
static float combine_walk(const mho_operand *in, int64_t first, mho_walk *inner, uint32_t size, int is_sum) {
    float values[SMALL] = {0.0f};
    uint32_t i, axis;
    tree t;
    if (size <= SMALL) {
        for (i = 0; i < size; i++, mho_step(inner)) { /* ends where it starts */
            values[i] = mho_take_float(in, (uint32_t)(first + inner->at[0]));
        }
        return combine(values, size, is_sum);
    }
    tree_begin(&t, size, is_sum);
    while (!tree_is_done(&t)) {
        uint32_t index = tree_index(&t);
        const int is_there = index < size;
        int64_t from = first;
        for (axis = inner->rank; is_there && axis-- > 0;) {
            from += (int64_t)(index % inner->sizes[axis]) * inner->strides[0][axis];
            index /= inner->sizes[axis];
        }
        tree_add(&t, is_there ? mho_take_float(in, (uint32_t)from) : 0.0f, is_there);
    }
    return tree_result(&t);
}

void mho_reduce(const mho_machine *m, uint32_t at) {
    const uint32_t function = mho_word(m, at++);
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    mho_walk outer, inner;
    const uint32_t steps = mho_begin(m, &at, 1, &outer), size = mho_begin(m, &at, 1, &inner);
    uint32_t i;
    for (i = 0; i < steps; i++, mho_step(&outer)) {
        float result;
        if (out.element != MHO_F32) { /* the largest of whole numbers */
            mho_put(&out, i, largest_of(&in, outer.at[0], &inner, size));
            continue;
        }
        result = combine_walk(&in, outer.at[0], &inner, size, function != FN_MAX);
        mho_store_f32(out.writable, i, function == FN_MEAN ? result / (float)size : result);
    }
}

void mho_pool(const mho_machine *m, uint32_t at) {
    const uint32_t is_average = mho_word(m, at++);
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    uint32_t planes, size[2], made[2], kernel[2], strides[2], pads[2], dilations[2], k, plane, y, x, to = 0;
    int32_t low[2], high[2];
    planes = mho_word(m, at++);
    for (k = 0; k < 2; k++) {
        size[k] = mho_word(m, at + k), made[k] = mho_word(m, at + 2 + k), kernel[k] = mho_word(m, at + 4 + k);
        strides[k] = mho_word(m, at + 6 + k), pads[k] = mho_word(m, at + 8 + k), dilations[k] = mho_word(m, at + 10 + k);
        low[k] = mho_signed_word(m, at + 12 + k), high[k] = mho_signed_word(m, at + 14 + k);
    }
    for (plane = 0; plane < planes; plane++) {
        for (y = 0; y < made[0]; y++) {
            for (x = 0; x < made[1]; x++) {
                const uint32_t taps = kernel[0] * kernel[1];
                uint32_t inside[2] = {0, 0}, index;
                float result;
                tree t;
                const int64_t top = (int64_t)y * strides[0] - pads[0], left = (int64_t)x * strides[1] - pads[1];
                int64_t largest = INT64_MIN;
                if (out.element != MHO_F32) {
                    for (index = 0; index < taps; index++) {
                        const int64_t row = top + (int64_t)(index / kernel[1]) * dilations[0];
                        const int64_t col = left + (int64_t)(index % kernel[1]) * dilations[1];
                        if (row >= 0 && row < (int64_t)size[0] && col >= 0 && col < (int64_t)size[1]) {
                            const uint32_t from = (plane * size[0] + (uint32_t)row) * size[1] + (uint32_t)col;
                            const int64_t value = mho_take_one(&in, from);
                            largest = value > largest ? value : largest;
                        }
                    }
                    mho_put(&out, to++, largest);
                    continue;
                }
                tree_begin(&t, taps, (int)is_average);
                while (!tree_is_done(&t)) {
                    index = tree_index(&t);
                    if (index >= taps) {
                        tree_add(&t, 0.0f, 0);
                    } else {
                        const int64_t row = top + (int64_t)(index / kernel[1]) * dilations[0];
                        const int64_t col = left + (int64_t)(index % kernel[1]) * dilations[1];
                        const int is_inside = row >= 0 && row < (int64_t)size[0] && col >= 0 && col < (int64_t)size[1];
                        const float value =
                            is_inside ? mho_take_float(&in, (plane * size[0] + (uint32_t)row) * size[1] + (uint32_t)col)
                            : is_average ? 0.0f
                                         : mho_float_of(0xff800000U);
                        tree_add(&t, value, 1);
                    }
                }
                result = tree_result(&t);
                if (is_average) {
                    for (k = 0; k < kernel[0]; k++) {
                        const int64_t row = top + (int64_t)k * dilations[0];
                        inside[0] += row >= low[0] && row < high[0];
                    }
                    for (k = 0; k < kernel[1]; k++) {
                        const int64_t col = left + (int64_t)k * dilations[1];
                        inside[1] += col >= low[1] && col < high[1];
                    }
                    result = result / ((float)inside[0] * (float)inside[1]);
                }
                mho_store_f32(out.writable, to++, result);
            }
        }
    }
}

void mho_softmax(const mho_machine *m, uint32_t at) {
    const uint32_t is_log = mho_word(m, at++);
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const uint32_t outer = mho_word(m, at), size = mho_word(m, at + 1), inner = mho_word(m, at + 2);
    uint32_t o, k, i;
    for (o = 0; o < outer; o++) {
        for (k = 0; k < inner; k++) {
            const uint32_t first = o * size * inner + k;
            float largest = mho_take_float(&in, first), total;
            tree t;
            for (i = 1; i < size; i++) {
                largest = mho_maximum(largest, mho_take_float(&in, first + i * inner));
            }
            for (i = 0; i < size; i++) {
                const float below = mho_take_float(&in, first + i * inner) - largest;
                mho_store_f32(out.writable, first + i * inner, is_log ? below : mho_exp(below));
            }
            tree_begin(&t, size, 1);
            while (!tree_is_done(&t)) {
                const uint32_t index = tree_index(&t);
                const float value = index < size ? mho_load_f32(out.data, first + index * inner) : 0.0f;
                tree_add(&t, is_log ? mho_exp(value) : value, index < size);
            }
            total = is_log ? mho_log(tree_result(&t)) : tree_result(&t);
            for (i = 0; i < size; i++) {
                const float value = mho_load_f32(out.data, first + i * inner);
                mho_store_f32(out.writable, first + i * inner, is_log ? value - total : value / total);
            }
        }
    }
}

static float mean_of(const mho_operand *values, uint32_t first, uint32_t size, int squares) {
    tree t;
    tree_begin(&t, size, 1);
    while (!tree_is_done(&t)) {
        const uint32_t index = tree_index(&t);
        const float value = index < size ? mho_take_float(values, first + index) : 0.0f;
        tree_add(&t, squares ? value * value : value, index < size);
    }
    return tree_result(&t) / (float)size;
}

void mho_layer_norm(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at), scale = mho_next_operand(m, &at);
    const uint32_t reference = mho_word(m, at++);
    const mho_operand bias = reference == MHO_NONE ? scale : mho_find(m, reference);
    const float epsilon = mho_float_of(mho_word(m, at));
    const uint32_t outer = mho_word(m, at + 1), size = mho_word(m, at + 2), walk_at = at + 3;
    uint32_t o, i;
    for (o = 0; o < outer; o++) {
        const uint32_t first = o * size;
        const float mean = mean_of(&in, first, size, 0);
        float variance, root;
        mho_walk w;
        for (i = 0; i < size; i++) {
            mho_store_f32(out.writable, first + i, mho_take_float(&in, first + i) - mean);
        }
        variance = mean_of(&out, first, size, 1);
        root = mho_sqrt(variance + epsilon);
        at = walk_at;
        mho_begin(m, &at, 2, &w);
        for (i = 0; i < size; i++, mho_step(&w)) {
            float result = mho_load_f32(out.data, first + i) / root;
            result = result * mho_take_float(&scale, (uint32_t)w.at[0]);
            if (reference != MHO_NONE) {
                result = result + mho_take_float(&bias, (uint32_t)w.at[1]);
            }
            mho_store_f32(out.writable, first + i, result);
        }
    }
}
