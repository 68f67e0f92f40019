#include "steerway-cpu-types.h"

#include "steerway/steerway-types.h"

#include "ggml-cpu-impl.h"
#include "simd-mappings.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#endif

#define HALVES (QK_S24_0/QK8_0) // blocks of activations to a block of weights
static_assert(QK_S24_0 == 2*QK8_0 && QK_I3_0 == 2*QK8_0, "a block of weights meets two of activations");

void quantize_row_s24_0(const float * x, void * y, int64_t k) {
    quantize_row_s24_0_ref(x, y, k);
}

void quantize_row_i3_0(const float * x, void * y, int64_t k) {
    quantize_row_i3_0_ref(x, y, k);
}

static float add_halves(float sum, ggml_half d, const block_q8_0 * y, const int sums[HALVES]) {
    const float scale = GGML_CPU_FP16_TO_FP32(d);
    for (int h = 0; h < HALVES; ++h) {
        sum = fmaf((float) sums[h], scale*GGML_CPU_FP16_TO_FP32(y[h].d), sum);
    }
    return sum;
}

void ggml_vec_dot_s24_0_q8_0_generic(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc) {
    assert(n % QK_S24_0 == 0 && nrc == 1);
    GGML_UNUSED(bs); GGML_UNUSED(bx); GGML_UNUSED(by); GGML_UNUSED(nrc);
    const block_s24_0 * x = vx;
    const block_q8_0  * y = vy;
    float sum = 0.0f;
    for (int b = 0; b < n/QK_S24_0; ++b, ++x, y += HALVES) {
        int sums[HALVES] = { 0, 0 };
        for (int g = 0; g < QK_S24_0/4; ++g) {
            const int indices = x->meta[g/2] >> 4*(g%2);
            const int8_t * a = y[g/8].qs + 4*(g%8);
            sums[g/8] += ((x->qs[g] & 15) - 8)*a[indices & 3] + ((x->qs[g] >> 4) - 8)*a[(indices >> 2) & 3];
        }
        sum = add_halves(sum, x->d, y, sums);
    }
    *s = sum;
}

void ggml_vec_dot_i3_0_q8_0_generic(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc) {
    assert(n % QK_I3_0 == 0 && nrc == 1);
    GGML_UNUSED(bs); GGML_UNUSED(bx); GGML_UNUSED(by); GGML_UNUSED(nrc);
    const block_i3_0 * x = vx;
    const block_q8_0 * y = vy;
    float sum = 0.0f;
    for (int b = 0; b < n/QK_I3_0; ++b, ++x, y += HALVES) {
        int sums[HALVES] = { 0, 0 };
        for (int i = 0; i < QK_I3_0; ++i) {
            const int q = ((x->ql[i/4] >> 2*(i%4)) & 3) | ((x->qh[i/8] >> i%8) & 1) << 2;
            sums[i/QK8_0] += (q - 4)*y[i/QK8_0].qs[i%QK8_0];
        }
        sum = add_halves(sum, x->d, y, sums);
    }
    *s = sum;
}

#if defined(__AVX2__) && defined(__FMA__)

static inline __m256i load_activations(const block_q8_0 * y) {
    return _mm256_loadu_si256((const __m256i *) y->qs);
}

// Four 2-bit fields a byte, of 8 bytes: a byte each, the fields of a byte side by side.
static inline __m256i spread_fields(const uint8_t * p) {
    const __m256i m = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) p));
    const __m256i twice = _mm256_or_si256(m, _mm256_slli_epi32(m, 12));
    return _mm256_and_si256(_mm256_or_si256(twice, _mm256_slli_epi32(twice, 6)), _mm256_set1_epi8(3));
}

// Sums of products of weights stored with an offset, four columns to an int32. 16 bits hold the pairs: 2*15*128.
static inline __m256i products(__m256i stored, __m256i activations, int offset) {
    const __m256i pairs = _mm256_sub_epi16(_mm256_maddubs_epi16(stored, activations),
                                           _mm256_maddubs_epi16(_mm256_set1_epi8((char) offset), activations));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

static inline int total(__m128i x) {
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1));
    return _mm_cvtsi128_si32(x);
}

