// What the integer product needs of an instruction set: vectors of 32-bit lanes, a lane a row of weights. Everything here
// has internal linkage, as ggml may hold this code more than once, compiled for several processors.

#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__)
#define STEERWAY_MATMUL_AVX512
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define STEERWAY_MATMUL_AVX2
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define STEERWAY_MATMUL_NEON
#endif

#if defined(STEERWAY_MATMUL_AVX512) || defined(STEERWAY_MATMUL_AVX2) || defined(STEERWAY_MATMUL_NEON)
#define STEERWAY_MATMUL

#if !defined(STEERWAY_MATMUL_AVX2) || defined(__AVXVNNI__)
#define STEERWAY_MATMUL_DOT // one instruction, or what stands for it, adds up four products of bytes
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // gcc 12's own AVX-512 headers: GCC bug 105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#if defined(_MSC_VER)
#define STEERWAY_INLINE __forceinline
#else
#define STEERWAY_INLINE inline __attribute__((always_inline))
#endif

#ifdef STEERWAY_MATMUL_NEON

#include "steerway-cpu-neon.h"

#else

#include <immintrin.h>

namespace {

STEERWAY_INLINE float from_f16(uint16_t x) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(x)));
}

STEERWAY_INLINE void prefetch_near(const void * p) { _mm_prefetch((const char *) p, _MM_HINT_T0); }
STEERWAY_INLINE void prefetch_far(const void * p)  { _mm_prefetch((const char *) p, _MM_HINT_T1); }

STEERWAY_INLINE __m128i load128(const uint8_t * p) {
    return _mm_loadu_si128((const __m128i *) p);
}

// For a shuffle: byte `Byte` of each word, in all its four.
template<int Byte> STEERWAY_INLINE __m128i four_bytes_of_each() {
    return _mm_set_epi32(0x0c0c0c0c + 0x01010101*Byte, 0x08080808 + 0x01010101*Byte, 0x04040404 + 0x01010101*Byte, 0x01010101*Byte);
}

#ifdef STEERWAY_MATMUL_AVX512

struct vector {
    using ints   = __m512i;
    using floats = __m512;

    static constexpr int  rows       = 16;
    static constexpr int  columns    = 6; // of a tile: 2*6 sums of integers, 2*6 of floats, 2 of weights, 1 of activations
    static constexpr int  panels     = 2; // side by side in a tile, so that an activation is loaded once for both
    static constexpr int  held       = 8; // columns of packed weights at once, with integers and sums of each and a block of weights
    static constexpr bool has_dot    = true;
    static constexpr bool signed_dot = false; // of weights without a sign and activations with one

