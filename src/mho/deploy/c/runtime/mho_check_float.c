/* Checks of operations of the digital unit on float32, some of which take whole numbers too. */
#include "mho_check.h"

static void check_binary(mho_reader *r) {
    const uint32_t function = mho_read_word(r);
    const mho_operand out = mho_read_tensor(r, 1), a = mho_read_like(r, &out), b = mho_read_like(r, &out);
    const uint64_t bases[3] = {0, 0, 0};
    uint32_t counts[3];
    counts[0] = a.count, counts[1] = b.count, counts[2] = MHO_NONE;
    mho_require(r, function < FN_BINARY_COUNT, MHO_E_OPERAND);
    mho_require(r, out.element == MHO_F32 || function == FN_MINIMUM || function == FN_MAXIMUM || function == FN_WHERE,
                MHO_E_OPERAND);
    if (function == FN_WHERE) {
        const mho_operand mask = mho_read_operand(r);
        counts[2] = mask.count;
        mho_require(r, mask.rows == 0 && (mho_is_whole(&mask) || (mask.element == MHO_F32 && out.element == MHO_F32)),
                    MHO_E_OPERAND);
    } else {
        mho_require(r, mho_read_word(r) == MHO_NONE, MHO_E_OPERAND);
    }
    mho_require(r, mho_check_walk(r, 3, bases, counts) == out.count, MHO_E_ADDRESS);
}

static void check_move(mho_reader *r) {
    const mho_operand out = mho_read_tensor(r, 1), in = mho_read_like(r, &out);
    uint64_t bases[2];
    uint32_t counts[2];
    bases[1] = mho_read_word(r), bases[0] = mho_read_word(r);
    counts[0] = in.count, counts[1] = out.count;
    mho_check_walk(r, 2, bases, counts);
}

static void check_gather(mho_reader *r) {
    const mho_operand out = mho_read_tensor(r, 1), in = mho_read_like(r, &out), indices = mho_read_whole_constant(r);
    const uint32_t outer = mho_read_word(r), size = mho_read_word(r), inner = mho_read_word(r), count = mho_read_word(r);
    mho_require(r, count == indices.count, MHO_E_OPERAND);
    mho_require_range(r, mho_all_range(r, &indices), 0, (int64_t)size - 1);
    mho_require(r, mho_multiply(r, mho_multiply(r, outer, size), inner) == in.count, MHO_E_ADDRESS);
    mho_require(r, mho_multiply(r, mho_multiply(r, outer, count), inner) == out.count, MHO_E_ADDRESS);
}

static void check_embed(mho_reader *r) {
    const mho_operand out = mho_read_floats(r, 1), in = mho_read_floats(r, 0), table = mho_read_floats(r, 0);
    const uint32_t rows = mho_read_word(r), width = mho_read_word(r);
    mho_require(r, rows >= 1 && rows <= 1U << 24, MHO_E_OPERAND);
    mho_require(r, mho_multiply(r, rows, width) == table.count, MHO_E_ADDRESS);
    mho_require(r, mho_multiply(r, in.count, width) == out.count, MHO_E_ADDRESS);
}

static void check_scatter(mho_reader *r) {
    const mho_operand out = mho_read_floats(r, 1), indices = mho_read_floats(r, 0), in = mho_read_floats(r, 0);
    const uint32_t outer = mho_read_word(r), size = mho_read_word(r), inner = mho_read_word(r);
    mho_require(r, size >= 1 && size <= 1U << 24, MHO_E_OPERAND);
    mho_require(r, mho_multiply(r, mho_multiply(r, outer, size), inner) == out.count, MHO_E_ADDRESS);
    mho_require(r, mho_multiply(r, mho_multiply(r, outer, indices.count), inner) == in.count, MHO_E_ADDRESS);
}

static void check_order(mho_reader *r) {
    const uint32_t flags = mho_read_word(r) | mho_read_word(r) | mho_read_word(r);
    const mho_operand out = mho_read_floats(r, 1), in = mho_read_floats(r, 0);
    const uint32_t outer = mho_read_word(r), size = mho_read_word(r), inner = mho_read_word(r), count = mho_read_word(r);
    mho_require(r, flags <= 1 && count >= 1 && count <= size && size <= 1U << 24, MHO_E_OPERAND);
    mho_require(r, mho_multiply(r, mho_multiply(r, outer, size), inner) == in.count, MHO_E_ADDRESS);
    mho_require(r, mho_multiply(r, mho_multiply(r, outer, count), inner) == out.count, MHO_E_ADDRESS);
}

