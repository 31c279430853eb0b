/* What the files of the runtime share: numbers of the image (docs/isa.md), and reading of it. */
#ifndef MHO_INTERNAL_H
#define MHO_INTERNAL_H

#include <float.h>
#include <limits.h>
#include <string.h>

#include "mho.h"

#define MHO_STATIC_ASSERT(condition, name) typedef char mho_assert_##name[(condition) ? 1 : -1]
MHO_STATIC_ASSERT(CHAR_BIT == 8, bytes);
MHO_STATIC_ASSERT(sizeof(float) == 4 && FLT_RADIX == 2 && FLT_MANT_DIG == 24, float32);
MHO_STATIC_ASSERT(sizeof(double) == 8 && DBL_MANT_DIG == 53, float64);
MHO_STATIC_ASSERT(INT_MAX >= 0x7fffffff, int_has_32_bits);
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "floating point must round each step to its type (on x86: -mfpmath=sse -msse2)"
#endif
#if defined(__FAST_MATH__)
#error "-ffast-math changes results: build with -ffp-contract=off and no fast math"
#endif

enum {
    MHO_F32 = 0, MHO_U8 = 1, MHO_I8 = 2, MHO_U16 = 3, MHO_I16 = 4, MHO_I32 = 5, MHO_I64 = 6,
    MHO_B1 = 7, MHO_B2 = 8, MHO_B4 = 9
};
enum {
    OP_QUANTIZE_INPUT = 1, OP_CLEAR = 2, OP_SUM_INPUTS = 3, OP_DIGITAL_PRODUCT = 4, OP_WRITE_TILE = 5,
    OP_WRITE_DYNAMIC = 6, OP_LOAD_INPUT = 7, OP_MVM = 8, OP_SHIFT_ADD = 9, OP_DEQUANTIZE = 10, OP_LOOP = 11,
    OP_WINDOW = 12, OP_LAYER = 13, OP_REQUANTIZE = 14, OP_UNARY = 32, OP_BINARY = 33, OP_MOVE = 34, OP_FILL = 35, OP_GATHER = 36,
    OP_REDUCE = 37, OP_POOL = 38, OP_SOFTMAX = 39, OP_LAYER_NORM = 40, OP_EMBED = 41,
    OP_SCATTER = 42, OP_ORDER = 43,
    OP_INT_QUANTIZE = 48, OP_INT_DEQUANTIZE = 49, OP_INT_CLAMP = 50, OP_INT_SCALE = 51, OP_INT_ADD = 52, OP_INT_MUL = 53,
    OP_INT_TABLE = 54, OP_INT_POOL = 55, OP_INT_REDUCE = 56, OP_INT_SOFTMAX = 57, OP_INT_LAYER_NORM = 58,
    OP_INT_RMS_NORM = 59, OP_INT_EMBED = 60, OP_INT_DIV = 61
};
enum {
    FN_RELU, FN_CLIP, FN_LEAKY_RELU, FN_THRESHOLDED_RELU, FN_HARD_SIGMOID, FN_HARD_SWISH, FN_NEG, FN_ABS,
    FN_RECIPROCAL, FN_SOFTSIGN, FN_SQRT, FN_CAST_FLOAT16, FN_CAST_BFLOAT16, FN_FAKE_QUANTIZE, FN_EXP, FN_LOG, FN_ERF,
    FN_SIGMOID, FN_SILU, FN_TANH, FN_GELU, FN_GELU_TANH, FN_ELU, FN_CELU, FN_SELU, FN_SOFTPLUS, FN_MISH,
    FN_WHOLE_POWER, FN_LARGE_POWER, FN_POWER, FN_IS_NAN, FN_FLOOR, FN_CEIL, FN_ROUND, FN_SIGN, FN_SIN, FN_COS,
    FN_UNARY_COUNT
};
enum {
    FN_ADD, FN_SUB, FN_MUL, FN_DIV, FN_MINIMUM, FN_MAXIMUM, FN_PRELU, FN_WHERE, FN_EQUAL, FN_LESS, FN_LESS_OR_EQUAL,
    FN_BINARY_COUNT
};
enum { FN_SUM, FN_MEAN, FN_MAX, FN_REDUCE_COUNT };

