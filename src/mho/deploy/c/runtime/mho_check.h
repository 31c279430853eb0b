/* What the files that check instructions share: a reader of the words of one instruction. Its first failure stays in its
   status; what it reads after that is not to be used. */
#ifndef MHO_CHECK_H
#define MHO_CHECK_H

#include "mho_internal.h"

enum { MHO_MOST_INT_SHIFT = 61 };

/* Words of one instruction as they are taken, one after the other; how often each loop around it turns. */
typedef struct mho_reader {
    const mho_machine *machine;
    uint32_t at, end;
    mho_status status;
    uint32_t counts[MHO_MAX_LOOPS];
    uint32_t levels;
} mho_reader;

typedef struct mho_range {
    int64_t low, high;
} mho_range;

static inline mho_operand mho_no_operand(void) {
    mho_operand operand;
    memset(&operand, 0, sizeof operand);
    return operand;
}
/* The next word names a constant. */
static inline int mho_is_constant(mho_reader *r) {
    return r->at < r->end && (mho_word(r->machine, r->at) & MHO_CONSTANT) != 0;
}
static inline int mho_is_whole(const mho_operand *operand) {
    return operand->element >= MHO_U8 && operand->element <= MHO_I64;
}
static inline int mho_within32(mho_range v) { return v.low >= INT32_MIN && v.high <= INT32_MAX; }

void mho_fail(mho_reader *r, mho_status status);
void mho_require(mho_reader *r, int holds, mho_status status);
void mho_require_range(mho_reader *r, mho_range v, int64_t low, int64_t high);
void mho_require_small(mho_reader *r, int32_t v);
/* An address with any of these offsets lies in an operand of this size. */
void mho_require_within(mho_reader *r, mho_range address, mho_range offsets, uint32_t size);
/* A buffer's type holds these numbers. */
void mho_require_held(mho_reader *r, mho_range v, const mho_operand *target);
/* Product of sizes that stays below 2^31. */
uint32_t mho_multiply(mho_reader *r, uint32_t a, uint32_t b);

uint32_t mho_read_word(mho_reader *r);
int32_t mho_read_signed(mho_reader *r);
/* All values of an address. */
mho_range mho_read_address(mho_reader *r);
mho_operand mho_read_operand(mho_reader *r);
mho_operand mho_read_buffer(mho_reader *r);
mho_operand mho_read_whole_buffer(mho_reader *r);
mho_operand mho_read_whole_constant(mho_reader *r);
mho_operand mho_read_floats(mho_reader *r, int must_write);
/* Sums are held in 32 or 64 bits. */
mho_operand mho_read_sums(mho_reader *r);
/* A float32 or whole tensor. */
mho_operand mho_read_tensor(mho_reader *r, int must_write);
/* An operand of the same kind as another. */
mho_operand mho_read_like(mho_reader *r, const mho_operand *other);

/* The least and the most of a part of a constant, without what is below `least`. */
mho_range mho_part_range(mho_reader *r, const mho_operand *operand, uint32_t start, uint32_t stop, int64_t least);
mho_range mho_all_range(mho_reader *r, const mho_operand *operand);
/* Least and most of a target's whole numbers, which its type holds. */
void mho_check_limits(mho_reader *r, const mho_operand *target);
/* A walk: rank, sizes, and for each operand one stride an axis. Returns how many steps it takes. */
uint32_t mho_check_walk(mho_reader *r, uint32_t operands, const uint64_t *bases, const uint32_t *counts);
/* The largest step of a walk over one operand, whose strides are not negative. */
uint64_t mho_walk_top(mho_reader *r, uint32_t at);
/* Windows of a pool: `made` becomes how many there are down and across. */
void mho_check_windows(mho_reader *r, const mho_operand *out, const mho_operand *in, uint32_t *made);

/* Check one instruction of a family. */
void mho_check_crossbar(mho_reader *r, uint32_t opcode);
void mho_check_float(mho_reader *r, uint32_t opcode);
void mho_check_integer(mho_reader *r, uint32_t opcode);

#endif