static void check_reduce(mho_reader *r) {
    const uint32_t function = mho_read_word(r);
    const mho_operand out = mho_read_tensor(r, 1), in = mho_read_like(r, &out);
    uint64_t bases[1] = {0};
    uint32_t outer, inner, counts[1], first, second;
    counts[0] = in.count;
    mho_require(r, function < FN_REDUCE_COUNT && (out.element == MHO_F32 || function == FN_MAX), MHO_E_OPERAND);
    first = r->at;
    outer = mho_check_walk(r, 1, bases, counts);
    second = r->at;
    inner = mho_check_walk(r, 1, bases, counts);
    mho_require(r, outer == out.count && outer > 0 && inner > 0 && inner <= 0x40000000U, MHO_E_ADDRESS);
    if (r->status == MHO_OK) {
        mho_require(r, mho_walk_top(r, first) + mho_walk_top(r, second) < in.count, MHO_E_ADDRESS);
    }
}

static void check_pool(mho_reader *r) {
    const uint32_t function = mho_read_word(r);
    const mho_operand out = mho_read_tensor(r, 1), in = mho_read_like(r, &out);
    uint32_t made[2];
    mho_require(r, function <= 1 && (out.element == MHO_F32 || function == 0), MHO_E_OPERAND);
    mho_check_windows(r, &out, &in, made);
}

static void check_softmax(mho_reader *r) {
    const uint32_t function = mho_read_word(r);
    const mho_operand out = mho_read_floats(r, 1), in = mho_read_floats(r, 0);
    const uint32_t outer = mho_read_word(r), size = mho_read_word(r), inner = mho_read_word(r);
    mho_require(r, function <= 1 && size >= 1 && size <= 0x40000000U, MHO_E_OPERAND);
    mho_require(r, mho_multiply(r, mho_multiply(r, outer, size), inner) == in.count, MHO_E_ADDRESS);
    mho_require(r, in.count == out.count, MHO_E_ADDRESS);
}

static void check_layer_norm(mho_reader *r) {
    const mho_operand out = mho_read_floats(r, 1), in = mho_read_floats(r, 0), scale = mho_read_floats(r, 0);
    const uint64_t bases[2] = {0, 0};
    uint32_t counts[2], outer, size;
    counts[0] = scale.count, counts[1] = MHO_NONE;
    if (r->at < r->end && mho_word(r->machine, r->at) == MHO_NONE) {
        r->at++;
    } else {
        counts[1] = mho_read_floats(r, 0).count;
    }
    mho_read_word(r);
    outer = mho_read_word(r), size = mho_read_word(r);
    mho_require(r, size >= 1 && size <= 0x40000000U, MHO_E_OPERAND);
    mho_require(r, mho_multiply(r, outer, size) == in.count && in.count == out.count, MHO_E_ADDRESS);
    mho_require(r, mho_check_walk(r, 2, bases, counts) == size, MHO_E_ADDRESS);
}

void mho_check_float(mho_reader *r, uint32_t opcode) {
    mho_operand out, in;
    uint32_t function;
    switch (opcode) {
    case OP_UNARY:
        function = mho_read_word(r);
        out = mho_read_floats(r, 1), in = mho_read_floats(r, 0);
        mho_require(r, function < FN_UNARY_COUNT, MHO_E_OPERAND);
        mho_require(r, mho_read_word(r) == out.count && in.count == out.count, MHO_E_ADDRESS);
        if (function == FN_WHOLE_POWER) {
            const int32_t exponent = mho_read_signed(r);
            mho_require(r, exponent >= -64 && exponent <= 64, MHO_E_OPERAND);
            r->at--;
        }
        r->at += 4;
        break;
    case OP_BINARY: check_binary(r); break;
    case OP_MOVE: check_move(r); break;
    case OP_FILL:
        out = mho_read_buffer(r);
        mho_require(r, out.element == MHO_F32 || mho_is_whole(&out), MHO_E_OPERAND);
        mho_read_word(r);
        break;
    case OP_GATHER: check_gather(r); break;
    case OP_EMBED: check_embed(r); break;
    case OP_SCATTER: check_scatter(r); break;
    case OP_ORDER: check_order(r); break;
    case OP_REDUCE: check_reduce(r); break;
    case OP_POOL: check_pool(r); break;
    case OP_SOFTMAX: check_softmax(r); break;
    case OP_LAYER_NORM: check_layer_norm(r); break;
    default: mho_fail(r, MHO_E_CODE); break;
    }
}
