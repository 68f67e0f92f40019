// Products of quantised weights and several columns of activations. Weights are expanded a panel of rows at a time to
// bytes, once for all columns, and multiplied by the columns' own blocks of 8-bit integers, those of ggml's q8_0 and q8_1.
//
// The sum over a row's blocks is one chain of fma in the order of the blocks, whatever the tile: a column's result depends
// neither on the other columns nor on the number of threads.

#include "steerway-cpu-matmul.h"

#include "ggml-backend.h"
#include "steerway-cpu-matmul-kernel.h"

#ifdef STEERWAY_MATMUL

namespace {

// Expanded and multiplied at once, so that panels stay in the first-level cache. A multiple of every format's blocks.
constexpr int64_t k_slice       = vector::panels > 1 ? 32 : 64;
constexpr size_t  k_panel_bytes = (vector::panels + 1)*k_slice*sizeof(weight_block); // one more for expand_last()

// The panel of vector::rows rows, `stride` bytes apart.
template<typename Format>
void expand(const uint8_t * row, size_t stride, int64_t n_blocks, weight_block * panel) {
    for (int64_t b = 0; b < n_blocks/Format::blocks; ++b) {
        expand_block<Format>(row_source { row + b*Format::bytes, stride }, panel + b*Format::blocks);
    }
}

// The last rows, where they are less than a panel: copied to `rows`, which has room for one, and zeros behind them.
template<typename Format>
void expand_last(const uint8_t * row, size_t stride, int64_t n_rows, int64_t n_blocks, uint8_t * rows, weight_block * panel) {
    const size_t bytes = n_blocks/Format::blocks*Format::bytes;
    std::memset(rows, 0, vector::rows*bytes);
    for (int64_t r = 0; r < n_rows; ++r) {
        std::memcpy(rows + r*bytes, row + r*stride, bytes);
    }
    expand<Format>(rows, bytes, n_blocks, panel);
}

// What a thread computes with, and in which memory.
struct job {
    shape                    s;
    const ggml_tensor *      weights;
    const activation_block * activations;
    ggml_tensor *            out;
    weight_block *           panels;

    const uint8_t * row(int64_t i) const { return (const uint8_t *) weights->data + i*weights->nb[1]; }
};

// Blocks from `block` on, a slice of them, of the panels whose rows begin at `first`.
template<typename Format>
void expand_panels(const job & j, int64_t first, int64_t n_panels, int64_t block, int64_t n_blocks) {
    auto * spare = (uint8_t *) (j.panels + vector::panels*k_slice);
    for (int64_t p = 0; p < n_panels; ++p) {
        const int64_t row = first + p*vector::rows;
        const auto *  at  = j.row(row) + block/Format::blocks*Format::bytes;
        auto *        out = j.panels + p*n_blocks;
        if (j.s.n_rows - row >= vector::rows) {
            expand<Format>(at, j.weights->nb[1], n_blocks, out);
        } else {
            expand_last<Format>(at, j.weights->nb[1], j.s.n_rows - row, n_blocks, spare, out);
        }
    }
}

// The rows of a panel or of two, for all columns.
template<typename Format, int Panels>
void multiply_rows(const job & j, int64_t first, int64_t ahead) {
    const auto & s = j.s;
    const int64_t end = std::min(ahead + Panels*vector::rows, s.n_rows);
    lookahead next = { (const char *) j.row(ahead), (const char *) j.row(end), 0 };
    next.lines = (next.end - next.at)/(int64_t) k_cache_line/(tiles(s.n_columns)*s.n_blocks) + 1;
    for (int64_t block = 0; block < s.n_blocks; block += k_slice) {
        const int64_t n = std::min(k_slice, s.n_blocks - block);
        expand_panels<Format>(j, first, Panels, block, n);
        const tile t = {
            j.panels, j.activations + block, n, s.n_blocks, block > 0, (float *) j.out->data + first,
            j.out->nb[1]/sizeof(float), (int) std::min<int64_t>(s.n_rows - first, Panels*vector::rows),
        };
        multiply_panels<Format, Panels>(t, s.n_columns, next);
    }
}

template<typename Format>
void compute(const ggml_compute_params * params, ggml_tensor * op) {
    const auto s = shape_of(op);
    auto * memory      = (char *) GGML_PAD((uintptr_t) params->wdata, k_cache_line);
    auto * activations = (activation_block *) memory;
    auto * panels      = (weight_block *) (memory + activation_bytes(s) + params->ith*k_panel_bytes);
    const job j = { s, op->src[0], activations, op, panels };

    quantise_part<Format>(params, op->src[1], s, activations);
    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    ggml_barrier(params->threadpool);

    // Few rows are shared out in single panels, so that every thread gets some.
    const int64_t n_panels = (s.n_rows + vector::rows - 1)/vector::rows;
    const int64_t at_once  = n_panels < 4*vector::panels*params->nth ? 1 : vector::panels;
    const int64_t rows     = at_once*vector::rows;
    for (int64_t i = params->ith; i*rows < s.n_rows; i = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        const int64_t ahead = std::min((i + params->nth)*rows, s.n_rows);
        if (s.n_rows - i*rows > vector::rows && at_once > 1) {
            multiply_rows<Format, vector::panels>(j, i*rows, ahead);
        } else {
            multiply_rows<Format, 1>(j, i*rows, ahead);
        }
    }
}

// From how many columns on this took less time than ggml's own kernels, with AVX-512 and with AVX2; 0: no kernel.
int64_t min_columns(ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q4_0: return 1;
        case GGML_TYPE_Q4_1: return 1;
        case GGML_TYPE_Q5_0: return 1;
        case GGML_TYPE_Q8_0: return 3;
        case GGML_TYPE_Q4_K: return 2;
        case GGML_TYPE_Q6_K: return 2;
        default:             return 0;
    }
}