// Activations of the 32 weights kept, in their order, are gathered by the indices: a byte shuffle reaches 16 columns, four
// groups, so even and odd quarters of the block come from two shuffles.
static inline __m256i gather_kept(const block_s24_0 * x, const block_q8_0 * y) {
    const __m256i group   = _mm256_set1_epi64x(0x0c0c080804040000); // first column of a group in its quarter
    const __m256i control = _mm256_add_epi8(spread_fields(x->meta), group);
    const __m256i first = load_activations(y), second = load_activations(y + 1);
    const __m256i even  = _mm256_shuffle_epi8(_mm256_permute2x128_si256(first, second, 0x20), control);
    const __m256i odd   = _mm256_shuffle_epi8(_mm256_permute2x128_si256(first, second, 0x31), control);
    return _mm256_blend_epi32(even, odd, 0xcc);
}

void ggml_vec_dot_s24_0_q8_0(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc) {
    assert(n % QK_S24_0 == 0 && nrc == 1);
    GGML_UNUSED(bs); GGML_UNUSED(bx); GGML_UNUSED(by); GGML_UNUSED(nrc);
    const block_s24_0 * x = vx;
    const block_q8_0  * y = vy;
    float sum = 0.0f;
    for (int b = 0; b < n/QK_S24_0; ++b, ++x, y += HALVES) {
        const __m256i bytes   = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *) x->qs));
        const __m256i nibbles = _mm256_and_si256(_mm256_or_si256(bytes, _mm256_slli_epi16(bytes, 4)), _mm256_set1_epi8(15));
        const __m256i p = products(nibbles, gather_kept(x, y), 8);
        const int sums[HALVES] = { total(_mm256_castsi256_si128(p)), total(_mm256_extracti128_si256(p, 1)) };
        sum = add_halves(sum, x->d, y, sums);
    }
    *s = sum;
}

// A bit of the mask to a byte: 4 where it is set.
static inline __m256i spread_bits(const uint8_t * p) {
    int32_t bits;
    memcpy(&bits, p, sizeof(bits));
    const __m256i order = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit   = _mm256_set1_epi64x((long long) 0x8040201008040201);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), order);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), _mm256_set1_epi8(4));
}

void ggml_vec_dot_i3_0_q8_0(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc) {
    assert(n % QK_I3_0 == 0 && nrc == 1);
    GGML_UNUSED(bs); GGML_UNUSED(bx); GGML_UNUSED(by); GGML_UNUSED(nrc);
    const block_i3_0 * x = vx;
    const block_q8_0 * y = vy;
    float sum = 0.0f;
    for (int b = 0; b < n/QK_I3_0; ++b, ++x, y += HALVES) {
        int sums[HALVES];
        for (int h = 0; h < HALVES; ++h) {
            const __m256i q = _mm256_or_si256(spread_fields(x->ql + 8*h), spread_bits(x->qh + 4*h));
            const __m256i p = products(q, load_activations(y + h), 4);
            sums[h] = total(_mm_add_epi32(_mm256_castsi256_si128(p), _mm256_extracti128_si256(p, 1)));
        }
        sum = add_halves(sum, x->d, y, sums);
    }
    *s = sum;
}

#elif defined(__aarch64__) && defined(__ARM_NEON)

#include "steerway-cpu-types-neon.h"

#else

void ggml_vec_dot_s24_0_q8_0(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc) {
    ggml_vec_dot_s24_0_q8_0_generic(n, s, bs, vx, bx, vy, by, nrc);
}

void ggml_vec_dot_i3_0_q8_0(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc) {
    ggml_vec_dot_i3_0_q8_0_generic(n, s, bs, vx, bx, vy, by, nrc);
}

#endif
