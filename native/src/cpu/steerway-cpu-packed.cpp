// Products of packed weights with any number of columns. Some columns: straight from the tiles, a few at a time. Many: a tile is
// expanded to bytes in the first-level cache, once for all of them, and multiplied as plain weights are.

#include "steerway-cpu-packed.h"

#include "ggml-backend.h"
#include "steerway-cpu-packed-kernel.h"

#ifdef STEERWAY_MATMUL

namespace {

// Calls `f` with the format of a type, or returns `otherwise`.
template<typename Result, typename F> Result with_format(ggml_type type, Result otherwise, F && f) {
    switch ((int) type) {
        case GGML_TYPE_Q4_0:      return f(q4_0_format());
        case GGML_TYPE_Q4_1:      return f(q4_1_format());
        case GGML_TYPE_Q5_0:      return f(q5_0_format());
        case GGML_TYPE_Q8_0:      return f(q8_0_format());
        case GGML_TYPE_Q4_K:      return f(q4_k_format());
        case GGML_TYPE_Q6_K:      return f(q6_k_format());
        case STEERWAY_TYPE_S24_0: return f(s24_0_format());
        case STEERWAY_TYPE_I3_0:  return f(i3_0_format());
        default:                  return otherwise;
    }
}

// Bytes of a turn at most: a thread whose core is taken away keeps the others waiting for one.
constexpr size_t  k_turn_bytes = 32*1024;
constexpr int64_t k_turns      = 8; // of each thread, at least

// With more columns it takes less time to expand sparse weights to dense ones.
constexpr int64_t k_most_sparse_columns = 20;

// Blocks of 32 that are expanded and multiplied at once.
constexpr int64_t k_slice       = 32;
constexpr size_t  k_panel_bytes = vector::panels*k_slice*sizeof(weight_block);

struct job {
    shape                    s;
    const uint8_t *          tiles;
    const activation_block * activations;
    ggml_tensor *            out;
    weight_block *           panels;

