/* The integer-only digital unit: operations on centred integers by multipliers and shifts (mho.arithmetic.kernels.integers). */
#include "mho_internal.h"

typedef struct scaling {
    uint32_t shift;
    int64_t low, high;
} scaling;

static scaling next_scaling(const mho_machine *m, uint32_t *at) {
    scaling s;
    s.shift = mho_word(m, (*at)++);
    s.low = mho_signed_word(m, (*at)++);
    s.high = mho_signed_word(m, (*at)++);
    return s;
}

static int64_t rescale(int64_t v, const scaling *s) { return mho_rescale(v, s->shift, s->low, s->high); }

static mho_status quantize(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const uint32_t count = mho_word(m, at);
    const float scale = mho_float_of(mho_word(m, at + 1));
    const int64_t low = mho_signed_word(m, at + 2), high = mho_signed_word(m, at + 3);
    uint32_t i;
    for (i = 0; i < count; i++) {
        const float x = mho_take_float(&in, i);
        float whole;
        int64_t q;
        if (x != x) {
            return MHO_E_NAN;
        }
        whole = mho_round_half_even(x / scale);
        q = whole < -2147483648.0f ? low : whole > 2147483648.0f ? high : (int64_t)whole;
        mho_put(&out, i, mho_rescale(q, 0, low, high));
    }
    return MHO_OK;
}

static void dequantize(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const uint32_t count = mho_word(m, at);
    const float scale = mho_float_of(mho_word(m, at + 1));
    uint32_t i;
    for (i = 0; i < count; i++) {
        mho_store_f32(out.writable, i, (float)mho_take_one(&in, i) * scale);
    }
}

static void clamp(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const uint32_t count = mho_word(m, at);
    const int64_t low = mho_signed_word(m, at + 1), high = mho_signed_word(m, at + 2);
    uint32_t i;
    for (i = 0; i < count; i++) {
        mho_put(&out, i, mho_rescale(mho_take_one(&in, i), 0, low, high));
    }
}

static void scale(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const mho_operand multiplier = mho_next_operand(m, &at), offset = mho_next_operand(m, &at);
    const scaling s = next_scaling(m, &at);
    mho_walk w;
    const uint32_t steps = mho_begin(m, &at, 3, &w);
    uint32_t i;
    for (i = 0; i < steps; i++, mho_step(&w)) {
        const int64_t v = mho_take_one(&in, (uint32_t)w.at[0]);
        const int64_t product = mho_times(v, mho_take_one(&multiplier, (uint32_t)w.at[1]));
        mho_put(&out, i, rescale(mho_plus(product, mho_take_one(&offset, (uint32_t)w.at[2])), &s));
    }
}

static void add(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at);
    const uint32_t count = mho_word(m, at++);
    const scaling s = next_scaling(m, &at);
    mho_operand operands[MHO_MAX_OPERANDS];
    int64_t multipliers[MHO_MAX_OPERANDS];
    mho_walk w;
    uint32_t steps, i, k;
    for (k = 0; k < count; k++) {
        operands[k] = mho_next_operand(m, &at);
        multipliers[k] = mho_signed_word(m, at - 1 + count);
    }
    at += count;
    steps = mho_begin(m, &at, count, &w);
    for (i = 0; i < steps; i++, mho_step(&w)) {
        int64_t total = 0;
        for (k = 0; k < count; k++) {
            total = mho_plus(total, mho_times(multipliers[k], mho_take_one(&operands[k], (uint32_t)w.at[k])));
        }
        mho_put(&out, i, rescale(total, &s));
    }
}

static void multiply(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), a = mho_next_operand(m, &at), b = mho_next_operand(m, &at);
    const int64_t multiplier = mho_signed_word(m, at++);
    const scaling s = next_scaling(m, &at);
    mho_walk w;
    const uint32_t steps = mho_begin(m, &at, 2, &w);
    uint32_t i;
    for (i = 0; i < steps; i++, mho_step(&w)) {
        const int64_t product = mho_times(mho_take_one(&a, (uint32_t)w.at[0]), mho_take_one(&b, (uint32_t)w.at[1]));
        mho_put(&out, i, rescale(mho_times(product, multiplier), &s));
    }
}

/* floor(a / b), b > 0 */
static int64_t divide_down(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

static void divide(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), a = mho_next_operand(m, &at), b = mho_next_operand(m, &at);
    const int64_t multiplier = mho_signed_word(m, at++);
    const scaling s = next_scaling(m, &at);
    mho_walk w;
    const uint32_t steps = mho_begin(m, &at, 2, &w);
    uint32_t i;
    for (i = 0; i < steps; i++, mho_step(&w)) {
        const int64_t x = mho_take_one(&a, (uint32_t)w.at[0]), y = mho_take_one(&b, (uint32_t)w.at[1]);
        const uint64_t size = y < 0 ? -(uint64_t)y : (uint64_t)y;
        const int64_t divisor = (int64_t)(size << s.shift & (((uint64_t)1 << 62) - 1)); /* all of a sound program's */
        int64_t result = x == 0 ? 0 : x < 0 ? s.low : s.high;
        if (divisor > 0) {
            const int64_t product = mho_times(mho_times(x, multiplier), y < 0 ? -2 : 2);
            result = divide_down(mho_plus(product, divisor), 2 * divisor);
        }
        mho_put(&out, i, mho_rescale(result, 0, s.low, s.high));
    }
}

