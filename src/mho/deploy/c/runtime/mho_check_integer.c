/* Checks of operations of the digital unit on integers alone. */
#include "mho_check.h"

static void check_shift(mho_reader *r, const mho_operand *out) {
    mho_require(r, mho_read_word(r) <= MHO_MOST_INT_SHIFT, MHO_E_OPERAND);
    mho_check_limits(r, out);
}

static mho_operand read_whole(mho_reader *r) {
    const mho_operand operand = mho_read_operand(r);
    mho_require(r, mho_is_whole(&operand) && operand.rows == 0 && operand.count > 0, MHO_E_OPERAND);
    return operand;
}

static void check_int_walk(mho_reader *r, uint32_t operands, const uint32_t *counts, uint32_t steps) {
    const uint64_t bases[MHO_MAX_OPERANDS] = {0};
    mho_require(r, mho_check_walk(r, operands, bases, counts) == steps, MHO_E_ADDRESS);
}

static void check_int_add(mho_reader *r) {
    const mho_operand out = mho_read_whole_buffer(r);
    const uint32_t count = mho_read_word(r);
    uint32_t counts[MHO_MAX_OPERANDS], k;
    mho_require(r, count >= 1 && count <= MHO_MAX_OPERANDS, MHO_E_OPERAND);
    check_shift(r, &out);
    for (k = 0; k < count && r->status == MHO_OK; k++) {
        counts[k] = read_whole(r).count;
    }
    for (k = 0; k < count && r->status == MHO_OK; k++) {
        mho_read_word(r);
    }
    if (r->status == MHO_OK) {
        check_int_walk(r, count, counts, out.count);
    }
}

static void check_int_pool(mho_reader *r) {
    const mho_operand out = mho_read_whole_buffer(r), in = read_whole(r), multiplier = read_whole(r);
    uint32_t made[2] = {1, 1}, down, right;
    mho_check_windows(r, &out, &in, made);
    check_shift(r, &out);
    down = mho_read_word(r), right = mho_read_word(r);
    mho_require(r, down <= 0xffffffU && right <= 0xffffffU, MHO_E_OPERAND);
    mho_require(r, (uint64_t)down * (made[0] - 1U) + (uint64_t)right * (made[1] - 1U) < multiplier.count, MHO_E_ADDRESS);
}

static void check_int_softmax(mho_reader *r) {
    const mho_operand out = mho_read_whole_buffer(r), in = read_whole(r), fine = read_whole(r);
    uint32_t outer, size, inner;
    read_whole(r);
    outer = mho_read_word(r), size = mho_read_word(r), inner = mho_read_word(r);
    mho_read_word(r);
    check_shift(r, &out);
    mho_require(r, fine.count == 256 && size >= 1, MHO_E_OPERAND);
    mho_require(r, mho_multiply(r, mho_multiply(r, outer, size), inner) == in.count, MHO_E_ADDRESS);
    mho_require(r, in.count == out.count, MHO_E_ADDRESS);
}

static void check_int_layer_norm(mho_reader *r) {
    const mho_operand out = mho_read_whole_buffer(r), in = read_whole(r);
    uint32_t counts[2], outer, size;
    counts[0] = read_whole(r).count, counts[1] = read_whole(r).count;
    mho_read_word(r), mho_read_word(r);
    outer = mho_read_word(r), size = mho_read_word(r);
    check_shift(r, &out);
    mho_require(r, size >= 1 && mho_multiply(r, outer, size) == in.count && in.count == out.count, MHO_E_ADDRESS);
    check_int_walk(r, 2, counts, size);
}

static void check_int_embed(mho_reader *r) {
    const mho_operand out = mho_read_whole_buffer(r), in = read_whole(r), table = read_whole(r);
    const uint32_t rows = mho_read_word(r), width = mho_read_word(r);
    mho_require(r, rows >= 1 && rows <= 1U << 24, MHO_E_OPERAND);
    mho_require(r, mho_multiply(r, rows, width) == table.count, MHO_E_ADDRESS);
    mho_require(r, mho_multiply(r, in.count, width) == out.count, MHO_E_ADDRESS);
}

void mho_check_integer(mho_reader *r, uint32_t opcode) {
    mho_operand out, in;
    uint32_t counts[3], first, second, outer;
    uint64_t base = 0;
    float scale;
    switch (opcode) {
    case OP_INT_QUANTIZE:
    case OP_INT_DEQUANTIZE:
        out = mho_read_tensor(r, 1), in = mho_read_tensor(r, 0);
        mho_require(r, (out.element == MHO_F32) == (opcode == OP_INT_DEQUANTIZE), MHO_E_OPERAND);
        mho_require(r, (in.element == MHO_F32) == (opcode == OP_INT_QUANTIZE), MHO_E_OPERAND);
        mho_require(r, mho_read_word(r) == out.count && in.count == out.count, MHO_E_ADDRESS);
        scale = mho_float_of(mho_read_word(r));
        mho_require(r, scale > 0.0f && scale <= FLT_MAX, MHO_E_OPERAND);
        if (opcode == OP_INT_QUANTIZE) {
            mho_check_limits(r, &out);
        }
        break;
    case OP_INT_CLAMP:
        out = mho_read_whole_buffer(r), in = read_whole(r);
        mho_require(r, mho_read_word(r) == out.count && in.count == out.count, MHO_E_ADDRESS);
        mho_read_word(r), mho_read_word(r);
        break;
    case OP_INT_SCALE:
        out = mho_read_whole_buffer(r);
        counts[0] = read_whole(r).count, counts[1] = read_whole(r).count, counts[2] = read_whole(r).count;
        check_shift(r, &out);
        check_int_walk(r, 3, counts, out.count);
        break;
    case OP_INT_ADD: check_int_add(r); break;
    case OP_INT_MUL:
    case OP_INT_DIV:
        out = mho_read_whole_buffer(r);
        counts[0] = read_whole(r).count, counts[1] = read_whole(r).count;
        mho_read_word(r);
        check_shift(r, &out);
        check_int_walk(r, 2, counts, out.count);
        break;
    case OP_INT_TABLE:
        out = mho_read_whole_buffer(r), in = read_whole(r);
        read_whole(r);
        mho_require(r, mho_read_word(r) == out.count && in.count == out.count, MHO_E_ADDRESS);
        mho_read_word(r);
        break;
    case OP_INT_POOL: check_int_pool(r); break;
    case OP_INT_REDUCE:
        out = mho_read_whole_buffer(r), in = read_whole(r);
        mho_read_word(r);
        check_shift(r, &out);
        counts[0] = in.count;
        first = r->at, outer = mho_check_walk(r, 1, &base, counts), second = r->at;
        mho_require(r, mho_check_walk(r, 1, &base, counts) > 0 && outer == out.count && outer > 0, MHO_E_ADDRESS);
        if (r->status == MHO_OK) {
            mho_require(r, mho_walk_top(r, first) + mho_walk_top(r, second) < in.count, MHO_E_ADDRESS);
        }
        break;
    case OP_INT_SOFTMAX: check_int_softmax(r); break;
    case OP_INT_LAYER_NORM:
    case OP_INT_RMS_NORM: check_int_layer_norm(r); break;
    case OP_INT_EMBED: check_int_embed(r); break;
    default: mho_fail(r, MHO_E_CODE); break;
    }
}
