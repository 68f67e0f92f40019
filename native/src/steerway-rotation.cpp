#include "steerway-rotation.h"

#include <cmath>
#include <cstring>

// libllama is compiled for the oldest processor of its kind, so what needs more is compiled beside it and chosen at run
// time. Every x86 processor with AVX2 converts f16, too.
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define STEERWAY_AVX2 __attribute__((target("avx2,fma,f16c")))
#include <immintrin.h>
#endif

#if defined(__GNUC__) || defined(__clang__)
#define STEERWAY_INLINE inline __attribute__((always_inline))
#else
#define STEERWAY_INLINE inline
#endif

namespace {

constexpr int64_t k_block       = 32; // values of a q8_0 block: an f16 scale, then a byte each
constexpr size_t  k_block_bytes = sizeof(ggml_fp16_t) + k_block;

STEERWAY_INLINE void rotate_neox(float * GGML_RESTRICT lower, float * GGML_RESTRICT upper, const steerway_rotation & r) {
    const float * GGML_RESTRICT cos = r.cos.data();
    const float * GGML_RESTRICT sin = r.sin.data();
    for (int32_t i = 0; i < r.n_rot/2; ++i) {
        const float a = lower[i];
        const float b = upper[i];
        lower[i] = a*cos[i] - b*sin[i];
        upper[i] = a*sin[i] + b*cos[i];
    }
}

template<typename Ops>
STEERWAY_INLINE void rotate(float * row, int64_t width, const steerway_rotation & r) {
    for (float * head = row; head < row + width; head += r.head) {
        if (r.neox) {
            rotate_neox(head, head + r.n_rot/2, r);
        } else {
            Ops::rotate_pairs(head, r);
        }
        for (int32_t i = r.n_rot; i < r.head; ++i) {
            head[i] *= r.scale;
        }
    }
}

template<typename Ops>
STEERWAY_INLINE void dequantize(const uint8_t * src, float * GGML_RESTRICT dst, int64_t width) {
    for (int64_t i = 0; i < width; i += k_block, src += k_block_bytes) {
        ggml_fp16_t scale;
        std::memcpy(&scale, src, sizeof(scale));
        const float factor = Ops::value(scale);
        const auto * values = (const int8_t *) src + sizeof(scale);
        for (int64_t j = 0; j < k_block; ++j) {
            dst[i + j] = factor*values[j];
        }
    }
}

// The three steps of one row stay in the first-level cache.
template<typename Ops>
STEERWAY_INLINE void convert(
        const uint8_t * src, ggml_type type, ggml_fp16_t * dst, int64_t width, const steerway_rotation * r, float * row) {
    if (type == GGML_TYPE_F16) {
        Ops::load((const ggml_fp16_t *) src, row, width);
    } else {
        dequantize<Ops>(src, row, width);
    }
    if (r && !r->keeps) {
        rotate<Ops>(row, width, *r);
    }
    Ops::store(row, dst, width);
}

struct plain_ops {
    static void load(const ggml_fp16_t * src, float * dst, int64_t n) { ggml_fp16_to_fp32_row(src, dst, n); }
    static void store(const float * src, ggml_fp16_t * dst, int64_t n) { ggml_fp32_to_fp16_row(src, dst, n); }
    static float value(ggml_fp16_t x) { return ggml_fp16_to_fp32(x); }

