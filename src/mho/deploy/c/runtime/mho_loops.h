/* Loops within each other, and addresses that are affine in their variables: what runs whole nests at once shares. */
#ifndef MHO_LOOPS_H
#define MHO_LOOPS_H

#include "mho_internal.h"

/* Loops within each other, entered where `outer` are running. */
typedef struct mho_nest {
    uint32_t outer, levels, counts[MHO_MAX_LOOPS];
} mho_nest;

typedef struct mho_address {
    int64_t base;
    int32_t strides[MHO_MAX_LOOPS]; /* by level of the nest */
} mho_address;

static inline mho_address mho_take_address(const mho_machine *m, const mho_nest *n, uint32_t *at) {
    mho_address a;
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
static inline uint32_t mho_enter(const mho_machine *m, uint32_t at, uint32_t end, mho_nest *n) {
    while (at < end && (mho_word(m, at) & 0xffU) == OP_LOOP && at + (mho_word(m, at) >> 8) == end &&
           n->outer + n->levels < MHO_MAX_LOOPS) {
        n->counts[n->levels++] = mho_word(m, at + 1);
        at += 2;
    }
    return at;
}

/* Make one loop of the two innermost of the first `levels` where both addresses go on evenly; return how many are left. */
static inline uint32_t mho_merge_levels(mho_nest *n, uint32_t levels, mho_address *a, mho_address *b) {
    while (levels > 1) {
        const uint32_t inner = levels - 1, outer = levels - 2;
        const int64_t count = n->counts[inner];
        if (a->strides[outer] != a->strides[inner] * count || b->strides[outer] != b->strides[inner] * count ||
            n->counts[outer] * (uint64_t)count > INT32_MAX) {
            break;
        }
        a->strides[outer] = a->strides[inner], b->strides[outer] = b->strides[inner];
        n->counts[outer] *= (uint32_t)count;
        levels--;
    }
    return levels;
}

/* Step to the next turn of the first `levels`; 0 after the last. */
static inline int mho_next_turn(const mho_nest *n, uint32_t levels, uint32_t *place, const mho_address *a, int64_t *to,
                                const mho_address *b, int64_t *from) {
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

/* SumInputs in all loops of the nest (mho_layer.c). */
void mho_sum_inputs(const mho_machine *machine, uint32_t at, mho_nest *nest);

#endif
