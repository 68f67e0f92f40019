// AArch64's vectors for the integer product (steerway-cpu-matmul-vector.h says what of): two registers of 128 bits, so that eight
// rows are multiplied by an activation loaded once. Products of four bytes are added up by SDOT where the processor has it
// (`dotprod`), by widening products where not. Both factors have a sign, as every AArch64 knows them.

#pragma once

#include <arm_neon.h>

namespace {

STEERWAY_INLINE float from_f16(uint16_t x) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(x))), 0);
}

STEERWAY_INLINE void prefetch_near(const void * p) { __builtin_prefetch(p, 0, 3); }
STEERWAY_INLINE void prefetch_far(const void * p)  { __builtin_prefetch(p, 0, 2); }

struct vector {
    struct ints   { uint8x16_t  half[2]; }; // bytes: most of what is done with weights is done to these
    struct floats { float32x4_t half[2]; };

    static constexpr int  rows       = 8;
    static constexpr int  columns    = 6; // of a tile: 12 sums of integers, 12 of floats, 2 of weights, 1 of activations
    static constexpr int  panels     = 1;
    static constexpr int  held       = 4; // columns of packed weights at once: 8 sums of integers and 8 of floats; the rest is for weights
    static constexpr bool has_dot    = true;
    static constexpr bool signed_dot = true;

    static STEERWAY_INLINE uint32x4_t words(uint8x16_t x)   { return vreinterpretq_u32_u8(x); }
    static STEERWAY_INLINE uint64x2_t doubles(uint8x16_t x) { return vreinterpretq_u64_u8(x); }
    static STEERWAY_INLINE int32x4_t  numbers(uint8x16_t x) { return vreinterpretq_s32_u8(x); }
    static STEERWAY_INLINE uint8x16_t bytes(uint32x4_t x)   { return vreinterpretq_u8_u32(x); }
    static STEERWAY_INLINE uint8x16_t bytes(uint64x2_t x)   { return vreinterpretq_u8_u64(x); }
    static STEERWAY_INLINE uint8x16_t bytes(int32x4_t x)    { return vreinterpretq_u8_s32(x); }