static void look_up(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at), table = mho_next_operand(m, &at);
    const uint32_t count = mho_word(m, at);
    const int64_t first = mho_signed_word(m, at + 1), last = (int64_t)table.count - 1;
    uint32_t i;
    for (i = 0; i < count; i++) {
        const int64_t index = mho_plus(mho_take_one(&in, i), -first);
        mho_put(&out, i, mho_take_one(&table, (uint32_t)(index < 0 ? 0 : index > last ? last : index)));
    }
}

static void pool(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const mho_operand multiplier = mho_next_operand(m, &at);
    uint32_t v[19], i, plane, y, x, ky, kx, to = 0;
    scaling s;
    for (i = 0; i < 17; i++) {
        v[i] = mho_word(m, at++);
    }
    s = next_scaling(m, &at);
    v[17] = mho_word(m, at), v[18] = mho_word(m, at + 1);
    for (plane = 0; plane < v[0]; plane++) {
        for (y = 0; y < v[3]; y++) {
            for (x = 0; x < v[4]; x++) {
                int64_t total = 0;
                for (ky = 0; ky < v[5]; ky++) {
                    const int64_t row = (int64_t)y * v[7] - v[9] + (int64_t)ky * v[11];
                    for (kx = 0; row >= 0 && row < (int64_t)v[1] && kx < v[6]; kx++) {
                        const int64_t col = (int64_t)x * v[8] - v[10] + (int64_t)kx * v[12];
                        if (col >= 0 && col < (int64_t)v[2]) {
                            const uint32_t from = (plane * v[1] + (uint32_t)row) * v[2] + (uint32_t)col;
                            total = mho_plus(total, mho_take_one(&in, from));
                        }
                    }
                }
                total = mho_times(total, mho_take_one(&multiplier, y * v[17] + x * v[18]));
                mho_put(&out, to++, rescale(total, &s));
            }
        }
    }
}

static void reduce(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const int64_t multiplier = mho_signed_word(m, at++);
    const scaling s = next_scaling(m, &at);
    mho_walk outer, inner;
    const uint32_t steps = mho_begin(m, &at, 1, &outer), size = mho_begin(m, &at, 1, &inner);
    uint32_t i, k;
    for (i = 0; i < steps; i++, mho_step(&outer)) {
        int64_t total = 0;
        for (k = 0; k < size; k++, mho_step(&inner)) { /* ends where it starts */
            total = mho_plus(total, mho_take_one(&in, (uint32_t)(outer.at[0] + inner.at[0])));
        }
        mho_put(&out, i, rescale(mho_times(total, multiplier), &s));
    }
}

/* e^(-below), with 30 fractional bits, from two tables. */
static int64_t power(const mho_operand *fine, const mho_operand *coarse, int64_t below) {
    const int64_t last = (int64_t)coarse->count - 1, step = mho_shift_right(below, 8);
    const int64_t of_coarse = mho_take_one(coarse, (uint32_t)(step > last ? last : step));
    return mho_shift_right(mho_times(mho_take_one(fine, (uint32_t)(below & 255)), of_coarse), 30);
}

/* a - b modulo 2^64, and never below 0: tensors hold 32 bits, but a damaged image may say otherwise. */
static int64_t difference(int64_t a, int64_t b) {
    const int64_t found = mho_signed64((uint64_t)a - (uint64_t)b);
    return found < 0 ? 0 : found;
}

static void softmax(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const mho_operand fine = mho_next_operand(m, &at), coarse = mho_next_operand(m, &at);
    const uint32_t outer = mho_word(m, at), size = mho_word(m, at + 1), inner = mho_word(m, at + 2);
    const int64_t multiplier = mho_signed_word(m, at + 3);
    scaling s;
    uint32_t o, k, i;
    at += 4;
    s = next_scaling(m, &at);
    for (o = 0; o < outer; o++) {
        for (k = 0; k < inner; k++) {
            const uint32_t first = o * size * inner + k;
            int64_t largest = mho_take_one(&in, first), total = 0;
            for (i = 1; i < size; i++) {
                const int64_t v = mho_take_one(&in, first + i * inner);
                largest = v > largest ? v : largest;
            }
            for (i = 0; i < size; i++) {
                total = mho_plus(total, power(&fine, &coarse, difference(largest, mho_take_one(&in, first + i * inner))));
            }
            for (i = 0; i < size; i++) {
                const int64_t one = power(&fine, &coarse, difference(largest, mho_take_one(&in, first + i * inner)));
                const uint64_t share = total > 0 ? ((uint64_t)one << 30) / (uint64_t)total : 0;
                mho_put(&out, first + i * inner, rescale(mho_times(mho_signed64(share), multiplier), &s));
            }
        }
    }
}

