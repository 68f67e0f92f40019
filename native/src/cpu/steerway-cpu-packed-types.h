// Steerway's own weight types in tiles: 2:4 sparse INT4, and INT3.

#pragma once

#include "steerway-cpu-packed-layout.h"

#ifdef STEERWAY_MATMUL

namespace {

// Dense INT3. 32 weights are three lines: byte j of a row's word has weight j of a group of eight fours,
//   line 0: q(0 + j) | q(4 + j) << 3 | lower two bits of q(24 + j) << 6
//   line 1: q(8 + j) | q(12 + j) << 3 | lower two bits of q(28 + j) << 6
//   line 2: q(16 + j) | q(20 + j) << 3 | third bit of q(24 + j) << 6 | third bit of q(28 + j) << 7
struct i3_0_format : format_defaults {
    static constexpr int    offset = 4;
    static constexpr int    blocks = 2;
    static constexpr size_t bytes  = sizeof(block_i3_0);

    template<typename Source> static STEERWAY_INLINE void scales(const Source & source, block_scales out[]) {
        out[0].first = out[1].first = source.template half<0>();
    }
    template<int Block, typename Source> static STEERWAY_INLINE void weights(const Source & source, vector::ints q[8]) {
        const auto seven = vector::all(0x07070707), three = vector::all(0x03030303), four = vector::all(0x04040404);
        const auto a = source.template line<3*Block>(), b = source.template line<3*Block + 1>(), c = source.template line<3*Block + 2>();
        q[0] = vector::both(a, seven);
        q[1] = vector::both(vector::right<3>(a), seven);
        q[2] = vector::both(b, seven);
        q[3] = vector::both(vector::right<3>(b), seven);
        q[4] = vector::both(c, seven);
        q[5] = vector::both(vector::right<3>(c), seven);
        q[6] = vector::pick(vector::right<6>(a), three, vector::both(vector::right<4>(c), four));
        q[7] = vector::pick(vector::right<6>(b), three, vector::both(vector::right<5>(c), four));
    }
};

template<> struct words_of<i3_0_format> {
    static constexpr size_t n = 6;

    static int weight(const block_i3_0 & block, int k) {
        return ((block.ql[k/4] >> 2*(k % 4)) & 3) | ((block.qh[k/8] >> k % 8) & 1) << 2;
    }
    static void pack(const uint8_t * from, uint32_t words[n]) {
        const auto & block = *(const block_i3_0 *) from;
        for (int half = 0; half < 2; ++half) {
            uint8_t lines[3][4];
            for (int j = 0; j < 4; ++j) {
                const auto q = [&](int four) { return weight(block, 32*half + 4*four + j); };
                lines[0][j] = (uint8_t) (q(0) | q(1) << 3 | (q(6) & 3) << 6);
                lines[1][j] = (uint8_t) (q(2) | q(3) << 3 | (q(7) & 3) << 6);
                lines[2][j] = (uint8_t) (q(4) | q(5) << 3 | q(6) >> 2 << 6 | q(7) >> 2 << 7);
            }
            std::memcpy(words + 3*half, lines, sizeof(lines));
        }
    }
    static void unpack(const uint32_t words[n], uint8_t * to) {
        auto & block = *(block_i3_0 *) to;
        std::memset(block.ql, 0, sizeof(block.ql));
        std::memset(block.qh, 0, sizeof(block.qh));
        for (int half = 0; half < 2; ++half) {
            uint8_t x[3][4];
            std::memcpy(x, words + 3*half, sizeof(x));
            for (int j = 0; j < 4; ++j) {
                const int q[8] = {
                    x[0][j] & 7, x[0][j] >> 3 & 7, x[1][j] & 7, x[1][j] >> 3 & 7, x[2][j] & 7, x[2][j] >> 3 & 7,
                    x[0][j] >> 6 | (x[2][j] >> 4 & 4), x[1][j] >> 6 | (x[2][j] >> 5 & 4),
                };
                for (int four = 0; four < 8; ++four) {
                    const int k = 32*half + 4*four + j;
                    block.ql[k/4] |= (uint8_t) ((q[four] & 3) << 2*(k % 4));
                    block.qh[k/8] |= (uint8_t) (q[four] >> 2 << k % 8);
                }
            }
        }
    }
};

// 2:4 sparse INT4. 32 weights are eight groups of 4, of which four pairs; they are three lines. Byte j of a row's word has the
// kept weight j of a pair (j/2 is the group, j%2 which of the two):
//   line 0: index, of pair p in bits 2*p and 2*p + 1
//   line 1: nibble of pair 0 | of pair 1 << 4
//   line 2: nibble of pair 2 | of pair 3 << 4
// The activations of a pair, 8 bytes, are a table that the indices gather from. Where only one factor of dot() has a sign, they
// are without (+ 128) and the weights with one: the correction is then -128*sum of weights, once for all columns.
struct s24_0_format : format_defaults {
    static constexpr int    blocks    = 2;
    static constexpr bool   is_sparse = true;
    static constexpr size_t bytes     = sizeof(block_s24_0);
    static constexpr int    shift     = vector::has_dot ? 4 : 0; // weights are times 16, in the upper half of a byte