    static STEERWAY_INLINE ints   load(const void * p) {
        return { { vld1q_u8((const uint8_t *) p), vld1q_u8((const uint8_t *) p + 16) } };
    }
    static STEERWAY_INLINE floats load_f16(const void * p) {
        const float16x8_t x = vreinterpretq_f16_u8(vld1q_u8((const uint8_t *) p));
        return { { vcvt_f32_f16(vget_low_f16(x)), vcvt_high_f32_f16(x) } };
    }
    static STEERWAY_INLINE void   store_rows(float * p, floats x, int n) {
        if (n >= rows) {
            vst1q_f32(p, x.half[0]);
            vst1q_f32(p + 4, x.half[1]);
            return;
        }
        float all[rows];
        vst1q_f32(all, x.half[0]);
        vst1q_f32(all + 4, x.half[1]);
        for (int i = 0; i < n; ++i) {
            p[i] = all[i];
        }
    }
    static STEERWAY_INLINE floats load_rows(const float * p, int n) {
        if (n >= rows) {
            return { { vld1q_f32(p), vld1q_f32(p + 4) } };
        }
        float all[rows] = {};
        for (int i = 0; i < n; ++i) {
            all[i] = p[i];
        }
        return { { vld1q_f32(all), vld1q_f32(all + 4) } };
    }
    static STEERWAY_INLINE ints   all(int32_t x)           { return { { bytes(vdupq_n_s32(x)), bytes(vdupq_n_s32(x)) } }; }
    static STEERWAY_INLINE ints   all(int64_t x)           { return { { bytes(vdupq_n_u64((uint64_t) x)), bytes(vdupq_n_u64((uint64_t) x)) } }; }
    static STEERWAY_INLINE floats all(float x)             { return { { vdupq_n_f32(x), vdupq_n_f32(x) } }; }
    static STEERWAY_INLINE floats to_floats(ints x)        { return { { vcvtq_f32_s32(numbers(x.half[0])), vcvtq_f32_s32(numbers(x.half[1])) } }; }
    static STEERWAY_INLINE floats mul(floats a, floats b)  { return { { vmulq_f32(a.half[0], b.half[0]), vmulq_f32(a.half[1], b.half[1]) } }; }
    static STEERWAY_INLINE floats fma(floats a, floats b, floats c) {
        return { { vfmaq_f32(c.half[0], a.half[0], b.half[0]), vfmaq_f32(c.half[1], a.half[1], b.half[1]) } };
    }
    static STEERWAY_INLINE ints   both(ints a, ints b)     { return { { vandq_u8(a.half[0], b.half[0]), vandq_u8(a.half[1], b.half[1]) } }; }
    static STEERWAY_INLINE ints   either(ints a, ints b)   { return { { vorrq_u8(a.half[0], b.half[0]), vorrq_u8(a.half[1], b.half[1]) } }; }
    static STEERWAY_INLINE ints   differ(ints a, ints b)   { return { { veorq_u8(a.half[0], b.half[0]), veorq_u8(a.half[1], b.half[1]) } }; }
    static STEERWAY_INLINE ints   pick(ints a, ints mask, ints flip) { return differ(both(a, mask), flip); }
    static STEERWAY_INLINE ints   subtract(ints a, ints b) {
        return { { bytes(vsubq_u32(words(a.half[0]), words(b.half[0]))), bytes(vsubq_u32(words(a.half[1]), words(b.half[1]))) } };
    }
    static STEERWAY_INLINE ints   subtract_bytes(ints a, ints b) { return { { vsubq_u8(a.half[0], b.half[0]), vsubq_u8(a.half[1], b.half[1]) } }; }
    // of each 16 bytes; unlike a shuffle of x86's, 0 wherever an index is above 15
    static STEERWAY_INLINE ints   shuffle(ints table, ints at) {
        return { { vqtbl1q_u8(table.half[0], at.half[0]), vqtbl1q_u8(table.half[1], at.half[1]) } };
    }
    static STEERWAY_INLINE ints   where_equal(ints a, ints b, ints x, ints y) {
        return { { vbslq_u8(vceqq_u8(a.half[0], b.half[0]), x.half[0], y.half[0]), vbslq_u8(vceqq_u8(a.half[1], b.half[1]), x.half[1], y.half[1]) } };
    }
    // For a shuffle: byte `Byte` of each word, in all its four.
    template<int Byte> static STEERWAY_INLINE ints all_four() {
        constexpr uint32_t word = 0x01010101*Byte;
        const uint32x4_t at = { word, word + 0x04040404, word + 0x08080808, word + 0x0c0c0c0c };
        return { { bytes(at), bytes(at) } };
    }
    template<int N> static STEERWAY_INLINE ints right(ints a) {
        if constexpr (N == 0) {
            return a;
        } else {
            return { { bytes(vshrq_n_u32(words(a.half[0]), N)), bytes(vshrq_n_u32(words(a.half[1]), N)) } };
        }
    }
    template<int N> static STEERWAY_INLINE ints left(ints a) {
        return { { bytes(vshlq_n_u32(words(a.half[0]), N)), bytes(vshlq_n_u32(words(a.half[1]), N)) } };
    }
    template<int N> static STEERWAY_INLINE ints signed_right(ints a) {
        return { { bytes(vshrq_n_s32(numbers(a.half[0]), N)), bytes(vshrq_n_s32(numbers(a.half[1]), N)) } };
    }
    static STEERWAY_INLINE ints   low32(ints a, ints b) {
        return { { bytes(vzip1q_u32(words(a.half[0]), words(b.half[0]))), bytes(vzip1q_u32(words(a.half[1]), words(b.half[1]))) } };
    }
    static STEERWAY_INLINE ints   high32(ints a, ints b) {
        return { { bytes(vzip2q_u32(words(a.half[0]), words(b.half[0]))), bytes(vzip2q_u32(words(a.half[1]), words(b.half[1]))) } };
    }
    static STEERWAY_INLINE ints   low64(ints a, ints b) {
        return { { bytes(vzip1q_u64(doubles(a.half[0]), doubles(b.half[0]))), bytes(vzip1q_u64(doubles(a.half[1]), doubles(b.half[1]))) } };
    }
    static STEERWAY_INLINE ints   high64(ints a, ints b) {
        return { { bytes(vzip2q_u64(doubles(a.half[0]), doubles(b.half[0]))), bytes(vzip2q_u64(doubles(a.half[1]), doubles(b.half[1]))) } };
    }

