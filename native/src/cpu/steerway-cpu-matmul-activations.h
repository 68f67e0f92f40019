// Activations of the integer product: ggml's own 8-bit blocks, arranged for reading four bytes at a time.

#pragma once

#include "quants.h"
#include "steerway-cpu-matmul-formats.h"

#ifdef STEERWAY_MATMUL

#include <algorithm>

namespace {

constexpr int64_t k_block = 32;

struct activation_block {
    int8_t q[k_block];
    float  d;
    union {
        int32_t start[2]; // of a group: -offset * sum of q, so that the weights' offset is gone before it is added
        float   s;        // d * sum of q, for formats with a minimum
    };
};

inline float from_f16(ggml_half x) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(x)));
}

template<int N> STEERWAY_INLINE int32_t sum(const int8_t * q) {
    int32_t total = 0;
    for (int i = 0; i < N; ++i) {
        total += q[i];
    }
    return total;
}

template<typename Format> STEERWAY_INLINE void fill(activation_block & out, const int8_t * q, float d) {
    std::memcpy(out.q, q, k_block);
    out.d = d;
    if (Format::has_minimum) {
        out.s = d*sum<k_block>(q);
        return;
    }
    constexpr int n = k_block/Format::groups;
    for (int group = 0; group < Format::groups; ++group) {
        out.start[group] = -Format::offset*sum<n>(q + group*n);
    }
}

// n blocks of 32, a multiple of Format::blocks.
template<typename Format> void quantise(const float * x, int64_t n, activation_block * out) {
    constexpr int64_t at_once = 16;
    for (; n > 0; n -= at_once, x += at_once*k_block, out += at_once) {
        const int64_t count = std::min(n, at_once);
        if constexpr (Format::with == activations::q8_0) {
            block_q8_0 y[at_once];
            quantize_row_q8_0(x, y, count*k_block);
            for (int64_t b = 0; b < count; ++b) {
                fill<Format>(out[b], y[b].qs, from_f16(y[b].d));
            }
        } else if constexpr (Format::with == activations::q8_1) {
            block_q8_1 y[at_once];
            quantize_row_q8_1(x, y, count*k_block);
            for (int64_t b = 0; b < count; ++b) {
                fill<Format>(out[b], y[b].qs, from_f16(y[b].d));
                out[b].s = from_f16(y[b].s); // of d before it was rounded
            }
        } else {
            block_q8_K y[at_once/Format::blocks];
            quantize_row_q8_K(x, y, count*k_block);
            for (int64_t b = 0; b < count; ++b) {
                const block_q8_K & of = y[b/Format::blocks];
                fill<Format>(out[b], of.qs + b%Format::blocks*k_block, of.d);
            }
        }
    }
}

} // namespace

#endif