    struct kept {
        vector::ints at[4], weights[4], start;
    };

    template<typename Source> static STEERWAY_INLINE void scales(const Source & source, block_scales out[]) {
        out[0].first = out[1].first = source.template half<0>();
    }
    static STEERWAY_INLINE vector::ints lower(vector::ints x) {
        return upper(vector::left<4>(x));
    }
    // n - 8 of the upper nibbles, times 16 or, for sums of 16 bits, as it is.
    static STEERWAY_INLINE vector::ints upper(vector::ints x) {
        if constexpr (vector::has_dot) {
            return vector::pick(x, vector::all((int32_t) 0xf0f0f0f0), vector::all((int32_t) 0x80808080));
        } else {
            return vector::subtract_bytes(vector::both(vector::right<4>(x), vector::all(0x0f0f0f0f)), vector::all(0x08080808));
        }
    }
    template<int Block, typename Source> static STEERWAY_INLINE void load(const Source & source, kept & out) {
        const auto index = source.template line<3*Block>();
        const auto a = source.template line<3*Block + 1>(), b = source.template line<3*Block + 2>();
        kept_places(index, out.at);
        out.weights[0] = lower(a);
        out.weights[1] = upper(a);
        out.weights[2] = lower(b);
        out.weights[3] = upper(b);
        out.start = vector::all(0);
        if (!vector::signed_dot) {
            out.start = vector::subtract(out.start, products(out.weights, [](int) { return vector::all((int32_t) 0x80808080); }, vector::all(0)));
        }
    }
    // sum + the products of four vectors, `first(p)` and `second[p]`.
    template<typename First>
    static STEERWAY_INLINE vector::ints products(const vector::ints second[4], const First & first, vector::ints sum) {
#ifdef STEERWAY_MATMUL_DOT
        for (int p = 0; p < 4; ++p) {
            sum = vector::dot(sum, first(p), second[p]);
        }
        return sum;
#else
        auto pairs = vector::pairs<false>(first(0), second[0]);
        for (int p = 1; p < 4; ++p) {
            pairs = vector::add_pairs(pairs, vector::pairs<false>(first(p), second[p]));
        }
        return vector::add(sum, vector::widen(pairs));
#endif
    }
    static STEERWAY_INLINE vector::ints dot(const kept & k, const int8_t * activations) {
        const auto gathered = [&](int p) {
            int64_t eight;
            std::memcpy(&eight, activations + 8*p, sizeof(eight));
            return vector::shuffle(vector::all(eight), k.at[p]);
        };
        return vector::template signed_right<shift>(products(k.weights, gathered, k.start));
    }
};

// The same with the zeros written out, for many columns: a column then takes 8 products and no gathering, instead of 4 and 4.
struct s24_0_dense_format : format_defaults {
    static constexpr int    offset = 8;
    static constexpr int    blocks = 2;
    static constexpr size_t bytes  = sizeof(block_s24_0);