    // The f16 in the lower half of each lane.
    static STEERWAY_INLINE floats from_f16(ints x) { return { { from_f16(x.half[0]), from_f16(x.half[1]) } }; }
    static STEERWAY_INLINE float32x4_t from_f16(uint8x16_t x) { return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(words(x)))); }

    // 16 bytes each of this row and of that 4 below it.
    static STEERWAY_INLINE ints gather(const uint8_t * row, size_t stride) { return { { vld1q_u8(row), vld1q_u8(row + 4*stride) } }; }

    // sum + the four products of s8 weights and s8 activations of each lane. Activations are -127 to 127, so that two products
    // fit 16 bits whatever the weights are.
    static STEERWAY_INLINE ints dot(ints sum, ints weights, ints activations) {
        return { { dot(sum.half[0], weights.half[0], activations.half[0]), dot(sum.half[1], weights.half[1], activations.half[1]) } };
    }
    static STEERWAY_INLINE uint8x16_t dot(uint8x16_t sum, uint8x16_t weights, uint8x16_t activations) {
        const int8x16_t w = vreinterpretq_s8_u8(weights), a = vreinterpretq_s8_u8(activations);
#ifdef __ARM_FEATURE_DOTPROD
        return bytes(vdotq_s32(numbers(sum), w, a));
#else
        const int16x8_t pairs = vpaddq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(a)), vmull_high_s8(w, a));
        return bytes(vpadalq_s16(numbers(sum), pairs));
#endif
    }

    // Adds 16 to byte j of a lane where bit 4*Q + j of `bits` is set; the byte is below 16.
    template<int Q> static STEERWAY_INLINE ints fifth_bit(ints x, ints bits) {
        const ints of_byte = shuffle(bits, all_four<Q/2>());
        return { { sixteen_where<Q>(of_byte.half[0], x.half[0]), sixteen_where<Q>(of_byte.half[1], x.half[1]) } };
    }
    template<int Q> static STEERWAY_INLINE uint8x16_t sixteen_where(uint8x16_t of_byte, uint8x16_t x) {
        const uint8x16_t bit = bytes(vdupq_n_u32(Q % 2 ? 0x80402010 : 0x08040201));
        return vorrq_u8(x, vandq_u8(vtstq_u8(of_byte, bit), vdupq_n_u8(16)));
    }
};

// Places of kept weights in their pairs of fours, from two bits of each of four pairs: 4 and up for the second four.
STEERWAY_INLINE void kept_places(vector::ints index, vector::ints at[4]) {
    const uint8x16_t second = vector::bytes(vdupq_n_u32(0x04040000)), two = vdupq_n_u8(3);
    at[0] = { { vbslq_u8(two, index.half[0], second), vbslq_u8(two, index.half[1], second) } };
    at[1] = { { vbslq_u8(two, vshrq_n_u8(index.half[0], 2), second), vbslq_u8(two, vshrq_n_u8(index.half[1], 2), second) } };
    at[2] = { { vbslq_u8(two, vshrq_n_u8(index.half[0], 4), second), vbslq_u8(two, vshrq_n_u8(index.half[1], 4), second) } };
    at[3] = { { vsriq_n_u8(second, index.half[0], 6), vsriq_n_u8(second, index.half[1], 6) } };
}

} // namespace
