// The weight formats of the integer product: from ggml's blocks to those of a panel of rows, bytes without a sign. The blocks
// are read from rows as ggml has them, or from tiles in which the rows are interleaved (steerway-cpu-packed-layout.h).

#pragma once

#include "steerway-cpu-matmul-vector.h"

#ifdef STEERWAY_MATMUL

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

#include <cstring>

namespace {

// d of every row, then m or the second group's d.
struct block_scales {
    vector::floats first, second;
};

// 32 weights of each row of a panel. w = d*(q - offset) + m; with two groups of 16, d of each and no m.
struct alignas(64) weight_block {
    vector::ints q[8]; // a lane a row, each with four weights
    block_scales scales;
};

// 16 bytes of every row, turned: x[i] has bytes 4*i .. 4*i + 4, a lane a row.
STEERWAY_INLINE void turn(const uint8_t * row, size_t stride, vector::ints x[4]) {
    const auto r0 = vector::gather(row, stride);
    const auto r1 = vector::gather(row + stride, stride);
    const auto r2 = vector::gather(row + 2*stride, stride);
    const auto r3 = vector::gather(row + 3*stride, stride);
    const auto a = vector::low32(r0, r1), b = vector::high32(r0, r1);
    const auto c = vector::low32(r2, r3), d = vector::high32(r2, r3);
    x[0] = vector::low64(a, c);
    x[1] = vector::high64(a, c);
    x[2] = vector::low64(b, d);
    x[3] = vector::high64(b, d);
}

// A block of every row of a panel, where rows lie as ggml has them. `Offset` is that in ggml's block.
struct row_source {
    const uint8_t * row;
    size_t          stride;

    template<int Offset> STEERWAY_INLINE void four_words(vector::ints x[4]) const { turn(row + Offset, stride, x); }

    // Of the block's first 16 bytes.
    template<int Offset> STEERWAY_INLINE vector::ints word() const {
        vector::ints x[4];
        turn(row, stride, x);
        if constexpr (Offset % 4 == 0) {
            return x[Offset/4];
        } else {
            return vector::either(vector::right<16>(x[Offset/4]), vector::left<16>(x[Offset/4 + 1]));
        }
    }

    // At the block's start, or at its end with 14 bytes before it.
    template<int Offset> STEERWAY_INLINE vector::floats half() const {
        vector::ints x[4];
        turn(row + (Offset == 0 ? 0 : Offset - 14), stride, x);
        return vector::from_f16(Offset == 0 ? x[0] : vector::right<16>(x[3]));
    }
};

enum class activations { q8_0, q8_1, q8_K }; // whose integers and scales ggml multiplies a format with

struct format_defaults {
    static constexpr activations with = activations::q8_0;
    static constexpr int  blocks      = 1;     // of 32 weights, in one of ggml's
    static constexpr int  together    = 1;     // blocks of 32 whose weights lie in the same bytes
    static constexpr int  groups      = 1;     // with a scale, in 32 weights
    static constexpr int  offset      = 0;
    static constexpr int  half        = 0;     // where in ggml's block the one f16 is that stands alone, -1 for none
    static constexpr bool has_minimum = false;
    static constexpr bool is_signed   = false;
    static constexpr bool is_sparse   = false;
    // Without dot(): so many sums of two products fit 16 bits together, 127*2*(largest weight)*pairs_fit < 32768.
    static constexpr int  pairs_fit   = 8;
};

// The lower nibbles are a block's first 16 weights, the upper ones the others.
template<int Offset, typename Source> STEERWAY_INLINE void nibbles(const Source & source, vector::ints q[8]) {
    const auto nibble = vector::all(0x0f0f0f0f);
    source.template four_words<Offset>(q);
    for (int i = 0; i < 4; ++i) {
        q[i + 4] = vector::both(vector::right<4>(q[i]), nibble);
        q[i]     = vector::both(q[i], nibble);
    }
}

struct q4_0_format : format_defaults {
    static constexpr int    offset = 8;
    static constexpr size_t bytes  = sizeof(block_q4_0);

    template<typename Source> static STEERWAY_INLINE void scales(const Source & source, block_scales out[]) {
        out->first = source.template half<0>();
    }
    template<int Block, typename Source> static STEERWAY_INLINE void weights(const Source & source, vector::ints q[8]) {
        nibbles<offsetof(block_q4_0, qs)>(source, q);
    }
};

struct q4_1_format : format_defaults {
    static constexpr activations with = activations::q8_1;
    static constexpr int    half        = -1;
    static constexpr bool   has_minimum = true;
    static constexpr size_t bytes       = sizeof(block_q4_1);

