/* Operations of the digital unit that move elements: to other places, by indices, in order. */
#include "mho_internal.h"

/* Copy one element; whole numbers may be held in another type. */
static void copy(const mho_operand *out, uint32_t to, const mho_operand *in, uint32_t from) {
    if (in->element == MHO_F32) {
        mho_store_f32(out->writable, to, mho_take_float(in, from));
    } else {
        mho_put(out, to, mho_take_one(in, from));
    }
}

void mho_move(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const uint32_t to = mho_word(m, at), from = mho_word(m, at + 1);
    mho_walk w;
    uint32_t steps, i;
    at += 2;
    steps = mho_begin(m, &at, 2, &w);
    for (i = 0; i < steps; i++, mho_step(&w)) {
        copy(&out, (uint32_t)(to + w.at[1]), &in, (uint32_t)(from + w.at[0]));
    }
}

void mho_fill(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at);
    const uint32_t value = mho_word(m, at);
    uint32_t i;
    for (i = 0; i < out.count; i++) {
        if (out.element == MHO_F32) {
            mho_store_f32(out.writable, i, mho_float_of(value));
        } else {
            mho_put(&out, i, mho_signed32(value));
        }
    }
}

void mho_gather(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at), indices = mho_next_operand(m, &at);
    const uint32_t outer = mho_word(m, at), size = mho_word(m, at + 1), inner = mho_word(m, at + 2);
    const uint32_t count = mho_word(m, at + 3);
    uint32_t o, i, k, to = 0;
    for (o = 0; o < outer; o++) {
        for (i = 0; i < count; i++) {
            const uint32_t from = (o * size + (uint32_t)mho_take_one(&indices, i)) * inner;
            for (k = 0; k < inner; k++) {
                copy(&out, to++, &in, from + k);
            }
        }
    }
}

/* Which of `rows` rows, at most 2^24, an index names, from the end where it is below zero; 0: none. */
static int find_row(float index, uint32_t rows, uint32_t *row) {
    int64_t found;
    if (!(index >= -(float)rows && index < (float)rows)) {
        return 0;
    }
    found = (int64_t)index;
    *row = (uint32_t)(found < 0 ? found + rows : found);
    return (float)found == index;
}

mho_status mho_embed(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at), table = mho_next_operand(m, &at);
    const uint32_t rows = mho_word(m, at), width = mho_word(m, at + 1);
    uint32_t i, k;
    for (i = 0; i < in.count; i++) {
        uint32_t row;
        if (!find_row(mho_take_float(&in, i), rows, &row)) {
            return MHO_E_INDEX;
        }
        for (k = 0; k < width; k++) {
            copy(&out, i * width + k, &table, row * width + k);
        }
    }
    return MHO_OK;
}

/* Slices of `in` take the places of those of `out` that indices name; the last stays. */
mho_status mho_scatter(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), indices = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const uint32_t outer = mho_word(m, at), size = mho_word(m, at + 1), inner = mho_word(m, at + 2);
    uint32_t o, i, k, from = 0;
    for (o = 0; o < outer; o++) {
        for (i = 0; i < indices.count; i++) {
            uint32_t place;
            if (!find_row(mho_take_float(&indices, i), size, &place)) {
                return MHO_E_INDEX;
            }
            for (k = 0; k < inner; k++) {
                copy(&out, (o * size + place) * inner + k, &in, from++);
            }
        }
    }
    return MHO_OK;
}

/* Whether a comes before b where the largest come first: a number that is none is larger than all. */
static int is_before(float a, float b, int is_largest) {
    if (a != a || b != b) {
        return is_largest ? a != a && b == b : a == a && b != b;
    }
    return is_largest ? a > b : a < b;
}

/* The first k of each line in order, or where they stand; of equal ones the earlier first, or the later. */
void mho_order(const mho_machine *m, uint32_t at) {
    const uint32_t gives_indices = mho_word(m, at), is_largest = mho_word(m, at + 1), is_last = mho_word(m, at + 2);
    uint32_t outer, size, inner, count, o, k, i, turn;
    mho_operand out, in;
    at += 3;
    out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    outer = mho_word(m, at), size = mho_word(m, at + 1), inner = mho_word(m, at + 2), count = mho_word(m, at + 3);
    for (o = 0; o < outer; o++) {
        for (k = 0; k < inner; k++) {
            float before = 0.0f;
            uint32_t place = 0;
            for (turn = 0; turn < count; turn++) {
                float best = 0.0f;
                uint32_t found = size;
                for (i = 0; i < size; i++) {
                    const float x = mho_take_float(&in, (o * size + i) * inner + k);
                    const int is_equal = !is_before(before, x, (int)is_largest) && !is_before(x, before, (int)is_largest);
                    const int follows = turn == 0 || is_before(before, x, (int)is_largest) || (is_equal && i > place);
                    if (follows && (found == size || is_before(x, best, (int)is_largest) ||
                                    (is_last && !is_before(best, x, (int)is_largest)))) {
                        best = x, found = i;
                    }
                }
                before = best, place = found;
                mho_store_f32(out.writable, (o * count + turn) * inner + k, gives_indices ? (float)found : best);
            }
        }
    }
}