    float * out_at(int64_t row) const { return (float *) out->data + row; }
    size_t out_stride() const { return out->nb[1]/sizeof(float); }
    int rows_from(int64_t row) const { return (int) std::min<int64_t>(s.n_rows - row, vector::rows); }
};

// A few columns at once, and weights read again for the next few: those of a tile are in the second-level cache.
template<typename Format> void multiply_some(const job & j, const uint8_t * tile, int64_t first, const stream & next) {
    const auto & s = j.s;
    const int64_t n_turns = (s.n_columns + k_most_columns - 1)/k_most_columns;
    for (int row = 0; row < k_tile_rows && first + row < s.n_rows; row += vector::rows) {
        for (int64_t t = 0; t < n_turns; ++t) {
            const int64_t column = s.n_columns*t/n_turns, n = s.n_columns*(t + 1)/n_turns - column;
            const columns x = {
                j.activations + column*s.n_blocks, s.n_blocks, j.out_at(first + row) + column*j.out_stride(), j.out_stride(),
                j.rows_from(first + row),
            };
            multiply_tile_columns<Format>(tile, row, s.n_blocks/Format::blocks, x, n, next);
        }
    }
}

template<typename Format>
void expand_slice(const uint8_t * tile, int row, int64_t n, int64_t from, int64_t to, weight_block * out) {
    for (int64_t i = from; i < to; ++i, out += Format::blocks) {
        const auto at = tile_layout<Format>::place(tile, i, n);
        const tile_source<Format> source = { at.halves + row*sizeof(ggml_half), at.lines + row*4 };
        expand_block<Format>(source, out);
    }
}

// Many columns: panels of rows in bytes, a slice of their blocks at a time. The first begins at row `start` of the tile, which
// is row `first` of all; `ahead` is what is multiplied next.
template<typename Format, int Panels>
void multiply_many(const job & j, const uint8_t * tile, int start, int64_t first, const uint8_t * ahead) {
    const auto & s = j.s;
    const int64_t n = s.n_blocks/Format::blocks, slice = k_slice/Format::blocks;
    const size_t tile_bytes = tile_layout<Format>::tile_bytes(n), bytes = tile_bytes*Panels*vector::rows/k_tile_rows;
    const char * next_at = (const char *) ahead;
    lookahead next = { next_at, next_at + bytes, (int64_t) (bytes/k_cache_line)/(tiles(s.n_columns)*s.n_blocks) + 1 };
    for (int64_t i = 0; i < n; i += slice) {
        const int64_t to = std::min(n, i + slice), n_blocks = (to - i)*Format::blocks;
        for (int p = 0; p < Panels; ++p) {
            const int64_t row = start + p*vector::rows;
            expand_slice<Format>(tile + row/k_tile_rows*tile_bytes, (int) (row % k_tile_rows), n, i, to, j.panels + p*n_blocks);
        }
        const ::tile t = {
            j.panels, j.activations + i*Format::blocks, n_blocks, s.n_blocks, i > 0, j.out_at(first), j.out_stride(),
            (int) std::min<int64_t>(s.n_rows - first, Panels*vector::rows),
        };
        multiply_panels<Format, Panels>(t, s.n_columns, next);
    }
}

// Tiles `from` to `to` - 1, with many columns: as many panels at once as can be.
template<typename Format> void multiply_tiles_many(const job & j, size_t tile_bytes, int64_t from, int64_t to, int64_t next_from) {
    const int64_t end = std::min(to*k_tile_rows, j.s.n_rows);
    const auto tile_of = [&](int64_t row) { return j.tiles + row/k_tile_rows*tile_bytes; };
    for (int64_t row = from*k_tile_rows; row < end; ) {
        const int at = (int) (row % k_tile_rows);
        const int64_t both = row + vector::panels*vector::rows, one = row + vector::rows;
        if (vector::panels > 1 && one < end) {
            multiply_many<Format, vector::panels>(j, tile_of(row), at, row, tile_of(both < end ? both : next_from*k_tile_rows));
            row = both;
        } else {
            multiply_many<Format, 1>(j, tile_of(row), at, row, tile_of(one < end ? one : next_from*k_tile_rows));
            row = one;
        }
    }
}

// What comes after them is tile `next_from`.
template<typename Format> void multiply_tiles(const job & j, int64_t from, int64_t to, int64_t next_from) {
    const size_t bytes = tile_layout<Format>::tile_bytes(j.s.n_blocks/Format::blocks);
    if constexpr (!Format::is_sparse) {
        if (j.s.n_columns > k_most_columns) {
            return multiply_tiles_many<Format>(j, bytes, from, to, next_from);
        }
    }
    const stream next = { j.tiles + to*bytes, (ptrdiff_t) ((next_from - to)*(int64_t) bytes) };
    for (int64_t i = from; i < to; ++i) {
        multiply_some<Format>(j, j.tiles + i*bytes, i*k_tile_rows, next);
    }
}

int64_t tiles_of_turn(size_t tile_bytes, int64_t n_tiles, int n_threads) {
    const auto most = std::min<int64_t>(k_turn_bytes/tile_bytes, n_tiles/(k_turns*n_threads));
    return most < vector::panels ? 1 : most - most % vector::panels; // full panels side by side
}

template<typename Format> void compute(const ggml_compute_params * params, ggml_tensor * op) {
    using layout = tile_layout<Format>;
    const auto s = shape_of(op);
    auto * memory      = (char *) GGML_PAD((uintptr_t) params->wdata, k_cache_line);
    auto * activations = (activation_block *) memory;
    auto * panels      = (weight_block *) (memory + activation_bytes(s) + params->ith*k_panel_bytes);
    const job j = { s, (const uint8_t *) op->src[0]->data, activations, op, panels };

    const size_t  tile_bytes = layout::tile_bytes(s.n_blocks/Format::blocks);
    const int64_t n_tiles    = (s.n_rows + k_tile_rows - 1)/k_tile_rows;
    const int64_t at_once    = tiles_of_turn(tile_bytes, n_tiles, params->nth);
    const int64_t n_turns    = (n_tiles + at_once - 1)/at_once;

    // while activations are quantised and threads wait for each other
    const char * start = (const char *) j.tiles + std::min<int64_t>(params->ith*at_once, n_tiles - 1)*tile_bytes;
    for (ptrdiff_t i = 0; i < stream::distance; i += k_line_bytes) {
        prefetch_near(start + i);
    }
    quantise_part<Format>(params, op->src[1], s, activations);
    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    ggml_barrier(params->threadpool);

    for (int64_t i = params->ith; i < n_turns; ) {
        const int64_t after = ggml_threadpool_chunk_add(params->threadpool, 1); // now, so that its weights can be fetched
        const int64_t to = std::min((i + 1)*at_once, n_tiles);
        multiply_tiles<Format>(j, i*at_once, to, after < n_turns ? after*at_once : to);
        i = after;
    }
}

bool is_matrix(const ggml_tensor * t) {
    return t->ne[2] == 1 && t->ne[3] == 1 && t->nb[0] == ggml_type_size(t->type);
}

} // namespace

