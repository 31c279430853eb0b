/* Reading of one instruction while it is checked: what several families of instructions have in common. */
#include "mho_check.h"

void mho_fail(mho_reader *r, mho_status status) {
    if (r->status == MHO_OK) {
        r->status = status;
    }
}

uint32_t mho_read_word(mho_reader *r) {
    if (r->at >= r->end) {
        mho_fail(r, MHO_E_CODE);
        return 0;
    }
    return mho_word(r->machine, r->at++);
}

int32_t mho_read_signed(mho_reader *r) { return mho_signed32(mho_read_word(r)); }

void mho_require(mho_reader *r, int holds, mho_status status) {
    if (!holds) {
        mho_fail(r, status);
    }
}

mho_operand mho_read_operand(mho_reader *r) {
    const uint32_t reference = mho_read_word(r), number = reference & ~MHO_CONSTANT;
    const mho_program *p = &r->machine->program;
    if (number >= ((reference & MHO_CONSTANT) ? p->constants : p->buffers)) {
        mho_fail(r, MHO_E_OPERAND);
        return mho_no_operand();
    }
    return mho_find(r->machine, reference);
}

mho_operand mho_read_buffer(mho_reader *r) {
    mho_require(r, !mho_is_constant(r), MHO_E_OPERAND);
    return mho_read_operand(r);
}

mho_operand mho_read_whole_buffer(mho_reader *r) {
    const mho_operand operand = mho_read_buffer(r);
    mho_require(r, mho_is_whole(&operand), MHO_E_OPERAND);
    return operand;
}

mho_operand mho_read_sums(mho_reader *r) {
    const mho_operand operand = mho_read_buffer(r);
    mho_require(r, operand.element == MHO_I32 || operand.element == MHO_I64, MHO_E_OPERAND);
    return operand;
}

mho_operand mho_read_whole_constant(mho_reader *r) {
    mho_operand operand;
    mho_require(r, mho_is_constant(r), MHO_E_OPERAND);
    operand = mho_read_operand(r);
    mho_require(r, mho_is_whole(&operand) && operand.rows == 0 && operand.count > 0, MHO_E_OPERAND);
    return operand;
}

mho_operand mho_read_floats(mho_reader *r, int must_write) {
    mho_operand operand;
    mho_require(r, !must_write || !mho_is_constant(r), MHO_E_OPERAND);
    operand = mho_read_operand(r);
    mho_require(r, operand.element == MHO_F32, MHO_E_OPERAND);
    return operand;
}

mho_range mho_read_address(mho_reader *r) {
    mho_range found;
    uint32_t terms, i, seen = 0;
    found.low = found.high = mho_read_signed(r);
    terms = mho_read_word(r);
    mho_require(r, terms <= MHO_MAX_LOOPS, MHO_E_OPERAND);
    for (i = 0; i < terms && r->status == MHO_OK; i++) {
        const uint32_t level = mho_read_word(r);
        const int64_t stride = mho_read_signed(r);
        if (level >= r->levels || (seen >> level & 1U)) {
            mho_fail(r, MHO_E_OPERAND);
            break;
        }
        seen |= 1U << level;
        if (stride < 0) {
            found.low += stride * (int64_t)(r->counts[level] - 1U);
        } else {
            found.high += stride * (int64_t)(r->counts[level] - 1U);
        }
    }
    return found;
}

mho_range mho_part_range(mho_reader *r, const mho_operand *operand, uint32_t start, uint32_t stop, int64_t least) {
    int64_t values[MHO_CHUNK];
    mho_range found = {0, 0};
    uint32_t i, k, is_first = 1;
    if (start >= stop || stop > operand->count) {
        mho_fail(r, MHO_E_ADDRESS);
    }
    if (r->status != MHO_OK) {
        return found;
    }
    for (i = start; i < stop; i += k) {
        const uint32_t count = stop - i < MHO_CHUNK ? stop - i : MHO_CHUNK;
        mho_take(operand, i, count, values);
        for (k = 0; k < count; k++) {
            if (values[k] < least) {
                continue;
            }
            if (is_first || values[k] < found.low) {
                found.low = values[k];
            }
            if (is_first || values[k] > found.high) {
                found.high = values[k];
            }
            is_first = 0;
        }
        if (operand->is_uniform) {
            break;
        }
    }
    return found;
}

mho_range mho_all_range(mho_reader *r, const mho_operand *operand) {
    return mho_part_range(r, operand, 0, operand->count, INT64_MIN);
}

void mho_require_within(mho_reader *r, mho_range address, mho_range offsets, uint32_t size) {
    if (!mho_within32(offsets) || address.low + offsets.low < 0 || address.high + offsets.high >= (int64_t)size) {
        mho_fail(r, MHO_E_ADDRESS);
    }
}

void mho_require_range(mho_reader *r, mho_range v, int64_t low, int64_t high) {
    mho_require(r, v.low >= low && v.high <= high, MHO_E_OPERAND);
}

void mho_require_small(mho_reader *r, int32_t v) { mho_require(r, v >= -(1 << 20) && v <= 1 << 20, MHO_E_OPERAND); }