/* floor(sqrt(v)), 0 <= v < 2^62 */
static uint64_t integer_root(uint64_t v) {
    uint64_t root = 0, bit;
    for (bit = (uint64_t)1 << 30; bit; bit >>= 1) {
        if ((root | bit) * (root | bit) <= v) {
            root |= bit;
        }
    }
    return root;
}

/* Of a layer's mean and variance; or, not centred, of the mean square. */
static void normalize(const mho_machine *m, uint32_t at, int is_centred) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const mho_operand multiplier = mho_next_operand(m, &at), offset = mho_next_operand(m, &at);
    const uint64_t epsilon = mho_word(m, at) | (uint64_t)mho_word(m, at + 1) << 32;
    const uint32_t outer = mho_word(m, at + 2), size = mho_word(m, at + 3);
    scaling s;
    uint32_t o, i, walk_at;
    at += 4;
    s = next_scaling(m, &at);
    walk_at = at;
    for (o = 0; o < outer; o++) {
        const uint32_t first = o * size;
        int64_t total = 0, squares = 0, variance;
        uint64_t positive, reciprocal;
        uint32_t room = 0, step;
        mho_walk w;
        for (i = 0; i < size; i++) {
            const int64_t v = mho_take_one(&in, first + i);
            total = is_centred ? mho_plus(total, v) : 0;
            squares = mho_plus(squares, mho_times(v, v));
        }
        variance = mho_plus(mho_times(size, squares), mho_signed64(epsilon - (uint64_t)mho_times(total, total)));
        positive = variance > 0 ? (uint64_t)variance : 1;
        positive &= ((uint64_t)1 << 62) - 1;
        positive = positive ? positive : 1;
        for (step = 16; step; step >>= 1) { /* the largest with positive * 4^room < 2^62 */
            if (positive < (uint64_t)1 << (62 - 2 * step)) {
                positive <<= 2 * step;
                room += step;
            }
        }
        reciprocal = ((uint64_t)1 << 61) / integer_root(positive);
        at = walk_at;
        mho_begin(m, &at, 2, &w);
        for (i = 0; i < size; i++, mho_step(&w)) {
            const int64_t v = mho_take_one(&in, first + i);
            const int64_t centred = mho_plus(mho_times(size, v), mho_signed64(-(uint64_t)total));
            const int64_t product = mho_times(centred, mho_signed64(reciprocal));
            const int64_t normal = variance == 0 ? 0 : mho_rescale(product, 41 - room, INT64_MIN, INT64_MAX);
            const int64_t scaled = mho_times(normal, mho_take_one(&multiplier, (uint32_t)w.at[0]));
            mho_put(&out, first + i, rescale(mho_plus(scaled, mho_take_one(&offset, (uint32_t)w.at[1])), &s));
        }
    }
}

static mho_status embed(const mho_machine *m, uint32_t at) {
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at), table = mho_next_operand(m, &at);
    const int64_t rows = mho_word(m, at);
    const uint32_t width = mho_word(m, at + 1);
    uint32_t i, k;
    for (i = 0; i < in.count; i++) {
        const int64_t index = mho_take_one(&in, i), row = index < 0 ? mho_plus(index, rows) : index;
        if (row < 0 || row >= rows) {
            return MHO_E_INDEX;
        }
        for (k = 0; k < width; k++) {
            mho_put(&out, i * width + k, mho_take_one(&table, (uint32_t)row * width + k));
        }
    }
    return MHO_OK;
}

mho_status mho_run_integers(mho_machine *machine, uint32_t opcode, uint32_t at) {
    switch (opcode) {
    case OP_INT_QUANTIZE: return quantize(machine, at);
    case OP_INT_DEQUANTIZE: dequantize(machine, at); break;
    case OP_INT_CLAMP: clamp(machine, at); break;
    case OP_INT_SCALE: scale(machine, at); break;
    case OP_INT_ADD: add(machine, at); break;
    case OP_INT_MUL: multiply(machine, at); break;
    case OP_INT_DIV: divide(machine, at); break;
    case OP_INT_TABLE: look_up(machine, at); break;
    case OP_INT_POOL: pool(machine, at); break;
    case OP_INT_REDUCE: reduce(machine, at); break;
    case OP_INT_SOFTMAX: softmax(machine, at); break;
    case OP_INT_LAYER_NORM: normalize(machine, at, 1); break;
    case OP_INT_RMS_NORM: normalize(machine, at, 0); break;
    case OP_INT_EMBED: return embed(machine, at);
    default: return MHO_E_CODE;
    }
    return MHO_OK;
}
