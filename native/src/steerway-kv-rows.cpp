#include "steerway-kv-rows.h"

#include "steerway-kv-plain.h"
#include "steerway-rotation.h"

#include "llama-context.h"
#include "llama-kv-cache.h"
#include "llama-model.h"

#include "ggml-cpp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace {

// Rows are converted through a buffer: one that stays in the processor's cache when the cells are in its memory, one that
// is worth a transfer when they are not.
constexpr size_t k_host_tile_bytes   = 16*1024;
constexpr size_t k_device_tile_bytes = 4*1024*1024;

// Cells [cell, cell + n) take or give rows [row, row + n).
struct cell_run {
    uint32_t cell;
    int32_t  row;
    int32_t  n;
};

struct layer_tensors {
    uint32_t      il;
    ggml_tensor * k;
    ggml_tensor * v;
};

// llama.cpp gives away the key tensor, of the value tensor only views.
ggml_tensor * value_storage(const llama_kv_cache & kv, uint32_t il, ggml_context * scratch) {
    llama_kv_cache::slot_info slot = { 0, 0, {}, {} };
    return kv.get_v(scratch, il, 1, slot)->view_src;
}

// Null for the values of a cache that has none (MLA).
std::vector<layer_tensors> tensors_of(const llama_context & ctx, const llama_kv_cache & kv) {
    const auto ids = kv.get_layer_ids();
    const bool values = !ctx.get_model().hparams.is_mla();
    const ggml_context_ptr scratch { ggml_init({ ggml_tensor_overhead()*(ids.size() + 1), nullptr, true }) };
    if (!scratch) {
        return {};
    }

    std::vector<layer_tensors> res;
    for (const uint32_t il : ids) {
        res.push_back({ il, kv.get_k_storage(il), values ? value_storage(kv, il, scratch.get()) : nullptr });
    }
    return res;
}

bool holds_f16_rows(llama_context & ctx, const std::vector<layer_tensors> & layers) {
    if (!ctx.get_cparams().flash_attn || layers.empty()) {
        return false; // else values are transposed
    }
    return std::all_of(layers.begin(), layers.end(), [](const layer_tensors & layer) {
        return layer.v && layer.k->type == GGML_TYPE_F16 && layer.v->type == GGML_TYPE_F16;
    });
}

int32_t check_rows(llama_context & ctx) {
    const int32_t refused = steerway_check_plain(ctx);
    if (refused != STEERWAY_OK) {
        return refused;
    }
    const auto & kv = *steerway_plain_cache(ctx);
    if (kv.has_cell_ext()) {
        return STEERWAY_NO_KV_CACHE; // cells know more than their position
    }
    return holds_f16_rows(ctx, tensors_of(ctx, kv)) ? STEERWAY_OK : STEERWAY_CELL_TYPE;
}

bool rows_fit(const std::vector<layer_tensors> & layers, ggml_type type) {
    return type == GGML_TYPE_F16 || std::all_of(layers.begin(), layers.end(), [](const layer_tensors & layer) {
        return layer.k->ne[0]%32 == 0 && layer.v->ne[0]%32 == 0;
    });
}

bool is_row_type(ggml_type type) {
    return type == GGML_TYPE_F16 || type == GGML_TYPE_Q8_0;
}

std::vector<float> factors_of(const llama_context & ctx, uint32_t il, int32_t n) {
    const auto * tensor = ctx.get_model().get_rope_factors(ctx.get_cparams(), il);
    if (!tensor || tensor->type != GGML_TYPE_F32 || ggml_nelements(tensor) < n) {
        return {};
    }
    std::vector<float> res(n);
    ggml_backend_tensor_get(tensor, res.data(), 0, n*sizeof(float));
    return res;
}

