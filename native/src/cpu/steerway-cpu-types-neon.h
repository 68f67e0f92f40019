// Products of a row of steerway/steerway-types.h with AArch64's vectors, for steerway-cpu-types.c alone. The two tables of
// activations and of bytes to spread are read by TBL, which reaches the 32 columns of a block of activations at once.

#pragma once

#include <arm_neon.h>

static inline int8x16x2_t load_activations(const block_q8_0 * y) {
    return vld1q_s8_x2(y->qs);
}

// The sum of 16 products. 16 bits hold two of them: the weights are -8 to 7.
static inline int32x4_t add_products(int32x4_t sum, int8x16_t weights, int8x16_t activations) {
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_s32(sum, weights, activations);
#else
    const int16x8_t first = vmull_s8(vget_low_s8(weights), vget_low_s8(activations));
    return vpadalq_s16(sum, vmlal_high_s8(first, weights, activations));
#endif
}

// Four 2-bit fields a byte, of 4 bytes from byte `first` on: a byte each, the fields of a byte side by side.
static inline uint8x16_t spread_fields(uint8x16_t bytes, uint8_t first) {
    const uint8x16_t order = { 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3 };
    const int8x16_t  shift = { 0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6 };
    const uint8x16_t byte  = vqtbl1q_u8(bytes, vaddq_u8(order, vdupq_n_u8(first)));
    return vandq_u8(vshlq_u8(byte, shift), vdupq_n_u8(3));
}

// A bit of the 2 bytes from byte `first` on to a byte: 4 where it is set.
static inline uint8x16_t spread_bits(uint8x16_t bytes, uint8_t first) {
    const uint8x16_t order = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1 };
    const uint8x16_t bit   = { 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128 };
    const uint8x16_t byte  = vqtbl1q_u8(bytes, vaddq_u8(order, vdupq_n_u8(first)));
    return vandq_u8(vtstq_u8(byte, bit), vdupq_n_u8(4));
}

static inline uint8x16_t load_eight(const uint8_t * p) {
    return vcombine_u8(vld1_u8(p), vdup_n_u8(0));
}

// The 16 kept weights of a half, the first or the second 8 of the groups, with the activations that their indices name.
static inline int half_of_s24_0(uint8x16_t meta, uint8x16_t nibbles, int half, const block_q8_0 * y) {
    const uint8x16_t group = { 0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28 }; // its first column
    const uint8x16_t at    = vorrq_u8(spread_fields(meta, (uint8_t) (4*half)), group);
    const int8x16_t  w     = vsubq_s8(vreinterpretq_s8_u8(nibbles), vdupq_n_s8(8));
    return vaddvq_s32(add_products(vdupq_n_s32(0), w, vqtbl2q_s8(load_activations(y), at)));
}

static inline int half_of_i3_0(uint8x16_t ql, uint8x16_t qh, int half, const block_q8_0 * y) {
    const int8x16x2_t a = load_activations(y);
    int32x4_t sum = vdupq_n_s32(0);
    for (int i = 0; i < 2; ++i) {
        const uint8_t quarter = (uint8_t) (2*half + i);
        const uint8x16_t q = vorrq_u8(spread_fields(ql, 4*quarter), spread_bits(qh, 2*quarter));
        sum = add_products(sum, vsubq_s8(vreinterpretq_s8_u8(q), vdupq_n_s8(4)), a.val[i]);
    }
    return vaddvq_s32(sum);
}

void ggml_vec_dot_s24_0_q8_0(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc) {
    assert(n % QK_S24_0 == 0 && nrc == 1);
    GGML_UNUSED(bs); GGML_UNUSED(bx); GGML_UNUSED(by); GGML_UNUSED(nrc);
    const block_s24_0 * x = vx;
    const block_q8_0  * y = vy;
    float sum = 0.0f;
    for (int b = 0; b < n/QK_S24_0; ++b, ++x, y += HALVES) {
        const uint8x16_t meta = load_eight(x->meta), bytes = vld1q_u8(x->qs);
        const uint8x16_t low = vandq_u8(bytes, vdupq_n_u8(15)), high = vshrq_n_u8(bytes, 4);
        const int sums[HALVES] = {
            half_of_s24_0(meta, vzip1q_u8(low, high), 0, y), half_of_s24_0(meta, vzip2q_u8(low, high), 1, y + 1),
        };
        sum = add_halves(sum, x->d, y, sums);
    }
    *s = sum;
}

void ggml_vec_dot_i3_0_q8_0(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc) {
    assert(n % QK_I3_0 == 0 && nrc == 1);
    GGML_UNUSED(bs); GGML_UNUSED(bx); GGML_UNUSED(by); GGML_UNUSED(nrc);
    const block_i3_0 * x = vx;
    const block_q8_0 * y = vy;
    float sum = 0.0f;
    for (int b = 0; b < n/QK_I3_0; ++b, ++x, y += HALVES) {
        const uint8x16_t ql = vld1q_u8(x->ql), qh = load_eight(x->qh);
        const int sums[HALVES] = { half_of_i3_0(ql, qh, 0, y), half_of_i3_0(ql, qh, 1, y + 1) };
        sum = add_halves(sum, x->d, y, sums);
    }
    *s = sum;
}
