/* Operations of the digital unit on float32, each step rounded: those element by element, and which file runs which. */
#include "mho_internal.h"

static void unary(const mho_machine *m, uint32_t at) {
    const uint32_t function = mho_word(m, at++);
    const mho_operand out = mho_next_operand(m, &at), in = mho_next_operand(m, &at);
    const uint32_t count = mho_word(m, at++);
    float values[MHO_CHUNK];
    uint32_t p[4], i, k, many;
    for (i = 0; i < 4; i++) {
        p[i] = mho_word(m, at + i);
    }
    for (i = 0; i < count; i += many) {
        many = count - i < MHO_CHUNK ? count - i : MHO_CHUNK;
        mho_take_floats(&in, i, many, values);
        if (function == FN_RELU || function == FN_CLIP) { /* the most frequent */
            const float low = function == FN_CLIP ? mho_float_of(p[0]) : 0.0f;
            const float high = function == FN_CLIP ? mho_float_of(p[1]) : mho_float_of(0x7f800000U);
            for (k = 0; k < many; k++) {
                values[k] = values[k] < low ? low : values[k] > high ? high : values[k];
            }
        } else {
            for (k = 0; k < many; k++) {
                values[k] = mho_apply_unary(function, values[k], p);
            }
        }
        memcpy(out.writable + (size_t)i * 4, values, (size_t)many * 4);
    }
}

static void add_floats(const mho_operand *out, const mho_operand *a, const mho_operand *b, uint32_t count) {
    float x[MHO_CHUNK], y[MHO_CHUNK];
    uint32_t i, k, many;
    for (i = 0; i < count; i += many) {
        many = count - i < MHO_CHUNK ? count - i : MHO_CHUNK;
        mho_take_floats(a, i, many, x);
        mho_take_floats(b, i, many, y);
        for (k = 0; k < many; k++) {
            x[k] = x[k] + y[k];
        }
        memcpy(out->writable + (size_t)i * 4, x, (size_t)many * 4);
    }
}

static void binary(const mho_machine *m, uint32_t at) {
    const uint32_t function = mho_word(m, at++);
    const mho_operand out = mho_next_operand(m, &at), a = mho_next_operand(m, &at), b = mho_next_operand(m, &at);
    const uint32_t reference = mho_word(m, at++);
    mho_operand mask = a;
    mho_walk w;
    uint32_t steps, i;
    if (reference != MHO_NONE) {
        mask = mho_find(m, reference);
    }
    steps = mho_begin(m, &at, 3, &w);
    if (out.element != MHO_F32) {
        for (i = 0; i < steps; i++, mho_step(&w)) {
            const int64_t x = mho_take_one(&a, (uint32_t)w.at[0]), y = mho_take_one(&b, (uint32_t)w.at[1]);
            const int takes_first = function == FN_MINIMUM   ? x <= y
                                    : function == FN_MAXIMUM ? x >= y
                                                             : mho_take_one(&mask, (uint32_t)w.at[2]) != 0;
            mho_put(&out, i, takes_first ? x : y);
        }
        return;
    }
    if (function == FN_ADD && w.rank == 1 && w.strides[0][0] == 1 && w.strides[1][0] == 1) { /* the most frequent */
        add_floats(&out, &a, &b, steps);
        return;
    }
    for (i = 0; i < steps; i++, mho_step(&w)) {
        const float x = mho_take_float(&a, (uint32_t)w.at[0]), y = mho_take_float(&b, (uint32_t)w.at[1]);
        float result;
        switch (function) {
        case FN_ADD: result = x + y; break;
        case FN_SUB: result = x - y; break;
        case FN_MUL: result = x * y; break;
        case FN_DIV: result = x / y; break;
        case FN_MINIMUM: result = -mho_maximum(-x, -y); break;
        case FN_MAXIMUM: result = mho_maximum(x, y); break;
        case FN_PRELU: result = x < 0.0f ? x * y : x; break;
        case FN_EQUAL: result = x == y ? 1.0f : 0.0f; break;
        case FN_LESS: result = x < y ? 1.0f : 0.0f; break;
        case FN_LESS_OR_EQUAL: result = x <= y ? 1.0f : 0.0f; break;
        default:
            if (mask.element == MHO_F32) {
                result = mho_take_float(&mask, (uint32_t)w.at[2]) != 0.0f ? x : y;
            } else {
                result = mho_take_one(&mask, (uint32_t)w.at[2]) ? x : y;
            }
            break;
        }
        mho_store_f32(out.writable, i, result);
    }
}

mho_status mho_run_digital(mho_machine *machine, uint32_t opcode, uint32_t at) {
    switch (opcode) {
    case OP_UNARY: unary(machine, at); break;
    case OP_BINARY: binary(machine, at); break;
    case OP_MOVE: mho_move(machine, at); break;
    case OP_FILL: mho_fill(machine, at); break;
    case OP_GATHER: mho_gather(machine, at); break;
    case OP_EMBED: return mho_embed(machine, at);
    case OP_SCATTER: return mho_scatter(machine, at);
    case OP_ORDER: mho_order(machine, at); break;
    case OP_REDUCE: mho_reduce(machine, at); break;
    case OP_POOL: mho_pool(machine, at); break;
    case OP_SOFTMAX: mho_softmax(machine, at); break;
    case OP_LAYER_NORM: mho_layer_norm(machine, at); break;
    default: return mho_run_integers(machine, opcode, at);
    }
    return MHO_OK;
}
