// Packed weights: tiles of 16 rows, in which the rows' blocks are interleaved in words of four bytes, so that a vector loaded
// from a tile has a row in each lane. The same bits as in the file, in another order: packing can be undone exactly.
//
// A tile is a row of units. A unit is two of ggml's blocks of each row: 16 f16 of the first, 16 f16 of the second, then the
// lines (64 bytes, word k of all rows) of the first and of the second. So lines are aligned. A format without an f16 of its own
// has units of one block, and an odd last block is a unit of its own, with 32 bytes in front. Tiles begin at multiples of 64.

#pragma once

#include "steerway-cpu-matmul-formats.h"

#ifdef STEERWAY_MATMUL

#include "steerway/steerway-types.h"

namespace {

constexpr int    k_tile_rows  = 16;
constexpr size_t k_line_bytes = 64;

// The words of a block of ggml's, without the f16 that stands alone.
template<typename Format> struct words_of {
    static constexpr size_t half_bytes = Format::half >= 0 ? sizeof(ggml_half) : 0;
    static constexpr size_t n          = (Format::bytes - half_bytes)/4;

    static void pack(const uint8_t * block, uint32_t words[n]) {
        constexpr size_t before = Format::half > 0 ? Format::half : 0; // bytes in front of the f16
        std::memcpy(words, block, before);
        std::memcpy((uint8_t *) words + before, block + before + half_bytes, 4*n - before);
    }
    static void unpack(const uint32_t words[n], uint8_t * block) {
        constexpr size_t before = Format::half > 0 ? Format::half : 0;
        std::memcpy(block, words, before);
        std::memcpy(block + before + half_bytes, (const uint8_t *) words + before, 4*n - before);
    }
};

// Where a block of 16 rows lies, or of the rows of a panel from `Row` on.
struct block_place {
    const uint8_t * halves;
    const uint8_t * lines;
};

template<typename Format> struct tile_layout {
    static constexpr size_t n_words     = words_of<Format>::n;
    static constexpr bool   has_half    = Format::half >= 0;
    static constexpr size_t half_bytes  = has_half ? k_tile_rows*sizeof(ggml_half) : 0;
    static constexpr size_t line_bytes  = n_words*k_line_bytes; // of a block's lines
    static constexpr size_t block_bytes = half_bytes + line_bytes;
    static constexpr int    unit        = has_half ? 2 : 1;     // blocks

    // For rows of n of ggml's blocks.
    static size_t tile_bytes(int64_t n) { return GGML_PAD(n*block_bytes, k_line_bytes); }
    static size_t bytes(int64_t n_rows, int64_t n) { return (n_rows + k_tile_rows - 1)/k_tile_rows*tile_bytes(n); }

    static block_place place(const uint8_t * tile, int64_t i, int64_t n) {
        if (!has_half) {
            return { nullptr, tile + i*block_bytes };
        }
        const uint8_t * unit_at = tile + i/2*2*block_bytes;
        if (i + 1 == n && i % 2 == 0) {
            return { unit_at, unit_at + half_bytes };
        }
        return { unit_at + i%2*half_bytes, unit_at + 2*half_bytes + i%2*line_bytes };
    }
};

// Rows of n blocks, `n_rows` of them (at most 16), to a tile; rows behind them are zeros.
template<typename Format> void pack_tile(const uint8_t * rows, int64_t n_rows, int64_t n, uint8_t * tile) {
    using layout = tile_layout<Format>;
    std::memset(tile, 0, layout::tile_bytes(n));
    for (int64_t i = 0; i < n; ++i) {
        const auto at = layout::place(tile, i, n);
        for (int64_t r = 0; r < n_rows; ++r) {
            const uint8_t * block = rows + (r*n + i)*Format::bytes;
            uint32_t words[layout::n_words];
            words_of<Format>::pack(block, words);
            for (size_t k = 0; k < layout::n_words; ++k) {
                std::memcpy(const_cast<uint8_t *>(at.lines) + k*k_line_bytes + 4*r, &words[k], 4);
            }
            if (layout::has_half) {
                std::memcpy(const_cast<uint8_t *>(at.halves) + 2*r, block + Format::half, 2);
            }
        }
    }
}

// The other way round.
template<typename Format> void unpack_tile(const uint8_t * tile, int64_t n_rows, int64_t n, uint8_t * rows) {
    using layout = tile_layout<Format>;
    for (int64_t i = 0; i < n; ++i) {
        const auto at = layout::place(tile, i, n);
        for (int64_t r = 0; r < n_rows; ++r) {
            uint8_t * block = rows + (r*n + i)*Format::bytes;
            uint32_t words[layout::n_words];
            for (size_t k = 0; k < layout::n_words; ++k) {
                std::memcpy(&words[k], at.lines + k*k_line_bytes + 4*r, 4);
            }
            words_of<Format>::unpack(words, block);
            if (layout::has_half) {
                std::memcpy(block + Format::half, at.halves + 2*r, 2);
            }
        }
    }
}

// A block of every row of a panel, in a tile. `Offset` is that in ggml's block.
template<typename Format> struct tile_source {
    const uint8_t * halves; // of the panel's rows
    const uint8_t * lines;

    template<int Offset> static constexpr size_t line_at() {
        return (Offset - (Format::half >= 0 && Format::half < Offset ? 2 : 0))/4*k_line_bytes;
    }
    template<int Offset> STEERWAY_INLINE void four_words(vector::ints x[4]) const {
        for (int i = 0; i < 4; ++i) {
            x[i] = vector::load(lines + line_at<Offset>() + i*k_line_bytes);
        }
    }
    template<int Offset> STEERWAY_INLINE vector::ints word() const { return vector::load(lines + line_at<Offset>()); }
    template<int Index> STEERWAY_INLINE vector::ints line() const { return vector::load(lines + Index*k_line_bytes); }
    template<int Offset> STEERWAY_INLINE vector::floats half() const { return vector::load_f16(halves); }
};

} // namespace

#endif