#define MHO_CONSTANT 0x80000000U
#define MHO_NONE 0xffffffffU
#define MHO_MAX_RANK 16U
#define MHO_MAX_OPERANDS 8U
#define MHO_CHUNK 64U

/* Little-endian numbers anywhere in the image, on any processor. */
static inline uint32_t mho_get16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t mho_get32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t mho_get64(const uint8_t *p) { return mho_get32(p) | (uint64_t)mho_get32(p + 4) << 32; }

/* Two's complement, whatever the compiler makes of a conversion that does not fit. */
static inline int32_t mho_signed16(uint32_t v) { return (int32_t)(v & 0x7fffU) - (int32_t)(v & 0x8000U); }
static inline int32_t mho_signed32(uint32_t v) {
    return v <= 0x7fffffffU ? (int32_t)v : (int32_t)(v - 0x80000000U) + INT32_MIN;
}
static inline int64_t mho_signed64(uint64_t v) {
    return v <= 0x7fffffffffffffffU ? (int64_t)v : (int64_t)(v - 0x8000000000000000U) + INT64_MIN;
}
/* floor(v / 2^n), 0 <= n <= 63 */
static inline int64_t mho_shift_right(int64_t v, uint32_t n) { return v < 0 ? ~(~v >> n) : v >> n; }

/* Sums and products of whole numbers, modulo 2^64: those of verified programs fit. */
static inline int64_t mho_times(int64_t a, int64_t b) { return mho_signed64((uint64_t)a * (uint64_t)b); }
static inline int64_t mho_plus(int64_t a, int64_t b) { return mho_signed64((uint64_t)a + (uint64_t)b); }
/* v / 2^n, rounded to nearest, half up, and limited to low..high. */
static inline int64_t mho_rescale(int64_t v, uint32_t n, int64_t low, int64_t high) {
    const int64_t result = n > 0 ? mho_shift_right(mho_plus(v, (int64_t)1 << (n - 1)), n) : v;
    return result < low ? low : result > high ? high : result;
}

static inline float mho_float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
static inline uint32_t mho_bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Numbers in the arena, which has no type. */
static inline float mho_load_f32(const uint8_t *p, uint32_t i) {
    float f;
    memcpy(&f, p + (size_t)i * 4, 4);
    return f;
}
static inline void mho_store_f32(uint8_t *p, uint32_t i, float f) { memcpy(p + (size_t)i * 4, &f, 4); }

/* An operand: a buffer in the arena (writable) or a constant in the image. */
typedef struct mho_operand {
    const uint8_t *data;
    uint8_t *writable; /* NULL: a constant */
    uint32_t element, count, is_uniform, rows, cols;
} mho_operand;

/* Decode a reference, which was checked. */
mho_operand mho_find(const mho_machine *machine, uint32_t reference);
/* Bytes of one element, 0 of packed cells. */
uint32_t mho_element_bytes(uint32_t element);
/* Take whole numbers from an operand. */
void mho_take(const mho_operand *operand, uint32_t start, uint32_t count, int64_t *out);
int64_t mho_take_one(const mho_operand *operand, uint32_t index);
/* Store a whole number that the element holds. */
void mho_put(const mho_operand *operand, uint32_t index, int64_t value);
void mho_put_all(const mho_operand *operand, uint32_t start, const int32_t *values, uint32_t count);
float mho_take_float(const mho_operand *operand, uint32_t index);
void mho_take_floats(const mho_operand *operand, uint32_t start, uint32_t count, float *out);

static inline uint32_t mho_word(const mho_machine *machine, uint32_t at) {
    return mho_get32(machine->program.image + machine->program.code_at + (size_t)at * 4);
}
static inline int32_t mho_signed_word(const mho_machine *machine, uint32_t at) {
    return mho_signed32(mho_word(machine, at));
}

static inline mho_operand mho_next_operand(const mho_machine *machine, uint32_t *at) {
    return mho_find(machine, mho_word(machine, (*at)++));
}

/* A walk over the elements of several operands, row-major. */
typedef struct mho_walk {
    uint32_t rank, operands, sizes[MHO_MAX_RANK], place[MHO_MAX_RANK];
    int32_t strides[MHO_MAX_OPERANDS][MHO_MAX_RANK];
    int64_t at[MHO_MAX_OPERANDS];
} mho_walk;