    static STEERWAY_INLINE ints   load(const void * p)       { return _mm512_loadu_si512(p); }
    static STEERWAY_INLINE floats load_f16(const void * p)   { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) p)); }
    static STEERWAY_INLINE void   store_rows(float * p, floats x, int n) {
        _mm512_mask_storeu_ps(p, (__mmask16) ((1u << n) - 1), x);
    }
    static STEERWAY_INLINE floats load_rows(const float * p, int n) {
        return _mm512_maskz_loadu_ps((__mmask16) ((1u << n) - 1), p);
    }
    static STEERWAY_INLINE ints   all(int32_t x)             { return _mm512_set1_epi32(x); }
    static STEERWAY_INLINE ints   all(int64_t x)             { return _mm512_set1_epi64(x); }
    static STEERWAY_INLINE floats all(float x)               { return _mm512_set1_ps(x); }
    static STEERWAY_INLINE floats to_floats(ints x)          { return _mm512_cvtepi32_ps(x); }
    static STEERWAY_INLINE floats mul(floats a, floats b)    { return _mm512_mul_ps(a, b); }
    static STEERWAY_INLINE floats fma(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
    static STEERWAY_INLINE ints   subtract(ints a, ints b)   { return _mm512_sub_epi32(a, b); }
    static STEERWAY_INLINE ints   subtract_bytes(ints a, ints b) { return _mm512_sub_epi8(a, b); }
    static STEERWAY_INLINE ints   both(ints a, ints b)       { return _mm512_and_si512(a, b); }
    static STEERWAY_INLINE ints   either(ints a, ints b)     { return _mm512_or_si512(a, b); }
    static STEERWAY_INLINE ints   differ(ints a, ints b)     { return _mm512_xor_si512(a, b); }
    static STEERWAY_INLINE ints   pick(ints a, ints mask, ints flip) { return _mm512_ternarylogic_epi32(a, mask, flip, 0x6a); } // (a & mask) ^ flip
    static STEERWAY_INLINE ints   shuffle(ints table, ints at) { return _mm512_shuffle_epi8(table, at); } // of each 16 bytes
    static STEERWAY_INLINE ints   where_equal(ints a, ints b, ints x, ints y) { return _mm512_mask_blend_epi8(_mm512_cmpeq_epi8_mask(a, b), y, x); }
    template<int Byte> static STEERWAY_INLINE ints all_four() { return _mm512_broadcast_i32x4(four_bytes_of_each<Byte>()); }
    template<int N> static STEERWAY_INLINE ints right(ints a) { return _mm512_srli_epi32(a, N); }
    template<int N> static STEERWAY_INLINE ints left(ints a) { return _mm512_slli_epi32(a, N); }
    template<int N> static STEERWAY_INLINE ints signed_right(ints a) { return _mm512_srai_epi32(a, N); }
    static STEERWAY_INLINE ints   low32(ints a, ints b)      { return _mm512_unpacklo_epi32(a, b); }
    static STEERWAY_INLINE ints   high32(ints a, ints b)     { return _mm512_unpackhi_epi32(a, b); }
    static STEERWAY_INLINE ints   low64(ints a, ints b)      { return _mm512_unpacklo_epi64(a, b); }
    static STEERWAY_INLINE ints   high64(ints a, ints b)     { return _mm512_unpackhi_epi64(a, b); }

    // The f16 in the lower half of each lane.
    static STEERWAY_INLINE floats from_f16(ints x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }

    // 16 bytes each of this row and of those 4, 8 and 12 below it.
    static STEERWAY_INLINE ints gather(const uint8_t * row, size_t stride) {
        ints x = _mm512_castsi128_si512(load128(row));
        x = _mm512_inserti32x4(x, load128(row +  4*stride), 1);
        x = _mm512_inserti32x4(x, load128(row +  8*stride), 2);
        return _mm512_inserti32x4(x, load128(row + 12*stride), 3);
    }

    // sum + the four products of u8 weights and s8 activations of each lane.
    static STEERWAY_INLINE ints dot(ints sum, ints weights, ints activations) {
        return _mm512_dpbusd_epi32(sum, weights, activations);
    }

    // Where each byte of two lanes starts in their 64 bits: byte j of a lane at bit `first` + j of the lane.
    static constexpr int64_t shifts(int first) {
        uint64_t at = 0;
        for (int j = 0; j < 8; ++j) {
            at |= (uint64_t) ((first + j%4 + 32*(j/4)) & 63) << 8*j;
        }
        return (int64_t) at;
    }

    // Adds 16 to byte j of a lane where bit 4*Q + j of `bits` is set; the byte is below 16.
    template<int Q> static STEERWAY_INLINE ints fifth_bit(ints bytes, ints bits) {
#ifdef __AVX512VBMI__
        constexpr int64_t at = shifts(4*Q - 4);
        const ints moved = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(at), bits);
        return _mm512_ternarylogic_epi32(bytes, moved, _mm512_set1_epi8(16), 0xf8); // a | (b & c)
#else
        const ints of_byte = _mm512_shuffle_epi8(bits, all_four<Q/2>());
        const __mmask64 set = _mm512_test_epi8_mask(of_byte, all(Q % 2 ? (int32_t) 0x80402010 : 0x08040201));
        return _mm512_mask_add_epi8(bytes, set, bytes, _mm512_set1_epi8(16));
#endif
    }
};

#else

struct vector {
    using ints   = __m256i;
    using floats = __m256;

    static constexpr int  rows       = 8;
    static constexpr int  columns    = 4;
    static constexpr int  panels     = 1;
#ifdef __AVXVNNI__
    static constexpr bool has_dot    = true;
#else
    static constexpr bool has_dot    = false;
#endif
    static constexpr int  held       = has_dot ? 8 : 4;
    static constexpr bool signed_dot = false;