bool steerway_packed_has(ggml_type type) {
    return with_format(type, false, [&](auto format) {
        return (int) type < GGML_TYPE_COUNT && ggml_type_size(type) == decltype(format)::bytes; // not registered: 0
    });
}

size_t steerway_packed_bytes(const ggml_tensor * weights) {
    return with_format(weights->type, (size_t) 0, [&](auto format) {
        using Format = decltype(format);
        return tile_layout<Format>::bytes(weights->ne[1], weights->ne[0]/(Format::blocks*k_block));
    });
}

void steerway_packed_pack(const ggml_tensor * weights, const void * rows, void * tiles) {
    with_format(weights->type, 0, [&](auto format) {
        using Format = decltype(format);
        const int64_t n = weights->ne[0]/(Format::blocks*k_block);
        for (int64_t row = 0; row < weights->ne[1]; row += k_tile_rows) {
            pack_tile<Format>((const uint8_t *) rows + row*n*Format::bytes, std::min<int64_t>(k_tile_rows, weights->ne[1] - row), n,
                (uint8_t *) tiles + row/k_tile_rows*tile_layout<Format>::tile_bytes(n));
        }
        return 0;
    });
}

void steerway_packed_unpack(const ggml_tensor * weights, const void * tiles, void * rows) {
    with_format(weights->type, 0, [&](auto format) {
        using Format = decltype(format);
        const int64_t n = weights->ne[0]/(Format::blocks*k_block);
        for (int64_t row = 0; row < weights->ne[1]; row += k_tile_rows) {
            unpack_tile<Format>((const uint8_t *) tiles + row/k_tile_rows*tile_layout<Format>::tile_bytes(n),
                std::min<int64_t>(k_tile_rows, weights->ne[1] - row), n, (uint8_t *) rows + row*n*Format::bytes);
        }
        return 0;
    });
}

bool steerway_packed_takes(const ggml_tensor * op) {
    if (op->op != GGML_OP_MUL_MAT || ggml_get_op_params_i32(op, 1) == GGML_HINT_SRC0_IS_HADAMARD) {
        return false;
    }
    const auto * weights = op->src[0];
    const auto * columns = op->src[1];
    return steerway_packed_has(weights->type) && weights->view_src == nullptr && weights->ne[1] > 0
        && columns->type == GGML_TYPE_F32 && op->type == GGML_TYPE_F32
        && is_matrix(weights) && is_matrix(columns) && is_matrix(op) && ggml_is_contiguous(weights)
        && columns->nb[1] % sizeof(float) == 0 && op->nb[1] % sizeof(float) == 0;
}

size_t steerway_packed_work_size(int n_threads, const ggml_tensor * op) {
    return k_cache_line + activation_bytes(shape_of(op)) + n_threads*k_panel_bytes;
}

void steerway_packed_matmul(const ggml_compute_params * params, ggml_tensor * op) {
    GGML_ASSERT(params->wsize >= steerway_packed_work_size(params->nth, op));
    if ((int) op->src[0]->type == STEERWAY_TYPE_S24_0 && op->src[1]->ne[1] > k_most_sparse_columns) {
        return compute<s24_0_dense_format>(params, op);
    }
    with_format(op->src[0]->type, 0, [&](auto format) {
        compute<decltype(format)>(params, op);
        return 0;
    });
}

#else

bool   steerway_packed_has(ggml_type) { return false; }
size_t steerway_packed_bytes(const ggml_tensor *) { return 0; }
void   steerway_packed_pack(const ggml_tensor *, const void *, void *) {}
void   steerway_packed_unpack(const ggml_tensor *, const void *, void *) {}
bool   steerway_packed_takes(const ggml_tensor *) { return false; }
size_t steerway_packed_work_size(int, const ggml_tensor *) { return 0; }
void   steerway_packed_matmul(const ggml_compute_params *, ggml_tensor *) {}

#endif