    template<typename Source> static STEERWAY_INLINE void scales(const Source & source, block_scales out[]) {
        const auto both = source.template word<0>();
        out->first  = vector::from_f16(both);
        out->second = vector::from_f16(vector::right<16>(both));
    }
    template<int Block, typename Source> static STEERWAY_INLINE void weights(const Source & source, vector::ints q[8]) {
        nibbles<offsetof(block_q4_1, qs)>(source, q);
    }
};

struct q5_0_format : format_defaults {
    static constexpr int    offset    = 16;
    static constexpr int    pairs_fit = 4;
    static constexpr size_t bytes     = sizeof(block_q5_0);

    template<typename Source> static STEERWAY_INLINE void scales(const Source & source, block_scales out[]) {
        out->first = source.template half<0>();
    }
    template<int Block, typename Source> static STEERWAY_INLINE void weights(const Source & source, vector::ints q[8]) {
        const auto fifth = source.template word<offsetof(block_q5_0, qh)>();
        nibbles<offsetof(block_q5_0, qs)>(source, q);
        q[0] = vector::fifth_bit<0>(q[0], fifth);
        q[1] = vector::fifth_bit<1>(q[1], fifth);
        q[2] = vector::fifth_bit<2>(q[2], fifth);
        q[3] = vector::fifth_bit<3>(q[3], fifth);
        q[4] = vector::fifth_bit<4>(q[4], fifth);
        q[5] = vector::fifth_bit<5>(q[5], fifth);
        q[6] = vector::fifth_bit<6>(q[6], fifth);
        q[7] = vector::fifth_bit<7>(q[7], fifth);
    }
};

struct q8_0_format : format_defaults {
    static constexpr int    offset    = vector::has_dot && !vector::signed_dot ? 128 : 0;
    static constexpr bool   is_signed = offset == 0;
    static constexpr int    pairs_fit = 1;
    static constexpr size_t bytes     = sizeof(block_q8_0);

    template<typename Source> static STEERWAY_INLINE void scales(const Source & source, block_scales out[]) {
        out->first = source.template half<0>();
    }
    template<int Block, typename Source> static STEERWAY_INLINE void weights(const Source & source, vector::ints q[8]) {
        source.template four_words<offsetof(block_q8_0, qs)>(q);
        source.template four_words<offsetof(block_q8_0, qs) + 16>(q + 4);
        const auto sign = vector::all((int32_t) (is_signed ? 0 : 0x80808080));
        for (int i = 0; i < 8; ++i) {
            q[i] = vector::differ(q[i], sign);
        }
    }
};

// The formats of 256 weights: scales of 32 or 16 of them are integers, times one scale of all.
struct k_format : format_defaults {
    static constexpr activations with     = activations::q8_K;
    static constexpr int         blocks   = QK_K/32;
};

struct q4_k_format : k_format {
    static constexpr int    together    = 2;
    static constexpr int    half        = -1;
    static constexpr bool   has_minimum = true;
    static constexpr size_t bytes       = sizeof(block_q4_K);

    template<int Byte> static STEERWAY_INLINE vector::floats scale(vector::ints x, vector::floats d) {
        return vector::mul(vector::to_floats(vector::both(vector::right<8*Byte>(x), vector::all(0xff))), d);
    }
    template<int Byte> static STEERWAY_INLINE void store_scales(
            block_scales out[], const vector::ints d[2], const vector::ints m[2], vector::floats d_all, vector::floats m_all) {
        for (int half = 0; half < 2; ++half) {
            out[4*half + Byte] = { scale<Byte>(d[half], d_all), scale<Byte>(m[half], m_all) };
        }
    }
    // As ggml's get_scale_min_k4: six bits of each, the upper two of the last four of them in the first four's bytes.
    template<typename Source> static STEERWAY_INLINE void scales(const Source & source, block_scales out[]) {
        vector::ints x[4];
        source.template four_words<0>(x);
        const auto six = vector::all(0x3f3f3f3f), four = vector::all(0x0f0f0f0f), upper = vector::all(0x30303030);
        const vector::ints d[2] = { vector::both(x[1], six),
            vector::either(vector::both(x[3], four), vector::both(vector::right<2>(x[1]), upper)) };
        const vector::ints m[2] = { vector::both(x[2], six),
            vector::either(vector::both(vector::right<4>(x[3]), four), vector::both(vector::right<2>(x[2]), upper)) };
        const auto d_all = vector::from_f16(x[0]);
        const auto m_all = vector::mul(vector::from_f16(vector::right<16>(x[0])), vector::all(-1.0f));
        store_scales<0>(out, d, m, d_all, m_all);
        store_scales<1>(out, d, m, d_all, m_all);
        store_scales<2>(out, d, m, d_all, m_all);
        store_scales<3>(out, d, m, d_all, m_all);
    }
    template<int Block, typename Source> static STEERWAY_INLINE void weights(const Source & source, vector::ints q[8]) {
        constexpr int at = offsetof(block_q4_K, qs) + Block/2*32;
        source.template four_words<at>(q);
        source.template four_words<at + 16>(q + 4);
        for (int i = 0; i < 8; ++i) {
            q[i] = vector::both(vector::right<Block % 2*4>(q[i]), vector::all(0x0f0f0f0f));
        }
    }
};

struct q6_k_format : k_format {
    static constexpr int    together  = 4;
    static constexpr int    groups    = 2;
    static constexpr int    offset    = 32;
    static constexpr int    half      = offsetof(block_q6_K, d);
    static constexpr int    pairs_fit = 2;
    static constexpr size_t bytes     = sizeof(block_q6_K);