steerway_rope rope_of(const llama_context & ctx, uint32_t il) {
    const auto & model   = ctx.get_model();
    const auto & hparams = model.hparams;
    const bool rotates   = hparams.rope_type != LLAMA_ROPE_TYPE_NONE && hparams.has_rope(il);
    const int32_t n_rot  = rotates ? hparams.n_rot(il) : 0;
    return {
        (int32_t) hparams.n_embd_head_k(il), n_rot, hparams.rope_type == LLAMA_ROPE_TYPE_NEOX,
        model.get_rope_freq_base(ctx.get_cparams(), il), model.get_rope_freq_scale(ctx.get_cparams(), il),
        factors_of(ctx, il, n_rot/2),
    };
}

bool moves(const llama_context & ctx, const llama_kv_cache & kv) {
    const auto type = ctx.get_model().hparams.rope_type;
    return (type == LLAMA_ROPE_TYPE_NORM || type == LLAMA_ROPE_TYPE_NEOX) && steerway_rotates_plainly(ctx, kv);
}

uint64_t fnv1a(const std::vector<float> & values) {
    uint64_t hash = values.empty() ? 0 : 0xcbf29ce484222325u;
    const auto * bytes = (const uint8_t *) values.data();
    for (size_t i = 0; i < values.size()*sizeof(float); ++i) {
        hash = (hash ^ bytes[i])*0x100000001b3u;
    }
    return hash;
}

steerway_kv_layer describe(const llama_context & ctx, const layer_tensors & layer) {
    const auto & hparams = ctx.get_model().hparams;
    const auto rope = rope_of(ctx, layer.il);
    steerway_kv_layer res = {};
    res.index      = layer.il;
    res.k_width    = layer.k->ne[0];
    res.v_width    = layer.v ? layer.v->ne[0] : 0;
    res.k_head     = hparams.n_embd_head_k(layer.il);
    res.v_head     = hparams.n_embd_head_v(layer.il);
    res.n_rot      = rope.n_rot;
    res.rope_type  = hparams.rope_type;
    res.k_type     = layer.k->type;
    res.v_type     = layer.v ? layer.v->type : res.k_type;
    res.freq_base  = rope.freq_base;
    res.freq_scale = rope.freq_scale;
    res.factors    = fnv1a(rope.factors);
    return res;
}

void append(std::vector<cell_run> & runs, uint32_t cell, int32_t row) {
    if (!runs.empty() && runs.back().cell + runs.back().n == cell) {
        ++runs.back().n;
    } else {
        runs.push_back({ cell, row, 1 });
    }
}

// The cells of positions [p0, p1), in that order; empty unless each position has exactly one.
std::vector<cell_run> cells_at(const llama_kv_cells & cells, llama_seq_id seq, llama_pos p0, llama_pos p1) {
    std::vector<cell_run> runs;
    const auto & all = cells.seq_pos_get(seq);
    auto expected = p0;
    for (auto it = all.lower_bound({ p0, 0 }); it != all.end() && it->first < p1; ++it, ++expected) {
        if (it->first != expected) {
            return {};
        }
        append(runs, it->second, expected - p0);
    }
    return expected == p1 ? runs : std::vector<cell_run>{};
}

// The first n free cells.
std::vector<cell_run> free_cells(const llama_kv_cells & cells, int32_t n) {
    std::vector<cell_run> runs;
    int32_t found = 0;
    for (uint32_t i = 0; i < cells.size() && found < n; ++i) {
        if (cells.is_empty(i)) {
            append(runs, i, found++);
        }
    }
    return runs;
}

class row_reader {
public:
    row_reader(const steerway_read_request & request, std::vector<cell_run> runs)
        : request(request), runs(std::move(runs)), n(request.p1 - request.p0) {}

    void run(const std::vector<layer_tensors> & layers) {
        auto * dst = request.dst;
        for (const auto & layer : layers) {
            for (auto * tensor : { layer.k, layer.v }) {
                read(tensor, dst);
                dst += steerway_row_size(request.type, tensor->ne[0])*n;
            }
        }
    }

private:
    void read(const ggml_tensor * tensor, uint8_t * dst) {
        if (request.type == GGML_TYPE_F16) {
            gather(tensor, dst);
            return;
        }
        f16.resize(tensor->ne[0]*n);
        gather(tensor, (uint8_t *) f16.data());
        steerway_quantize_rows(f16.data(), dst, n, tensor->ne[0]);
    }