bool is_matrix(const ggml_tensor * t) {
    return t->ne[2] == 1 && t->ne[3] == 1 && t->nb[0] == ggml_type_size(t->type);
}

} // namespace

bool steerway_matmul_built() {
    return true;
}

bool steerway_matmul_takes(const ggml_tensor * op) {
    if (op->op != GGML_OP_MUL_MAT || ggml_get_op_params_i32(op, 1) == GGML_HINT_SRC0_IS_HADAMARD) {
        return false;
    }
    const auto * weights = op->src[0];
    const auto * columns = op->src[1];
    const int64_t least  = min_columns(weights->type);
    ggml_backend_buffer_t buffer = weights->view_src ? weights->view_src->buffer : weights->buffer;
    return least > 0 && columns->ne[1] >= least && weights->ne[1] > 0
        && (buffer == nullptr || ggml_backend_buffer_is_host(buffer))
        && columns->type == GGML_TYPE_F32 && op->type == GGML_TYPE_F32
        && is_matrix(weights) && is_matrix(columns) && is_matrix(op)
        && columns->nb[1] % sizeof(float) == 0 && op->nb[1] % sizeof(float) == 0;
}

size_t steerway_matmul_work_size(int n_threads, const ggml_tensor * op) {
    const auto s = shape_of(op);
    return k_cache_line + activation_bytes(s) + n_threads*k_panel_bytes;
}

void steerway_matmul(const ggml_compute_params * params, ggml_tensor * op) {
    GGML_ASSERT(params->wsize >= steerway_matmul_work_size(params->nth, op));
    switch (op->src[0]->type) {
        case GGML_TYPE_Q4_0: return compute<q4_0_format>(params, op);
        case GGML_TYPE_Q4_1: return compute<q4_1_format>(params, op);
        case GGML_TYPE_Q5_0: return compute<q5_0_format>(params, op);
        case GGML_TYPE_Q8_0: return compute<q8_0_format>(params, op);
        case GGML_TYPE_Q4_K: return compute<q4_k_format>(params, op);
        case GGML_TYPE_Q6_K: return compute<q6_k_format>(params, op);
        default:             GGML_ABORT("no kernel for %s", ggml_type_name(op->src[0]->type));
    }
}

#else

bool steerway_matmul_built() {
    return false;
}

bool steerway_matmul_takes(const ggml_tensor *) {
    return false;
}

size_t steerway_matmul_work_size(int, const ggml_tensor *) {
    return 0;
}

void steerway_matmul(const ggml_compute_params *, ggml_tensor *) {
}

#endif
