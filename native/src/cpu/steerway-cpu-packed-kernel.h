// Products straight from packed tiles: weights go from memory to registers and are multiplied there, by a few columns at once.
// The sums are those of steerway-cpu-matmul-kernel.h, in the same order, so that the bits are the same.

#pragma once

#include "steerway-cpu-matmul-kernel.h"
#include "steerway-cpu-packed-types.h"

#ifdef STEERWAY_MATMUL

namespace {

constexpr int k_most_columns = vector::held;

// Which memory is read next: lines so far ahead are fetched while those here are multiplied. Behind the end of what this thread
// reads now, those of its next turn.
struct stream {
    static constexpr ptrdiff_t distance = 4096; // bytes

    const uint8_t * end;
    ptrdiff_t       jump; // from `end` to the start of the next turn

    STEERWAY_INLINE const uint8_t * ahead_of(const uint8_t * at) const {
        const uint8_t * ahead = at + distance;
        return ahead >= end ? ahead + jump : ahead;
    }
};

// Part I of N of the lines of `Bytes` bytes.
template<size_t Bytes, size_t I, size_t N> STEERWAY_INLINE void fetch_part(const uint8_t * ahead) {
    constexpr size_t lines = (Bytes + k_line_bytes - 1)/k_line_bytes;
#pragma GCC unroll 16
    for (size_t i = lines*I/N; i < lines*(I + 1)/N; ++i) {
        prefetch_near(ahead + i*k_line_bytes);
    }
}

struct columns {
    const activation_block * blocks;
    int64_t                  stride;     // blocks, from one column to the next
    float *                  out;
    size_t                   out_stride; // floats
    int                      n_rows;     // of the panel
};

template<typename Format, int Block, int Columns>
STEERWAY_INLINE void add_sparse(
        const tile_source<Format> & source, vector::floats d, const activation_block * const (&a)[Columns], vector::floats (&sums)[1][Columns]) {
    typename Format::kept kept;
    Format::template load<Block>(source, kept);
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) {
        const auto x = Format::dot(kept, a[c]->q);
        sums[0][c] = vector::fma(vector::to_floats(x), vector::mul(d, vector::all(a[c]->d)), sums[0][c]);
    }
}

// The blocks of 32 from `Block` on of one of ggml's, which is the first or the second of its unit.
template<typename Format, int InUnit, int Block, int Columns>
STEERWAY_INLINE void add_blocks(
        const tile_source<Format> & source, const block_scales scales[], const activation_block * (&a)[Columns],
        vector::floats (&sums)[1][Columns], const uint8_t * ahead) {
    using layout = tile_layout<Format>;
    if constexpr (Block < Format::blocks) {
        fetch_part<layout::unit*layout::block_bytes, InUnit*Format::blocks + Block, layout::unit*Format::blocks>(ahead);
        if constexpr (Format::is_sparse) {
            add_sparse<Format, Block>(source, scales[Block].first, a, sums);
        } else {
            weight_block block;
            Format::template weights<Block>(source, block.q);
            block.scales = scales[Block];
            const weight_block * const w[1] = { &block };
            add_group<Format, 0>(w, a, sums);
            if constexpr (Format::groups == 2) {
                add_group<Format, 1>(w, a, sums);
            }
        }
        for (int c = 0; c < Columns; ++c) {
            ++a[c];
        }
        add_blocks<Format, InUnit, Block + 1>(source, scales, a, sums, ahead);
    }
}

template<typename Format, int InUnit, int Columns>
STEERWAY_INLINE void add_block(
        const uint8_t * halves, const uint8_t * lines, const activation_block * (&a)[Columns], vector::floats (&sums)[1][Columns],
        const uint8_t * ahead) {
    const tile_source<Format> source = { halves, lines };
    block_scales scales[Format::blocks];
    Format::scales(source, scales);
    add_blocks<Format, InUnit, 0>(source, scales, a, sums, ahead);
}

// The rows of a panel, from row `Row` of the tile on, for so many columns.
template<typename Format, int Columns>
void multiply_tile(const uint8_t * tile, int row, int64_t n, const columns & x, const stream & next) {
    using layout = tile_layout<Format>;
    vector::floats sums[1][Columns];
    const activation_block * a[Columns];
    for (int c = 0; c < Columns; ++c) {
        a[c] = x.blocks + c*x.stride;
        sums[0][c] = vector::all(0.0f);
    }
    const size_t half_at = row*sizeof(ggml_half), line_at = row*4;
    const uint8_t * at = tile;
    int64_t i = 0;
    for (; i + layout::unit <= n; i += layout::unit) {
        const uint8_t * ahead = next.ahead_of(at);
        const uint8_t * lines = at + layout::unit*layout::half_bytes + line_at;
        add_block<Format, 0>(at + half_at, lines, a, sums, ahead);
        if constexpr (layout::unit == 2) {
            add_block<Format, 1>(at + layout::half_bytes + half_at, lines + layout::line_bytes, a, sums, ahead);
        }
        at += layout::unit*layout::block_bytes;
    }
    if (i < n) {
        add_block<Format, 0>(at + half_at, at + layout::half_bytes + line_at, a, sums, next.ahead_of(at));
    }
    for (int c = 0; c < Columns; ++c) {
        vector::store_rows(x.out + c*x.out_stride, sums[0][c], x.n_rows);
    }
}

template<typename Format, int Columns = k_most_columns>
void multiply_tile_columns(const uint8_t * tile, int row, int64_t n, const columns & x, int64_t n_columns, const stream & next) {
    if constexpr (Columns > 0) {
        if (n_columns == Columns) {
            multiply_tile<Format, Columns>(tile, row, n, x, next);
        } else {
            multiply_tile_columns<Format, Columns - 1>(tile, row, n, x, n_columns, next);
        }
    }
}

} // namespace

#endif