    void gather(const ggml_tensor * tensor, uint8_t * dst) const {
        const size_t row = tensor->nb[1];
        for (const auto & run : runs) {
            ggml_backend_tensor_get(tensor, dst + run.row*row, run.cell*row, run.n*row);
        }
    }

    const steerway_read_request & request;
    std::vector<cell_run>         runs;
    std::vector<ggml_fp16_t>      f16;
    int64_t                       n;
};

class row_writer {
public:
    row_writer(const steerway_write_request & request, std::vector<cell_run> runs)
        : request(request), runs(std::move(runs)) {}

    void run(const std::vector<layer_tensors> & layers) {
        const auto * src = request.src;
        for (const auto & layer : layers) {
            rotate_for(layer.il);
            src = write(layer.k, src, &rotation);
            src = write(layer.v, src, nullptr);
        }
    }

private:
    // Nearly always the same for all layers.
    void rotate_for(uint32_t il) {
        auto wanted = rope_of(request.ctx, il);
        const bool same = wanted.head == rope.head && wanted.n_rot == rope.n_rot && wanted.freq_base == rope.freq_base
            && wanted.freq_scale == rope.freq_scale && wanted.factors == rope.factors;
        if (!same) {
            rotation = steerway_make_rotation(wanted, request.delta, request.k_scale);
            rope = std::move(wanted);
        }
    }

    // Returns where the next tensor's rows are.
    const uint8_t * write(ggml_tensor * tensor, const uint8_t * src, const steerway_rotation * r) {
        const size_t step = steerway_row_size(request.type, tensor->ne[0]);
        for (const auto & run : runs) {
            const auto * rows = src + (request.first + run.row)*step;
            if (request.type == GGML_TYPE_F16 && (!r || r->keeps)) {
                ggml_backend_tensor_set(tensor, rows, run.cell*tensor->nb[1], run.n*tensor->nb[1]);
            } else {
                convert(tensor, rows, run, r);
            }
        }
        return src + request.n_src*step;
    }

    void convert(ggml_tensor * tensor, const uint8_t * rows, const cell_run & run, const steerway_rotation * r) {
        const int64_t width = tensor->ne[0];
        const size_t step   = steerway_row_size(request.type, width);
        const size_t bytes  = ggml_backend_buffer_is_host(tensor->buffer) ? k_host_tile_bytes : k_device_tile_bytes;
        const int32_t most  = std::max<size_t>(1, bytes/tensor->nb[1]);
        for (int32_t i = 0; i < run.n; i += most) {
            const int32_t n = std::min(most, run.n - i);
            tile.resize(n*width);
            steerway_convert_rows(rows + i*step, request.type, tile.data(), n, width, r);
            ggml_backend_tensor_set(tensor, tile.data(), (run.cell + i)*tensor->nb[1], n*tensor->nb[1]);
        }
    }

    const steerway_write_request & request;
    std::vector<cell_run>          runs;
    std::vector<ggml_fp16_t>       tile;
    steerway_rope                  rope = {};
    steerway_rotation              rotation;
};

int32_t check_read(const steerway_read_request & request) {
    const bool valid = request.seq >= 0 && request.seq < LLAMA_MAX_SEQ && is_row_type(request.type)
        && request.p0 >= 0 && request.p1 >= request.p0 && (request.dst || request.p1 == request.p0);
    if (!valid) {
        return STEERWAY_BAD_ARGUMENT;
    }
    const int64_t bytes = steerway_row_bytes(request.ctx, request.type);
    if (bytes < 0) {
        return (int32_t) bytes;
    }
    return (uint64_t) bytes*(request.p1 - request.p0) == request.size ? STEERWAY_OK : STEERWAY_BAD_ARGUMENT;
}

bool valid_source(const steerway_write_request & request) {
    return is_row_type(request.type) && (request.src || request.size == 0) && (uintptr_t) request.src%2 == 0
        && request.n >= 0 && request.first >= 0 && request.n_src >= 0
        && (int64_t) request.first + request.n <= request.n_src;
}