    template<int Byte> static STEERWAY_INLINE vector::floats scale(vector::ints x, vector::floats d) {
        return vector::mul(vector::to_floats(vector::signed_right<24>(vector::left<24 - 8*Byte>(x))), d);
    }
    template<typename Source> static STEERWAY_INLINE void scales(const Source & source, block_scales out[]) {
        const auto d = source.template half<offsetof(block_q6_K, d)>();
        vector::ints x[4];
        source.template four_words<offsetof(block_q6_K, scales)>(x);
        for (int i = 0; i < 4; ++i) {
            out[2*i]     = { scale<0>(x[i], d), scale<1>(x[i], d) };
            out[2*i + 1] = { scale<2>(x[i], d), scale<3>(x[i], d) };
        }
    }
    // 32 weights: four bits of each in the lower or the upper half of `low`, two of each from bit 2*Part of `high` on.
    template<int Part> static STEERWAY_INLINE vector::ints part(vector::ints low, vector::ints high) {
        const auto two = vector::both(Part < 2 ? vector::left<Part < 2 ? 4 - 2*Part : 0>(high)
            : vector::right<Part < 2 ? 0 : 2*Part - 4>(high), vector::all(0x30303030));
        return vector::either(vector::both(vector::right<Part < 2 ? 0 : 4>(low), vector::all(0x0f0f0f0f)), two);
    }
    template<int Block, typename Source> static STEERWAY_INLINE void weights(const Source & source, vector::ints q[8]) {
        constexpr int low_at  = offsetof(block_q6_K, ql) + Block/4*64 + Block % 2*32;
        constexpr int high_at = offsetof(block_q6_K, qh) + Block/4*32;
        vector::ints high[8];
        source.template four_words<low_at>(q);
        source.template four_words<low_at + 16>(q + 4);
        source.template four_words<high_at>(high);
        source.template four_words<high_at + 16>(high + 4);
        for (int i = 0; i < 8; ++i) {
            q[i] = part<Block % 4>(q[i], high[i]);
        }
    }
};

// The weights of blocks First .. First + N - 1 of a block of ggml's.
template<typename Format, int First, int N, typename Source>
STEERWAY_INLINE void weights_of(const Source & source, vector::ints q[][8]) {
    if constexpr (N > 0) {
        Format::template weights<First>(source, q[0]);
        weights_of<Format, First + 1, N - 1>(source, q + 1);
    }
}

template<typename Format, int First, typename Source>
STEERWAY_INLINE void expand_blocks(const Source & source, const block_scales scales[], weight_block * out) {
    if constexpr (First < Format::blocks) {
        vector::ints q[Format::together][8]; // before anything is written, so that what they share is read once
        weights_of<Format, First, Format::together>(source, q);
#pragma GCC unroll 4
        for (int i = 0; i < Format::together; ++i) {
#pragma GCC unroll 8
            for (int j = 0; j < 8; ++j) {
                out[First + i].q[j] = q[i][j];
            }
            out[First + i].scales = scales[First + i];
        }
        expand_blocks<Format, First + Format::together>(source, scales, out);
    }
}

// One of ggml's blocks of every row of a panel.
template<typename Format, typename Source>
STEERWAY_INLINE void expand_block(const Source & source, weight_block * out) {
    block_scales scales[Format::blocks];
    Format::scales(source, scales);
    expand_blocks<Format, 0>(source, scales, out);
}

} // namespace

#endif
