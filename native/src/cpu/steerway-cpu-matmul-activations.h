// Activations of the integer product: ggml's own 8-bit blocks, arranged for reading four bytes at a time.

#pragma once

#include "quants.h"
#include "steerway-cpu-matmul-formats.h"

#ifdef STEERWAY_MATMUL

#include <algorithm>

namespace {

constexpr int64_t k_block      = 32;
constexpr size_t  k_cache_line = 64;

struct activation_block {
    int8_t q[k_block];
    float  d;
    union {
        int32_t start[2]; // of a group: -offset * sum of q, so that the weights' offset is gone before it is added
        float   s;        // d * sum of q, for formats with a minimum
    };
};

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
    if (Format::is_sparse && vector::signed_dot) {
        return;
    }
    if (Format::is_sparse) {
        for (int i = 0; i < k_block; ++i) {
            out.q[i] = (int8_t) (q[i] ^ 0x80); // + 128, without a sign
        }
        return;
    }
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

struct shape {
    int64_t n_rows, n_columns, n_blocks;
};

inline shape shape_of(const ggml_tensor * op) {
    return { op->src[0]->ne[1], op->src[1]->ne[1], op->src[0]->ne[0]/k_block };
}

inline size_t activation_bytes(const shape & s) {
    return GGML_PAD(s.n_columns*s.n_blocks*sizeof(activation_block), k_cache_line);
}

// This thread's part of all columns' blocks.
template<typename Format>
void quantise_part(const ggml_compute_params * params, const ggml_tensor * src, const shape & s, activation_block * out) {
    const int64_t per_column = s.n_blocks/Format::blocks;
    const int64_t total      = s.n_columns*per_column;
    const int64_t end        = total*(params->ith + 1)/params->nth;
    for (int64_t i = total*params->ith/params->nth; i < end; ) {
        const int64_t column = i/per_column, at = i%per_column;
        const int64_t n = std::min(per_column - at, end - i);
        const auto * x = (const float *) ((const char *) src->data + column*src->nb[1]);
        quantise<Format>(x + at*Format::blocks*k_block, n*Format::blocks, out + i*Format::blocks);
        i += n;
    }
}

} // namespace

#endif