    template<typename Source> static STEERWAY_INLINE void scales(const Source & source, block_scales out[]) {
        out[0].first = out[1].first = source.template half<0>();
    }
    // Byte `Kept` of each word, at the place of the four that byte `Kept` of `at` says; elsewhere what `others` has.
    template<int Kept> static STEERWAY_INLINE vector::ints put(vector::ints at, vector::ints weights, vector::ints others) {
        const auto all_four = vector::all_four<Kept>();
        return vector::where_equal(vector::shuffle(at, all_four), vector::all(0x03020100), vector::shuffle(weights, all_four), others);
    }
    template<int Pair> static STEERWAY_INLINE void put_pair(vector::ints index, vector::ints nibbles, vector::ints q[8]) {
        const auto zero    = vector::all(0x08080808);
        const auto at      = vector::both(vector::right<2*Pair>(index), vector::all(0x03030303));
        const auto weights = vector::both(vector::right<Pair % 2*4>(nibbles), vector::all(0x0f0f0f0f));
        q[2*Pair]     = put<1>(at, weights, put<0>(at, weights, zero));
        q[2*Pair + 1] = put<3>(at, weights, put<2>(at, weights, zero));
    }
    template<int Block, typename Source> static STEERWAY_INLINE void weights(const Source & source, vector::ints q[8]) {
        const auto index = source.template line<3*Block>();
        const auto a = source.template line<3*Block + 1>(), b = source.template line<3*Block + 2>();
        put_pair<0>(index, a, q);
        put_pair<1>(index, a, q);
        put_pair<2>(index, b, q);
        put_pair<3>(index, b, q);
    }
};

template<> struct words_of<s24_0_format> {
    static constexpr size_t n = 6;

    // Field j of the four bytes at `from`, as byte j: rows and columns of 4 by 4 two-bit fields change places.
    static uint32_t turned(const uint8_t * from) {
        uint32_t word = 0;
        for (int j = 0; j < 4; ++j) {
            for (int p = 0; p < 4; ++p) {
                word |= (uint32_t) (from[p] >> 2*j & 3) << (8*j + 2*p);
            }
        }
        return word;
    }
    static void pack(const uint8_t * from, uint32_t words[n]) {
        const auto & block = *(const block_s24_0 *) from;
        for (int half = 0; half < 2; ++half) {
            words[3*half] = turned(block.meta + 4*half);
            for (int line = 0; line < 2; ++line) {
                uint32_t word = 0;
                for (int j = 0; j < 4; ++j) {
                    const uint8_t * q = block.qs + 8*half + 4*line + j/2;
                    word |= (uint32_t) ((q[0] >> 4*(j % 2) & 15) | (q[2] >> 4*(j % 2) & 15) << 4) << 8*j;
                }
                words[3*half + 1 + line] = word;
            }
        }
    }
    static void unpack(const uint32_t words[n], uint8_t * to) {
        auto & block = *(block_s24_0 *) to;
        std::memset(block.qs, 0, sizeof(block.qs));
        for (int half = 0; half < 2; ++half) {
            const uint32_t meta = turned((const uint8_t *) (words + 3*half));
            std::memcpy(block.meta + 4*half, &meta, sizeof(meta));
            for (int line = 0; line < 2; ++line) {
                for (int j = 0; j < 4; ++j) {
                    const uint8_t byte = (uint8_t) (words[3*half + 1 + line] >> 8*j);
                    uint8_t * q = block.qs + 8*half + 4*line + j/2;
                    q[0] |= (uint8_t) ((byte & 15) << 4*(j % 2));
                    q[2] |= (uint8_t) (byte >> 4 << 4*(j % 2));
                }
            }
        }
    }
};

} // namespace

#endif
