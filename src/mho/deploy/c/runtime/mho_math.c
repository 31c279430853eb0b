/* Functions of one number as mho defines them: fixed sequences of IEEE 754 operations, the same bits everywhere. Build
   without contraction of products and sums (-ffp-contract=off). No math library. */
#include "mho_internal.h"

static const double LN2_HIGH = 0.6931471804855391, LN2_LOW = 7.440617110012397e-11, LOG2_E = 1.4426950408889634;

static double bits64(uint64_t bits) {
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}
static uint64_t to_bits64(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
static double infinity64(void) { return bits64(0x7ff0000000000000U); }
static double nan64(void) { return bits64(0x7ff8000000000000U); }
static double absolute(double v) { return bits64(to_bits64(v) & 0x7fffffffffffffffU); }
static double copy_sign(double size, double sign) {
    return bits64((to_bits64(size) & 0x7fffffffffffffffU) | (to_bits64(sign) & 0x8000000000000000U));
}
static double between(double v, double low, double high) { return v < low ? low : v > high ? high : v; }
static double round64(double v) { /* |v| < 2^51 */
    const double shifted = v + 6755399441055744.0;
    return copy_sign(shifted - 6755399441055744.0, v);
}

/* Of |v| >= 2^51: halves are left below 2^52, nothing beyond. */
static double round_large(double v) {
    const double size = absolute(v);
    if (size < 4503599627370496.0) {
        return copy_sign((size + 4503599627370496.0) - 4503599627370496.0, v);
    }
    return v;
}
/* v modulo 4, of a whole |v| >= 2^53: even; from 2^54 on a multiple of 4. */
static uint32_t quarter_of(double v) {
    return absolute(v) < 18014398509481984.0 && ((int64_t)(v * 0.5) & 1) ? 2U : 0U;
}

static double horner(double x, const double *coefficients, uint32_t count) {
    double total = coefficients[0];
    uint32_t i;
    for (i = 1; i < count; i++) {
        total = total * x;
        total = total + coefficients[i];
    }
    return total;
}

#include "mho_coefficients.h"

static double exp64(double x) {
    const double clamped = between(x, -708.0, 708.0);
    double exponent, remainder;
    if (x != x) {
        exponent = 0.0;
    } else {
        exponent = round64(clamped * LOG2_E);
    }
    remainder = clamped - exponent * LN2_HIGH;
    remainder = remainder - exponent * LN2_LOW;
    return horner(remainder, EXP_COEFFICIENTS, 12) * bits64((uint64_t)((int64_t)exponent + 1023) << 52);
}

static double log64(double x) {
    const uint64_t bits = to_bits64(x);
    double mantissa = bits64((bits & 0xfffffffffffffU) | 0x3ff0000000000000U), exponent, s, series, result;
    int32_t power = (int32_t)(bits >> 52) - 1023;
    if (x == 0.0) {
        return -infinity64();
    }
    if (x < 0.0 || x != x) {
        return nan64();
    }
    if (x == infinity64()) {
        return x;
    }
    if (mantissa > ROOT_TWO) {
        mantissa = mantissa * 0.5;
        power++;
    }
    exponent = (double)power;
    s = (mantissa - 1.0) / (mantissa + 1.0);
    series = horner(s * s, LOG_COEFFICIENTS, 11);
    result = exponent * LN2_LOW + s * series;
    return exponent * LN2_HIGH + result;
}

static double erf64(double x) {
    const double square = x * x, size_all = absolute(x);
    double size, t, u, complement;
    if (x != x) {
        return x;
    }
    if (square <= 1.0) {
        return horner(square, ERF_COEFFICIENTS, 17) * x * TWO_OVER_ROOT_PI;
    }
    if (size_all > 6.0) {
        return x > 0.0 ? 1.0 : -1.0;
    }
    size = between(size_all, 1.0, 6.0);
    t = 1.0 / (1.0 + 0.5 * size);
    u = (t - 0.25) * (24.0 / 5.0) - 1.0;
    complement = horner(u, ERFCX_COEFFICIENTS, 13) * exp64(-(size * size));
    return copy_sign(1.0 - complement, x);
}

static double sigmoid64(double x) { return 1.0 / (1.0 + exp64(-x)); }

static double tanh64(double x) {
    const double square = x * x;
    if (square < 1e-6) {
        return x * (1.0 - square * (1.0 / 3.0) + square * square * (2.0 / 15.0));
    } else {
        const double decay = exp64(-2.0 * absolute(x));
        return copy_sign((1.0 - decay) / (1.0 + decay), x);
    }
}

static double gelu64(double x) { return 0.5 * x * (1.0 + erf64(x * ROOT_HALF)); }

static double gelu_tanh64(double x) {
    const double inner = (x * x * x * 0.044715 + x) * ROOT_TWO_OVER_PI;
    return 0.5 * x * (1.0 + tanh64(inner));
}

static double expm1_64(double x) {
    if (absolute(x) < 1e-4) {
        return x * (1.0 + x * (0.5 + x * (1.0 / 6.0)));
    }
    return exp64(x) - 1.0;
}

static double softplus64(double x) {
    const double y = exp64(-absolute(x));
    const double tail = y < 1e-4 ? y * (1.0 - y * (0.5 - y * (1.0 / 3.0))) : log64(1.0 + y);
    return (x != x ? x : x < 0.0 ? 0.0 : x) + tail;
}

static double mish64(double x) {
    const double y = exp64(x != x ? x : x > 40.0 ? 40.0 : x), z = y * (y + 2.0);
    return x * (z / (z + 2.0));
}

/* sin(x + quarters * pi / 2) */
static double sin64(double x, double quarters) {
    const double angle = x * TWO_OVER_PI;
    const double turns = absolute(angle) < 2251799813685248.0 ? round64(angle) : round_large(angle);
    const double rest = ((x - turns * HALF_PI[0]) - turns * HALF_PI[1]) - turns * HALF_PI[2], square = rest * rest;
    const double all = turns + quarters;
    const uint32_t quadrant = absolute(all) < 9007199254740992.0 ? (uint32_t)((uint64_t)(int64_t)all & 3U) : quarter_of(all);
    const double value = quadrant & 1U ? horner(square, COS_COEFFICIENTS, 10) : rest * horner(square, SIN_COEFFICIENTS, 10);
    return quadrant >= 2U ? -value : value;
}

/* To a whole number below (-1), above (1), or the nearest (0), which has the sign of v. */
static float to_whole(float v, int direction) {
    float whole;
    if (!(v > -8388608.0f && v < 8388608.0f)) {
        return v;
    }
    if (direction == 0) {
        return (float)round64((double)v);
    }
    whole = (float)(int32_t)v;
    if (direction < 0 && whole > v) {
        whole = whole - 1.0f;
    } else if (direction > 0 && whole < v) {
        whole = whole + 1.0f;
    }
    return mho_float_of((mho_bits_of(whole) & 0x7fffffffU) | (mho_bits_of(v) & 0x80000000U));
}

static double whole_power64(double x, int32_t exponent) {
    double result = 1.0, factor = x;
    uint32_t left = (uint32_t)(exponent < 0 ? -exponent : exponent);
    while (left) {
        if (left & 1U) {
            result = result * factor;
        }
        factor = factor * factor;
        left >>= 1;
    }
    return exponent < 0 ? 1.0 / result : result;
}

/* Square root, correctly rounded to nearest even, bit by bit. */
float mho_sqrt(float v) {
    uint32_t bits = mho_bits_of(v), mantissa, root = 0, bit;
    int32_t exponent = (int32_t)(bits >> 23 & 0xffU);
    uint64_t rest;
    if (v != v || v == 0.0f) {
        return v;
    }
    if (v < 0.0f) {
        return mho_float_of(0x7fc00000U);
    }
    if (exponent == 255) {
        return v;
    }
    mantissa = bits & 0x7fffffU;
    if (exponent == 0) {
        exponent = 1;
        while (!(mantissa & 0x800000U)) {
            mantissa <<= 1;
            exponent--;
        }
    } else {
        mantissa |= 0x800000U;
    }
    exponent -= 127 + 23; /* v = mantissa * 2^exponent */
    if (exponent & 1) {
        mantissa <<= 1;
        exponent--;
    }
    rest = (uint64_t)mantissa << 26; /* the root has 25 or 26 bits */
    exponent = (exponent - 26) / 2;
    for (bit = 0x2000000U; bit; bit >>= 1) {
        const uint64_t tried = root | bit;
        if (tried * tried <= rest) {
            root |= bit;
        }
    }
    {
        const uint32_t drop = root >= 0x2000000U ? 2 : 1, half = 1U << (drop - 1), tail = root & ((1U << drop) - 1U);
        const int is_exact = (uint64_t)root * root == rest;
        root >>= drop;
        exponent += (int32_t)drop;
        if (tail > half || (tail == half && (!is_exact || (root & 1U)))) {
            root++; /* at most 2^24: the exponent takes the carry */
        }
    }
    return mho_float_of(((uint32_t)(exponent + 127 + 23 - 1) << 23) + root);
}

static double take_double(const uint32_t *words) { return bits64(words[0] | (uint64_t)words[1] << 32); }

float mho_exp(float x) { return (float)exp64((double)x); }

float mho_log(float x) { return (float)log64((double)x); }

float mho_maximum(float x, float y) {
    if (x != x || y != y) {
        return x != x ? x : y;
    }
    if (x == 0.0f && y == 0.0f) {
        return x + y;
    }
    return x > y ? x : y;
}

/* To float16 or bfloat16 and back: to nearest even, beyond the range to infinity. */
static float cast16(float x, uint32_t exponent_bits, uint32_t mantissa_bits) {
    const uint32_t bits = mho_bits_of(x), sign = bits & 0x80000000U;
    const int32_t bias = (1 << (exponent_bits - 1)) - 1;
    uint32_t size = bits & 0x7fffffffU, drop = 23 - mantissa_bits, half, last;
    const int32_t exponent = (int32_t)(size >> 23) - 127;
    if (size >= 0x7f800000U) {
        return x;
    }
    if (exponent < 1 - bias && exponent_bits < 8) { /* its steps stay those of the smallest normal number */
        const float step = mho_float_of((uint32_t)(1 - bias - (int32_t)mantissa_bits + 127) << 23);
        const float scaled = mho_float_of(size) / step;
        return mho_float_of(mho_bits_of(mho_round_half_even(scaled) * step) | sign);
    }
    half = 1U << (drop - 1);
    last = size >> drop & 1U;
    size = (size + half - 1U + last) >> drop << drop;
    if ((int32_t)(size >> 23) - 127 > bias) {
        size = 0x7f800000U;
    }
    return mho_float_of(size | sign);
}

static float fake_quantize(float x, const uint32_t *p) {
    const float scale = mho_float_of(p[0]), zero = mho_float_of(p[1]);
    const float low = mho_float_of(p[2]), high = mho_float_of(p[3]), q = mho_round_half_even(x / scale) + zero;
    return ((q < low ? low : q > high ? high : q) - zero) * scale;
}

static float between_float(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

float mho_apply_unary(uint32_t function, float x, const uint32_t *p) {
    const double v = (double)x;
    const float a = mho_float_of(p[0]), b = mho_float_of(p[1]);
    double e;
    switch (function) {
    case FN_RELU: return x < 0.0f ? 0.0f : x;
    case FN_CLIP: return between_float(x, a, b);
    case FN_LEAKY_RELU: return x >= 0.0f ? x : x * a;
    case FN_THRESHOLDED_RELU: return x <= a ? 0.0f : x;
    case FN_HARD_SIGMOID: {
        const float product = x * a;
        return between_float(product + b, 0.0f, 1.0f);
    }
    case FN_HARD_SWISH: {
        const float product = x * (float)(1.0 / 6.0);
        return x * between_float(product + 0.5f, 0.0f, 1.0f);
    }
    case FN_NEG: return -x;
    case FN_ABS: return mho_float_of(mho_bits_of(x) & 0x7fffffffU);
    case FN_RECIPROCAL: return 1.0f / x;
    case FN_SOFTSIGN: return x / (1.0f + mho_float_of(mho_bits_of(x) & 0x7fffffffU));
    case FN_SQRT: return mho_sqrt(x);
    case FN_CAST_FLOAT16: return cast16(x, 5, 10);
    case FN_CAST_BFLOAT16: return cast16(x, 8, 7);
    case FN_FAKE_QUANTIZE: return fake_quantize(x, p);
    case FN_EXP: return (float)exp64(v);
    case FN_LOG: return (float)log64(v);
    case FN_ERF: return (float)erf64(v);
    case FN_SIGMOID: return (float)sigmoid64(v);
    case FN_SILU: return (float)(v * sigmoid64(v));
    case FN_TANH: return (float)tanh64(v);
    case FN_GELU: return (float)gelu64(v);
    case FN_GELU_TANH: return (float)gelu_tanh64(v);
    case FN_ELU: return (float)(v < 0.0 ? take_double(p) * expm1_64(v) : v);
    case FN_CELU: return (float)(v < 0.0 ? take_double(p) * expm1_64(v / take_double(p)) : v);
    case FN_SELU: return (float)(take_double(p + 2) * (v < 0.0 ? take_double(p) * expm1_64(v) : v));
    case FN_SOFTPLUS: return (float)softplus64(v);
    case FN_MISH: return (float)mish64(v);
    case FN_WHOLE_POWER: return (float)whole_power64(v, mho_signed32(p[0]));
    case FN_LARGE_POWER:
        e = exp64(take_double(p) * log64(absolute(v)));
        return (float)(p[2] ? copy_sign(e, v) : e);
    case FN_POWER: return (float)exp64(take_double(p) * log64(v));
    case FN_IS_NAN: return x != x ? 1.0f : 0.0f;
    case FN_FLOOR: return to_whole(x, -1);
    case FN_CEIL: return to_whole(x, 1);
    case FN_ROUND: return to_whole(x, 0);
    case FN_SIGN: return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f;
    case FN_SIN: return (float)sin64(v, 0.0);
    default: return (float)sin64(v, 1.0);
    }
}