uint32_t mho_multiply(mho_reader *r, uint32_t a, uint32_t b) {
    const uint64_t product = (uint64_t)a * b;
    mho_require(r, product <= 0x7fffffffU, MHO_E_ADDRESS);
    return (uint32_t)(product & 0x7fffffffU);
}

void mho_require_held(mho_reader *r, mho_range v, const mho_operand *target) {
    switch (target->element) {
    case MHO_U8: mho_require_range(r, v, 0, 255); break;
    case MHO_I8: mho_require_range(r, v, -128, 127); break;
    case MHO_U16: mho_require_range(r, v, 0, 65535); break;
    case MHO_I16: mho_require_range(r, v, -32768, 32767); break;
    default: break;
    }
}

void mho_check_limits(mho_reader *r, const mho_operand *target) {
    const int32_t low = mho_read_signed(r), high = mho_read_signed(r);
    mho_range limits;
    limits.low = low, limits.high = high;
    mho_require_small(r, low), mho_require_small(r, high);
    mho_require(r, low <= high, MHO_E_OPERAND);
    mho_require_held(r, limits, target);
}

mho_operand mho_read_tensor(mho_reader *r, int must_write) {
    mho_operand operand;
    mho_require(r, !must_write || !mho_is_constant(r), MHO_E_OPERAND);
    operand = mho_read_operand(r);
    mho_require(r, operand.rows == 0 && (operand.element == MHO_F32 || mho_is_whole(&operand)), MHO_E_OPERAND);
    return operand;
}

mho_operand mho_read_like(mho_reader *r, const mho_operand *other) {
    const mho_operand operand = mho_read_tensor(r, 0);
    mho_require(r, (operand.element == MHO_F32) == (other->element == MHO_F32), MHO_E_OPERAND);
    return operand;
}

uint32_t mho_check_walk(mho_reader *r, uint32_t operands, const uint64_t *bases, const uint32_t *counts) {
    const uint32_t rank = mho_read_word(r), at = r->at;
    uint32_t axis, k, steps = 1;
    if (rank > MHO_MAX_RANK || (r->end - at) / (1U + operands) < rank) {
        mho_fail(r, MHO_E_CODE);
        return 0;
    }
    r->at = at + (1U + operands) * rank;
    for (axis = 0; axis < rank; axis++) {
        steps = mho_multiply(r, steps, mho_word(r->machine, at + axis));
    }
    for (k = 0; k < operands && steps > 0 && r->status == MHO_OK; k++) {
        int64_t low = 0, high = 0;
        for (axis = 0; axis < rank; axis++) {
            const int64_t stride = mho_signed_word(r->machine, at + (1U + k) * rank + axis);
            *(stride < 0 ? &low : &high) += stride * (int64_t)(mho_word(r->machine, at + axis) - 1U);
        }
        if (counts[k] != MHO_NONE && (bases[k] > 0x7fffffffU || (int64_t)bases[k] + low < 0 ||
                                      (int64_t)bases[k] + high >= (int64_t)counts[k])) {
            mho_fail(r, MHO_E_ADDRESS);
        }
    }
    return steps;
}

uint64_t mho_walk_top(mho_reader *r, uint32_t at) {
    const uint32_t rank = mho_word(r->machine, at);
    uint64_t top = 0;
    uint32_t axis;
    for (axis = 1; axis <= rank; axis++) {
        const uint32_t stride = mho_word(r->machine, at + rank + axis);
        mho_require(r, stride <= 0x7fffffffU, MHO_E_ADDRESS);
        top += (uint64_t)stride * (mho_word(r->machine, at + axis) - 1U);
    }
    return top;
}

void mho_check_windows(mho_reader *r, const mho_operand *out, const mho_operand *in, uint32_t *made) {
    uint32_t v[17], i;
    int64_t reach;
    for (i = 0; i < 17; i++) {
        v[i] = mho_read_word(r);
    }
    for (i = 1; i < 9; i++) { /* sizes, extents, kernel, strides */
        mho_require(r, v[i] >= 1 && v[i] <= 0xffffffU, MHO_E_OPERAND);
    }
    mho_require(r, v[9] <= 0xffffffU && v[10] <= 0xffffffU, MHO_E_OPERAND);
    mho_require(r, v[11] >= 1 && v[11] <= 0xffffffU && v[12] >= 1 && v[12] <= 0xffffffU, MHO_E_OPERAND);
    mho_require(r, (uint64_t)v[5] * v[6] <= 1U << 14, MHO_E_OPERAND);
    if (r->status != MHO_OK) {
        return;
    }
    for (i = 0; i < 2; i++) {
        reach = (int64_t)(v[3 + i] - 1U) * v[7 + i] + (int64_t)v[11 + i] * (v[5 + i] - 1U);
        mho_require(r, reach <= 0x7fffffff, MHO_E_ADDRESS);
    }
    mho_require(r, mho_multiply(r, mho_multiply(r, v[0], v[1]), v[2]) == in->count, MHO_E_ADDRESS);
    mho_require(r, mho_multiply(r, mho_multiply(r, v[0], v[3]), v[4]) == out->count, MHO_E_ADDRESS);
    made[0] = v[3], made[1] = v[4];
}