    static STEERWAY_INLINE ints   load(const void * p)       { return _mm256_loadu_si256((const __m256i *) p); }
    static STEERWAY_INLINE floats load_f16(const void * p)   { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) p)); }
    static STEERWAY_INLINE void   store_rows(float * p, floats x, int n) {
        _mm256_maskstore_ps(p, first_lanes(n), x);
    }
    static STEERWAY_INLINE floats load_rows(const float * p, int n) {
        return _mm256_maskload_ps(p, first_lanes(n));
    }
    static STEERWAY_INLINE ints   first_lanes(int n) {
        return _mm256_cmpgt_epi32(all(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static STEERWAY_INLINE ints   all(int32_t x)             { return _mm256_set1_epi32(x); }
    static STEERWAY_INLINE ints   all(int64_t x)             { return _mm256_set1_epi64x(x); }
    static STEERWAY_INLINE floats all(float x)               { return _mm256_set1_ps(x); }
    static STEERWAY_INLINE floats to_floats(ints x)          { return _mm256_cvtepi32_ps(x); }
    static STEERWAY_INLINE floats mul(floats a, floats b)    { return _mm256_mul_ps(a, b); }
    static STEERWAY_INLINE floats fma(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
    static STEERWAY_INLINE ints   add(ints a, ints b)        { return _mm256_add_epi32(a, b); }
    static STEERWAY_INLINE ints   subtract_bytes(ints a, ints b) { return _mm256_sub_epi8(a, b); }
    static STEERWAY_INLINE ints   subtract(ints a, ints b)   { return _mm256_sub_epi32(a, b); }
    static STEERWAY_INLINE ints   both(ints a, ints b)       { return _mm256_and_si256(a, b); }
    static STEERWAY_INLINE ints   either(ints a, ints b)     { return _mm256_or_si256(a, b); }
    static STEERWAY_INLINE ints   differ(ints a, ints b)     { return _mm256_xor_si256(a, b); }
    static STEERWAY_INLINE ints   pick(ints a, ints mask, ints flip) { return differ(both(a, mask), flip); }
    static STEERWAY_INLINE ints   shuffle(ints table, ints at) { return _mm256_shuffle_epi8(table, at); }
    static STEERWAY_INLINE ints   where_equal(ints a, ints b, ints x, ints y) { return _mm256_blendv_epi8(y, x, _mm256_cmpeq_epi8(a, b)); }
    template<int Byte> static STEERWAY_INLINE ints all_four() { return _mm256_broadcastsi128_si256(four_bytes_of_each<Byte>()); }
    template<int N> static STEERWAY_INLINE ints right(ints a) { return _mm256_srli_epi32(a, N); }
    template<int N> static STEERWAY_INLINE ints left(ints a) { return _mm256_slli_epi32(a, N); }
    template<int N> static STEERWAY_INLINE ints signed_right(ints a) { return _mm256_srai_epi32(a, N); }
    static STEERWAY_INLINE ints   low32(ints a, ints b)      { return _mm256_unpacklo_epi32(a, b); }
    static STEERWAY_INLINE ints   high32(ints a, ints b)     { return _mm256_unpackhi_epi32(a, b); }
    static STEERWAY_INLINE ints   low64(ints a, ints b)      { return _mm256_unpacklo_epi64(a, b); }
    static STEERWAY_INLINE ints   high64(ints a, ints b)     { return _mm256_unpackhi_epi64(a, b); }

    static STEERWAY_INLINE floats from_f16(ints x) {
        const ints half = both(x, all(0xffff));
        return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
    }

    static STEERWAY_INLINE ints gather(const uint8_t * row, size_t stride) {
        return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(row)), load128(row + 4*stride), 1);
    }

#ifdef __AVXVNNI__
    static STEERWAY_INLINE ints dot(ints sum, ints weights, ints activations) {
        return _mm256_dpbusd_avx_epi32(sum, weights, activations);
    }
#else
    // Sums of two products, 16 bits wide. Weights of 8 bits would saturate: those are signed, and the sign moves over.
    template<bool Signed> static STEERWAY_INLINE ints pairs(ints weights, ints activations) {
        if (Signed) {
            return _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(activations, weights));
        }
        return _mm256_maddubs_epi16(weights, activations);
    }
    static STEERWAY_INLINE ints add_pairs(ints a, ints b) { return _mm256_add_epi16(a, b); }
    static STEERWAY_INLINE ints widen(ints pairs)         { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }
#endif

    template<int Q> static STEERWAY_INLINE ints fifth_bit(ints bytes, ints bits) {
        const ints of_byte = _mm256_shuffle_epi8(bits, all_four<Q/2>());
        const ints bit = all(Q % 2 ? (int32_t) 0x80402010 : 0x08040201);
        return either(bytes, both(_mm256_cmpeq_epi8(both(of_byte, bit), bit), _mm256_set1_epi8(16)));
    }
};

#endif

// Places of kept weights in their pairs of fours, from two bits of each of four pairs: 4 and up for the second four. Bits 0 to
// 2 count in a table of 8 bytes, and bit 7 must not be set.
STEERWAY_INLINE void kept_places(vector::ints index, vector::ints at[4]) {
    const auto two = vector::all(0x33333333), second = vector::all(0x44440000);
    at[0] = vector::pick(index, two, second);
    at[1] = vector::pick(vector::right<2>(index), two, second);
    at[2] = vector::right<4>(at[0]);
    at[3] = vector::right<4>(at[1]);
}

} // namespace

#endif

#endif
