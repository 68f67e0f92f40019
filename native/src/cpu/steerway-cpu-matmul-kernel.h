// Tiles of the integer product: a panel or two of expanded rows times a few columns, sums in registers.

#pragma once

#include "steerway-cpu-matmul-activations.h"

#ifdef STEERWAY_MATMUL

namespace {

constexpr int64_t k_max_columns = vector::columns;

// The weights of the next turn, brought nearer a few lines at a time while this one's are multiplied: memory would take
// as long as the arithmetic of eight columns.
struct lookahead {
    const char * at;
    const char * end;
    int64_t      lines; // a step

    STEERWAY_INLINE void step() {
        for (int64_t i = 0; i < lines && at < end; ++i, at += k_cache_line) {
            prefetch_far(at);
        }
    }
};

struct tile {
    const weight_block *     weights;
    const activation_block * activations;
    int64_t                  n_blocks;      // from one panel to the next
    int64_t                  column_blocks; // from one column to the next
    bool                     adds;          // to what blocks before these left in `out`
    float *                  out;
    size_t                   out_stride;    // floats from one column to the next
    int                      n_rows;

    int rows_of(int panel) const { return std::min(n_rows - panel*vector::rows, vector::rows); }
};

STEERWAY_INLINE vector::ints four_bytes(const int8_t * q) {
    int32_t x;
    std::memcpy(&x, q, sizeof(x));
    return vector::all(x);
}

// The integer products of a group of a block's weights.
template<typename Format, int Group, int Panels, int Columns>
STEERWAY_INLINE void block_sums(
        const weight_block * const (&w)[Panels], const activation_block * const (&a)[Columns], vector::ints (&sums)[Panels][Columns]) {
    constexpr int k_fours = 8/Format::groups;
    constexpr int k_first = Group*k_fours;
    for (int c = 0; c < Columns; ++c) {
        for (int p = 0; p < Panels; ++p) {
            sums[p][c] = vector::all(Format::offset == 0 ? 0 : a[c]->start[Group]);
        }
    }
#ifdef STEERWAY_MATMUL_DOT
#pragma GCC unroll 8
    for (int q = k_first; q < k_first + k_fours; ++q) {
        vector::ints weights[Panels];
        for (int p = 0; p < Panels; ++p) {
            weights[p] = w[p]->q[q];
        }
#pragma GCC unroll 8
        for (int c = 0; c < Columns; ++c) {
            const auto x = four_bytes(a[c]->q + 4*q);
            for (int p = 0; p < Panels; ++p) {
                sums[p][c] = vector::dot(sums[p][c], weights[p], x);
            }
        }
    }
#else
#pragma GCC unroll 8
    for (int from = k_first; from < k_first + k_fours; from += Format::pairs_fit) {
        vector::ints pairs[Panels][Columns];
#pragma GCC unroll 8
        for (int q = from; q < from + Format::pairs_fit; ++q) {
#pragma GCC unroll 8
            for (int c = 0; c < Columns; ++c) {
                const auto x = four_bytes(a[c]->q + 4*q);
                for (int p = 0; p < Panels; ++p) {
                    const auto more = vector::template pairs<Format::is_signed>(w[p]->q[q], x);
                    pairs[p][c] = q == from ? more : vector::add_pairs(pairs[p][c], more);
                }
            }
        }
        for (int c = 0; c < Columns; ++c) {
            for (int p = 0; p < Panels; ++p) {
                sums[p][c] = vector::add(sums[p][c], vector::widen(pairs[p][c]));
            }
        }
    }
#endif
}

// sums += the products of a group, times both scales.
template<typename Format, int Group, int Panels, int Columns>
STEERWAY_INLINE void add_group(
        const weight_block * const (&w)[Panels], const activation_block * const (&a)[Columns], vector::floats (&sums)[Panels][Columns]) {
    vector::ints products[Panels][Columns];
    block_sums<Format, Group>(w, a, products);
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) {
        for (int p = 0; p < Panels; ++p) {
            const auto d = Group == 0 ? w[p]->scales.first : w[p]->scales.second;
            sums[p][c] = vector::fma(vector::to_floats(products[p][c]), vector::mul(d, vector::all(a[c]->d)), sums[p][c]);
            if (Format::has_minimum) {
                sums[p][c] = vector::fma(w[p]->scales.second, vector::all(a[c]->s), sums[p][c]);
            }
        }
    }
}

template<typename Format, int Panels, int Columns>
void multiply(const tile & t, lookahead & next) {
    vector::floats sums[Panels][Columns];
    const weight_block *     w[Panels];
    const activation_block * a[Columns];
    for (int c = 0; c < Columns; ++c) {
        a[c] = t.activations + c*t.column_blocks;
        for (int p = 0; p < Panels; ++p) {
            const float * out = t.out + c*t.out_stride + p*vector::rows;
            w[p] = t.weights + p*t.n_blocks;
            sums[p][c] = t.adds ? vector::load_rows(out, t.rows_of(p)) : vector::all(0.0f);
        }
    }
    for (int64_t b = 0; b < t.n_blocks; ++b) {
        next.step();
        add_group<Format, 0>(w, a, sums);
        if constexpr (Format::groups == 2) {
            add_group<Format, 1>(w, a, sums);
        }
        for (int c = 0; c < Columns; ++c) {
            ++a[c];
        }
        for (int p = 0; p < Panels; ++p) {
            ++w[p];
        }
    }
    for (int c = 0; c < Columns; ++c) {
        for (int p = 0; p < Panels; ++p) {
            vector::store_rows(t.out + c*t.out_stride + p*vector::rows, sums[p][c], t.rows_of(p));
        }
    }
}

template<typename Format, int Panels, int Columns = k_max_columns>
void multiply_columns(const tile & t, int64_t n, lookahead & next) {
    if constexpr (Columns > 0) {
        if (n == Columns) {
            multiply<Format, Panels, Columns>(t, next);
        } else {
            multiply_columns<Format, Panels, Columns - 1>(t, n, next);
        }
    }
}

int64_t tiles(int64_t n_columns) {
    return (n_columns + k_max_columns - 1)/k_max_columns;
}

// Tiles of nearly equal width: six and two columns together would take longer than four and four.
template<typename Format, int Panels>
void multiply_panels(tile t, int64_t n_columns, lookahead & next) {
    const int64_t n_tiles = tiles(n_columns);
    for (int64_t i = 0; i < n_tiles; ++i) {
        const int64_t n = n_columns*(i + 1)/n_tiles - n_columns*i/n_tiles;
        multiply_columns<Format, Panels>(t, n, next);
        t.activations += n*t.column_blocks;
        t.out         += n*t.out_stride;
    }
}

} // namespace

#endif