bool valid_target(const steerway_write_request & request) {
    return request.seq >= 0 && request.seq < LLAMA_MAX_SEQ
        && request.p0 >= 0 && (int64_t) request.p0 + request.n <= std::numeric_limits<llama_pos>::max()
        && std::isfinite(request.k_scale) && request.k_scale > 0.0f;
}

int32_t check_write(const steerway_write_request & request) {
    if (!valid_source(request) || !valid_target(request)) {
        return STEERWAY_BAD_ARGUMENT;
    }
    const int64_t bytes = steerway_row_bytes(request.ctx, request.type);
    if (bytes < 0) {
        return (int32_t) bytes;
    }
    if ((uint64_t) bytes*request.n_src != request.size) {
        return STEERWAY_BAD_ARGUMENT;
    }
    const auto & kv = *steerway_plain_cache(request.ctx);
    if (request.delta != 0 && !moves(request.ctx, kv)) {
        return STEERWAY_NO_ROTATION;
    }
    const auto & cells = kv.get_cells(request.seq);
    return cells.size() - cells.get_used() >= (uint32_t) request.n ? STEERWAY_OK : STEERWAY_NO_ROOM;
}

void occupy(llama_kv_cells & cells, const std::vector<cell_run> & runs, llama_seq_id seq, llama_pos p0) {
    for (const auto & run : runs) {
        for (int32_t i = 0; i < run.n; ++i) {
            cells.pos_set(run.cell + i, p0 + run.row + i);
            cells.seq_add(run.cell + i, seq);
        }
    }
}

} // namespace

int32_t steerway_describe_layers(llama_context & ctx, steerway_kv_layer * layers, int32_t n) {
    const auto * kv = steerway_plain_cache(ctx);
    if (!kv) {
        return STEERWAY_NO_KV_CACHE;
    }
    const auto all = tensors_of(ctx, *kv);
    for (int32_t i = 0; i < std::min<int32_t>(n, all.size()); ++i) {
        layers[i] = describe(ctx, all[i]);
    }
    return all.size();
}

int64_t steerway_row_bytes(llama_context & ctx, ggml_type type) {
    const int32_t refused = check_rows(ctx);
    if (refused != STEERWAY_OK) {
        return refused;
    }
    const auto layers = tensors_of(ctx, *steerway_plain_cache(ctx));
    if (!is_row_type(type) || !rows_fit(layers, type)) {
        return STEERWAY_BAD_ARGUMENT;
    }
    int64_t res = 0;
    for (const auto & layer : layers) {
        res += steerway_row_size(type, layer.k->ne[0]) + steerway_row_size(type, layer.v->ne[0]);
    }
    return res;
}

int32_t steerway_read_rows(const steerway_read_request & request) {
    const int32_t refused = check_read(request);
    if (refused != STEERWAY_OK) {
        return refused;
    }

    auto & kv = *steerway_plain_cache(request.ctx);
    if (kv.get_has_shift()) {
        request.ctx.memory_update(false);
    }
    auto runs = cells_at(kv.get_cells(request.seq), request.seq, request.p0, request.p1);
    if (runs.empty() && request.p1 > request.p0) {
        return STEERWAY_NOT_ONCE;
    }
    request.ctx.synchronize();
    row_reader(request, std::move(runs)).run(tensors_of(request.ctx, kv));
    return request.p1 - request.p0;
}

int32_t steerway_write_rows(const steerway_write_request & request) {
    const int32_t refused = check_write(request);
    if (refused != STEERWAY_OK || request.n == 0) {
        return refused;
    }

    auto & kv = *steerway_plain_cache(request.ctx);
    auto & cells = steerway_cells(kv);
    const auto runs = free_cells(cells, request.n);
    request.ctx.synchronize(); // a decode that still runs reads the cells around
    row_writer(request, runs).run(tensors_of(request.ctx, kv));
    occupy(cells, runs, request.seq, request.p0);
    return request.n;
}
