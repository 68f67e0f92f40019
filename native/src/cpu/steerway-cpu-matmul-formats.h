// The weight formats of the integer product: from ggml's blocks to those of a panel of rows, bytes without a sign.

#pragma once

#include "steerway-cpu-matmul-vector.h"

#ifdef STEERWAY_MATMUL

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

#include <cstring>

namespace {

// 32 weights of each row of a panel. w = d*(q - offset) + m; with two groups of 16, d of each and no m.
struct alignas(64) weight_block {
    uint8_t q[8][vector::rows][4];
    float   scales[2*vector::rows]; // every row's d, then every row's m or second d

    STEERWAY_INLINE float * first()              { return scales; }
    STEERWAY_INLINE float * second()             { return scales + vector::rows; }
    STEERWAY_INLINE const float * first() const  { return scales; }
    STEERWAY_INLINE const float * second() const { return scales + vector::rows; }
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

// The lower nibbles are a block's first 16 weights, the upper ones the others.
STEERWAY_INLINE void turn_nibbles(const uint8_t * row, size_t stride, vector::ints x[8]) {
    const auto nibble = vector::all(0x0f0f0f0f);
    turn(row, stride, x);
    for (int i = 0; i < 4; ++i) {
        x[i + 4] = vector::both(vector::right<4>(x[i]), nibble);
        x[i]     = vector::both(x[i], nibble);
    }
}

STEERWAY_INLINE void store(weight_block & block, const vector::ints x[8]) {
    for (int q = 0; q < 8; ++q) {
        vector::store(block.q[q], x[q]);
    }
}

// The f16 at the head of every row's block.
STEERWAY_INLINE vector::floats scales_of(const uint8_t * row, size_t stride) {
    vector::ints x[4];
    turn(row, stride, x);
    return vector::from_f16(x[0]);
}

enum class activations { q8_0, q8_1, q8_K }; // whose integers and scales ggml multiplies a format with

struct format_defaults {
    static constexpr activations with = activations::q8_0;
    static constexpr int  blocks      = 1;     // of 32 weights, in one of ggml's
    static constexpr int  groups      = 1;     // with a scale, in 32 weights
    static constexpr int  offset      = 0;
    static constexpr bool has_minimum = false;
    static constexpr bool is_signed   = false;
    // Without VNNI: so many sums of two products fit 16 bits together, 127*2*(largest weight)*pairs_fit < 32768.
    static constexpr int  pairs_fit   = 8;
};

struct q4_0_format : format_defaults {
    static constexpr int    offset = 8;
    static constexpr size_t bytes  = sizeof(block_q4_0);

    static STEERWAY_INLINE void expand(const uint8_t * row, size_t stride, weight_block * out) {
        vector::ints x[8];
        turn_nibbles(row + offsetof(block_q4_0, qs), stride, x);
        store(*out, x);
        vector::store(out->first(), scales_of(row, stride));
    }
};

struct q4_1_format : format_defaults {
    static constexpr activations with = activations::q8_1;
    static constexpr bool   has_minimum = true;
    static constexpr size_t bytes       = sizeof(block_q4_1);

    static STEERWAY_INLINE void expand(const uint8_t * row, size_t stride, weight_block * out) {
        vector::ints x[8];
        turn_nibbles(row + offsetof(block_q4_1, qs), stride, x);
        store(*out, x);
        turn(row, stride, x);
        vector::store(out->first(), vector::from_f16(x[0]));
        vector::store(out->second(), vector::from_f16(vector::right<16>(x[0])));
    }
};

struct q5_0_format : format_defaults {
    static constexpr int    offset    = 16;
    static constexpr int    pairs_fit = 4;
    static constexpr size_t bytes     = sizeof(block_q5_0);

    static STEERWAY_INLINE void expand(const uint8_t * row, size_t stride, weight_block * out) {
        vector::ints x[8];
        turn_nibbles(row + offsetof(block_q5_0, qs), stride, x);
        vector::ints head[4];
        turn(row, stride, head);
        const auto fifth = vector::either(vector::right<16>(head[0]), vector::left<16>(head[1])); // qh, behind 16 bits of d
        x[0] = vector::fifth_bit<0>(x[0], fifth);
        x[1] = vector::fifth_bit<1>(x[1], fifth);
        x[2] = vector::fifth_bit<2>(x[2], fifth);
        x[3] = vector::fifth_bit<3>(x[3], fifth);
        x[4] = vector::fifth_bit<4>(x[4], fifth);
        x[5] = vector::fifth_bit<5>(x[5], fifth);
        x[6] = vector::fifth_bit<6>(x[6], fifth);
        x[7] = vector::fifth_bit<7>(x[7], fifth);
        store(*out, x);
        vector::store(out->first(), vector::from_f16(head[0]));
    }
};

struct q8_0_format : format_defaults {
    static constexpr int    offset    = vector::vnni ? 128 : 0;
    static constexpr bool   is_signed = !vector::vnni;
    static constexpr int    pairs_fit = 1;
    static constexpr size_t bytes     = sizeof(block_q8_0);