static inline uint32_t mho_begin(const mho_machine *m, uint32_t *at, uint32_t operands, mho_walk *w) {
    uint32_t axis, k, steps = 1;
    w->rank = mho_word(m, *at);
    w->operands = operands;
    for (axis = 0; axis < w->rank; axis++) {
        w->sizes[axis] = mho_word(m, *at + 1 + axis);
        w->place[axis] = 0;
        steps *= w->sizes[axis];
        for (k = 0; k < operands; k++) {
            w->strides[k][axis] = mho_signed_word(m, *at + 1 + (1 + k) * w->rank + axis);
        }
    }
    for (k = 0; k < MHO_MAX_OPERANDS; k++) {
        w->at[k] = 0;
    }
    *at += 1 + (1 + operands) * w->rank;
    return steps;
}

static inline void mho_step(mho_walk *w) {
    uint32_t axis, k;
    for (axis = w->rank; axis-- > 0;) {
        if (++w->place[axis] < w->sizes[axis]) {
            for (k = 0; k < w->operands; k++) {
                w->at[k] += w->strides[k][axis];
            }
            return;
        }
        for (k = 0; k < w->operands; k++) {
            w->at[k] -= (int64_t)w->strides[k][axis] * (int64_t)(w->sizes[axis] - 1U);
        }
        w->place[axis] = 0;
    }
}

/* sums[index] += term, modulo 2^32 or 2^64: only totals need to fit, and those were proven to. */
void mho_add_to(const mho_operand *sums, uint32_t index, uint64_t term);
/* Decode an address on the variables of running loops. */
int64_t mho_next_address(const mho_machine *machine, uint32_t *at);

/* Check the code of a loaded image. */
mho_status mho_check_code(mho_machine *machine);
/* Run one operation of the digital unit, whose first word is at `at`. */
mho_status mho_run_digital(mho_machine *machine, uint32_t opcode, uint32_t at);
/* Those that move elements (mho_move.c) ... */
void mho_move(const mho_machine *m, uint32_t at);
void mho_fill(const mho_machine *m, uint32_t at);
void mho_gather(const mho_machine *m, uint32_t at);
mho_status mho_embed(const mho_machine *m, uint32_t at);
mho_status mho_scatter(const mho_machine *m, uint32_t at);
void mho_order(const mho_machine *m, uint32_t at);
/* ... those that combine many (mho_reduce.c) ... */
void mho_reduce(const mho_machine *m, uint32_t at);
void mho_pool(const mho_machine *m, uint32_t at);
void mho_softmax(const mho_machine *m, uint32_t at);
void mho_layer_norm(const mho_machine *m, uint32_t at);
/* ... and those on integers (mho_integer.c). */
mho_status mho_run_integers(mho_machine *machine, uint32_t opcode, uint32_t at);

/* What surrounds the reads of a layer (mho_layer.c), whose operands are at `at`. */
mho_status mho_quantize_input(mho_machine *machine, uint32_t at, uint32_t end);
void mho_digital_product(const mho_machine *machine, uint32_t at);
void mho_last_step(const mho_machine *machine, uint32_t at, int is_whole);

#ifdef MHO_FUSED
/* Reference hardware that fuses (mho_fused.c). Run the loop at word `at` by products; 0: it is left to do. */
int mho_fused_loop(const mho_machine *machine, uint32_t outer, uint32_t at);
/* The hardware is opened; a sample begins; how many loops were fused since. */
void mho_fused_open(void);
void mho_fused_begin(void);
uint32_t mho_fused_loops(void);
/* Cells of a crossbar as [rows][cols] of the chip, and where its first block lies; NULL: not written. */
void mho_reference_cells(uint32_t crossbar, uint16_t *cells);
const uint8_t *mho_reference_block(uint32_t crossbar);
#endif

/* To the nearest whole number, halves to even; beyond 2^22 as there: what follows saturates far below. */
static inline float mho_round_half_even(float v) {
    const float low = v <= -4194304.0f ? -4194304.0f : v, limited = low >= 4194304.0f ? 4194304.0f : low;
    return (limited + 12582912.0f) - 12582912.0f;
}

float mho_sqrt(float v);
float mho_apply_unary(uint32_t function, float x, const uint32_t *parameters);
float mho_exp(float x);
float mho_log(float x);
float mho_maximum(float x, float y);

#endif