    static STEERWAY_INLINE void rotate_pairs(float * x, const steerway_rotation & r) {
        for (int32_t i = 0; i < r.n_rot; i += 2) {
            const float a = x[i];
            const float b = x[i + 1];
            x[i]     = a*r.cos[i]     + b*r.sin[i];
            x[i + 1] = b*r.cos[i + 1] + a*r.sin[i + 1];
        }
    }
};

#if defined(__aarch64__) && defined(__ARM_FP16_FORMAT_IEEE)
struct native_ops : plain_ops { // f16 is part of every 64-bit ARM; the compiler makes vectors of these loops
    static STEERWAY_INLINE void load(const ggml_fp16_t * src, float * dst, int64_t n) {
        const auto * half = (const __fp16 *) src;
        for (int64_t i = 0; i < n; ++i) {
            dst[i] = half[i];
        }
    }
    static STEERWAY_INLINE void store(const float * src, ggml_fp16_t * dst, int64_t n) {
        auto * half = (__fp16 *) dst;
        for (int64_t i = 0; i < n; ++i) {
            half[i] = src[i];
        }
    }
};
#else
using native_ops = plain_ops;
#endif

using convert_fn = void (*)(const uint8_t *, ggml_type, ggml_fp16_t *, int64_t, const steerway_rotation *, float *);

void convert_native(
        const uint8_t * src, ggml_type type, ggml_fp16_t * dst, int64_t width, const steerway_rotation * r, float * row) {
    convert<native_ops>(src, type, dst, width, r, row);
}

#ifdef STEERWAY_AVX2
// Not forced inline: that is an error before the templates around have become part of convert_avx2.
struct avx2_ops {
    STEERWAY_AVX2 static void load(const ggml_fp16_t * src, float * dst, int64_t n) {
        int64_t i = 0;
        for (; i + 8 <= n; i += 8) {
            _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (src + i))));
        }
        for (; i < n; ++i) {
            dst[i] = value(src[i]);
        }
    }
    STEERWAY_AVX2 static void store(const float * src, ggml_fp16_t * dst, int64_t n) {
        int64_t i = 0;
        for (; i + 8 <= n; i += 8) {
            _mm_storeu_si128((__m128i *) (dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
        }
        for (; i < n; ++i) {
            dst[i] = _cvtss_sh(src[i], _MM_FROUND_TO_NEAREST_INT);
        }
    }
    STEERWAY_AVX2 static float value(ggml_fp16_t x) {
        return _cvtsh_ss(x);
    }
    STEERWAY_AVX2 static void rotate_pairs(float * x, const steerway_rotation & r) {
        int32_t i = 0;
        for (; i + 8 <= r.n_rot; i += 8) {
            const __m256 v       = _mm256_loadu_ps(x + i);
            const __m256 swapped = _mm256_permute_ps(v, 0xB1);
            const __m256 turned  = _mm256_mul_ps(swapped, _mm256_loadu_ps(r.sin.data() + i));
            _mm256_storeu_ps(x + i, _mm256_fmadd_ps(v, _mm256_loadu_ps(r.cos.data() + i), turned));
        }
        for (; i < r.n_rot; i += 2) {
            const float a = x[i];
            const float b = x[i + 1];
            x[i]     = a*r.cos[i]     + b*r.sin[i];
            x[i + 1] = b*r.cos[i + 1] + a*r.sin[i + 1];
        }
    }
};

STEERWAY_AVX2 void convert_avx2(
        const uint8_t * src, ggml_type type, ggml_fp16_t * dst, int64_t width, const steerway_rotation * r, float * row) {
    convert<avx2_ops>(src, type, dst, width, r, row);
}

convert_fn choose() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? convert_avx2 : convert_native;
}
#else
convert_fn choose() {
    return convert_native;
}
#endif

void append(steerway_rotation & r, float cos, float sin) {
    if (r.neox) {
        r.cos.push_back(cos);
        r.sin.push_back(sin);
    } else {
        r.cos.insert(r.cos.end(), { cos, cos });
        r.sin.insert(r.sin.end(), { -sin, sin });
    }
}

} // namespace

steerway_rotation steerway_make_rotation(const steerway_rope & rope, int64_t delta, float scale) {
    steerway_rotation res;
    res.head  = rope.head;
    res.n_rot = rope.n_rot;
    res.neox  = rope.neox;
    res.scale = scale;
    res.keeps = scale == 1.0f && (delta == 0 || rope.n_rot == 0);

    for (int32_t i = 0; i < rope.n_rot/2; ++i) {
        const double factor = rope.factors.empty() ? 1.0 : (double) rope.factors[i];
        const double angle  = delta*rope.freq_scale*std::pow((double) rope.freq_base, -2.0*i/rope.n_rot)/factor;
        append(res, (float) (scale*std::cos(angle)), (float) (scale*std::sin(angle)));
    }
    return res;
}

size_t steerway_row_size(ggml_type type, int64_t width) {
    return type == GGML_TYPE_F16 ? width*sizeof(ggml_fp16_t) : width/k_block*k_block_bytes;
}

void steerway_convert_rows(
        const uint8_t * src, ggml_type type, ggml_fp16_t * dst, int64_t n, int64_t width, const steerway_rotation * rotation) {
    static const convert_fn one = choose();
    std::vector<float> row(width);
    const size_t step = steerway_row_size(type, width);
    for (int64_t i = 0; i < n; ++i) {
        one(src + i*step, type, dst + i*width, width, rotation, row.data());
    }
}

void steerway_quantize_rows(const ggml_fp16_t * src, uint8_t * dst, int64_t n, int64_t width) {
    const auto quantize = ggml_get_type_traits(GGML_TYPE_Q8_0)->from_float_ref;
    std::vector<float> row(width);
    for (int64_t i = 0; i < n; ++i) {
        ggml_fp16_to_fp32_row(src + i*width, row.data(), width);
        quantize(row.data(), dst + i*steerway_row_size(GGML_TYPE_Q8_0, width), width);
    }
}