    static STEERWAY_INLINE void expand(const uint8_t * row, size_t stride, weight_block * out) {
        vector::ints x[8];
        turn(row + offsetof(block_q8_0, qs), stride, x);
        turn(row + offsetof(block_q8_0, qs) + 16, stride, x + 4);
        const auto sign = vector::all((int32_t) (is_signed ? 0 : 0x80808080));
        for (int q = 0; q < 8; ++q) {
            x[q] = vector::differ(x[q], sign);
        }
        store(*out, x);
        vector::store(out->first(), scales_of(row, stride));
    }
};

// The formats of 256 weights: scales of 32 or 16 of them are integers, times one scale of all.
struct k_format : format_defaults {
    static constexpr activations with     = activations::q8_K;
    static constexpr int         blocks   = QK_K/32;
};

struct q4_k_format : k_format {
    static constexpr bool   has_minimum = true;
    static constexpr size_t bytes       = sizeof(block_q4_K);

    template<int Byte> static STEERWAY_INLINE vector::floats scale(vector::ints x, vector::floats d) {
        return vector::mul(vector::to_floats(vector::both(vector::right<8*Byte>(x), vector::all(0xff))), d);
    }
    template<int Byte> static STEERWAY_INLINE void store_scales(
            weight_block * out, const vector::ints d[2], const vector::ints m[2], vector::floats d_all, vector::floats m_all) {
        for (int half = 0; half < 2; ++half) {
            vector::store(out[4*half + Byte].first(), scale<Byte>(d[half], d_all));
            vector::store(out[4*half + Byte].second(), scale<Byte>(m[half], m_all));
        }
    }
    // As ggml's get_scale_min_k4: six bits of each, the upper two of the last four of them in the first four's bytes.
    static STEERWAY_INLINE void expand_scales(const uint8_t * row, size_t stride, weight_block * out) {
        vector::ints x[4];
        turn(row, stride, x);
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
    static STEERWAY_INLINE void expand(const uint8_t * row, size_t stride, weight_block * out) {
        expand_scales(row, stride, out);
        const auto nibble = vector::all(0x0f0f0f0f);
        for (int pair = 0; pair < 4; ++pair) {
            const uint8_t * q = row + offsetof(block_q4_K, qs) + 32*pair;
            vector::ints x[8];
            turn(q, stride, x);
            turn(q + 16, stride, x + 4);
            for (int i = 0; i < 8; ++i) {
                vector::store(out[2*pair].q[i], vector::both(x[i], nibble));
                vector::store(out[2*pair + 1].q[i], vector::both(vector::right<4>(x[i]), nibble));
            }
        }
    }
};

struct q6_k_format : k_format {
    static constexpr int    groups    = 2;
    static constexpr int    offset    = 32;
    static constexpr int    pairs_fit = 2;
    static constexpr size_t bytes     = sizeof(block_q6_K);

    template<int Byte> static STEERWAY_INLINE vector::floats scale(vector::ints x, vector::floats d) {
        return vector::mul(vector::to_floats(vector::signed_right<24>(vector::left<24 - 8*Byte>(x))), d);
    }
    static STEERWAY_INLINE void expand_scales(const uint8_t * row, size_t stride, weight_block * out) {
        vector::ints x[4];
        turn(row + sizeof(block_q6_K) - 16, stride, x); // the last two bytes are d
        const auto d = vector::from_f16(vector::right<16>(x[3]));
        turn(row + offsetof(block_q6_K, scales), stride, x);
        for (int i = 0; i < 4; ++i) {
            vector::store(out[2*i].first(), scale<0>(x[i], d));
            vector::store(out[2*i].second(), scale<1>(x[i], d));
            vector::store(out[2*i + 1].first(), scale<2>(x[i], d));
            vector::store(out[2*i + 1].second(), scale<3>(x[i], d));
        }
    }
    // 32 weights: four bits of each in the lower or the upper half of `low`, two of each from bit 2*Part of `high` on.
    template<int Part> static STEERWAY_INLINE void store_part(const vector::ints low[8], const vector::ints high[8], weight_block & out) {
        for (int i = 0; i < 8; ++i) {
            const auto two = vector::both(Part < 2 ? vector::left<Part < 2 ? 4 - 2*Part : 0>(high[i])
                : vector::right<Part < 2 ? 0 : 2*Part - 4>(high[i]), vector::all(0x30303030));
            const auto four = vector::both(vector::right<Part < 2 ? 0 : 4>(low[i]), vector::all(0x0f0f0f0f));
            vector::store(out.q[i], vector::either(four, two));
        }
    }
    static STEERWAY_INLINE void expand(const uint8_t * row, size_t stride, weight_block * out) {
        expand_scales(row, stride, out);
        for (int half = 0; half < 2; ++half) {
            const uint8_t * ql = row + offsetof(block_q6_K, ql) + 64*half;
            const uint8_t * qh = row + offsetof(block_q6_K, qh) + 32*half;
            vector::ints low[16], high[8];
            for (int i = 0; i < 4; ++i) {
                turn(ql + 16*i, stride, low + 4*i);
            }
            turn(qh, stride, high);
            turn(qh + 16, stride, high + 4);
            store_part<0>(low, high, out[4*half]);
            store_part<1>(low + 8, high, out[4*half + 1]);
            store_part<2>(low, high, out[4*half + 2]);
            store_part<3>(low + 8, high, out[4*half + 3]);
        }
    }
};

} // namespace

#endif
