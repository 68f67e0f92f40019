#include "steerway-kv-shift.h"

#include "steerway-kv-plain.h"
#include "steerway.h"

#include "llama-context.h"
#include "llama-impl.h"
#include "llama-kv-cache.h"
#include "llama-model.h"

#include "ggml-cpp.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace {

// Below this many cells one thread is fastest: the graph is many small nodes, and each costs a barrier.
constexpr size_t k_cells_per_thread = 256;

// Tensors of one layer's part of the graph, reshapes included, rounded up.
constexpr size_t k_tensors_per_layer = 16;

// The cells to rotate: index in the cache and angle in positions.
struct moved_cells {
    std::vector<int32_t> index;
    std::vector<int32_t> shift;
};

int32_t check_cache(llama_context & ctx) {
    const int32_t refused = steerway_check_plain(ctx);
    if (refused != STEERWAY_OK) {
        return refused;
    }
    return steerway_rotates_plainly(ctx, *steerway_plain_cache(ctx)) ? STEERWAY_OK : STEERWAY_NO_ROTATION;
}

// Number of cells in the range, or why they must not move.
int32_t check_cells(const llama_kv_cells & cells, const steerway_shift_request & request) {
    int32_t count = 0;
    for (uint32_t i = 0; i < cells.size(); ++i) {
        if (!cells.pos_in(i, request.p0, request.p1) || !cells.seq_has(i, request.seq)) {
            continue;
        }
        if (cells.seq_count(i) > 1) {
            return STEERWAY_SHARED_CELLS;
        }
        const int64_t moved = (int64_t) cells.pos_get(i) + request.delta;
        if (moved < 0 || moved >= std::numeric_limits<llama_pos>::max()) {
            return STEERWAY_BAD_POSITION;
        }
        ++count;
    }
    return count;
}

moved_cells pending_cells(const llama_kv_cells & cells) {
    moved_cells res;
    for (uint32_t i = 0; i < cells.size(); ++i) {
        if (!cells.is_empty(i) && cells.get_shift(i) != 0) {
            res.index.push_back(i);
            res.shift.push_back(cells.get_shift(i));
        }
    }
    return res;
}

// One graph for all layers: gather the rows of the moved cells, undo Hadamard, rotate, redo it, scatter them back.
// Built beside the context's scheduler, which keeps its reservation and its reusable decode graph.
class shift_graph {
public:
    shift_graph(llama_context & ctx, const llama_kv_cache & kv, const moved_cells & cells)
        : ctx(ctx), kv(kv), cells(cells) {}

    int32_t run() {
        if (!create()) {
            return STEERWAY_NO_BUFFER;
        }
        build();
        if (!ggml_backend_sched_alloc_graph(sched.get(), graph)) {
            return STEERWAY_NO_BUFFER;
        }
        fill();
        const auto status = ggml_backend_sched_graph_compute(sched.get(), graph);
        return status == GGML_STATUS_SUCCESS ? STEERWAY_OK : STEERWAY_COMPUTE_FAILED;
    }

private:
    size_t max_tensors() const {
        return k_tensors_per_layer*(kv.get_layer_ids().size() + 1);
    }

    bool create() {
        tensors.reset(ggml_init({
            /*.mem_size   =*/ ggml_tensor_overhead()*max_tensors() + ggml_graph_overhead_custom(max_tensors(), false),
            /*.mem_buffer =*/ nullptr,
            /*.no_alloc   =*/ true,
        }));
        // a CPU backend of its own: the context's may carry an abort callback, and half a shift is no shift
        cpu.reset(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
        if (!tensors || !cpu) {
            return false;
        }
        set_threads();
        create_scheduler();
        return sched != nullptr;
    }

    void create_scheduler() {
        std::vector<ggml_backend_t> backends;
        auto * own = ctx.get_sched();
        for (int i = 0; i + 1 < ggml_backend_sched_get_n_backends(own); ++i) {
            backends.push_back(ggml_backend_sched_get_backend(own, i));
        }
        backends.push_back(cpu.get()); // the scheduler wants the CPU last, as in the context's own
        sched.reset(ggml_backend_sched_new(backends.data(), nullptr, backends.size(), max_tensors(), false, false));
    }

    void set_threads() {
        const int wanted = 1 + (int) (cells.index.size()/k_cells_per_thread);
        const int n_threads = std::min<int>(wanted, ctx.n_threads());
        auto * reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu.get()));
        auto * set = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
        if (set) {
            set(cpu.get(), n_threads);
        }
    }

    void build() {
        auto * tctx = tensors.get();
        graph = ggml_new_graph_custom(tctx, max_tensors(), false);

        index = ggml_new_tensor_1d(tctx, GGML_TYPE_I32, cells.index.size());
        shift = ggml_new_tensor_1d(tctx, GGML_TYPE_I32, cells.shift.size());
        ggml_set_input(index);
        ggml_set_input(shift);
        rot = ggml_is_quantized(kv.type_k()) ? kv.build_input_k_rot(tctx) : nullptr;

        for (const uint32_t il : kv.get_layer_ids()) {
            if (ctx.get_model().hparams.has_rope(il)) {
                ggml_build_forward_expand(graph, build_layer(il));
            }
        }
    }

    ggml_tensor * build_layer(uint32_t il) {
        auto * tctx = tensors.get();
        const auto & hparams = ctx.get_model().hparams;
        const int64_t n_embd = hparams.n_embd_k_gqa(il);

        auto * k   = kv.get_k_storage(il); // [n_embd, n_cells, 1]
        auto * all = ggml_reshape_2d(tctx, k, n_embd, ggml_nelements(k)/n_embd);
        auto * cur = ggml_get_rows(tctx, all, index); // f32 [n_embd, n_moved]
        cur = ggml_reshape_3d(tctx, cur, hparams.n_embd_head_k(il), hparams.n_head_kv(il), cells.index.size());

        cur = rot ? llama_mul_mat_hadamard(tctx, cur, rot) : cur; // rot*rot == I
        cur = rope(cur, il);
        cur = rot ? llama_mul_mat_hadamard(tctx, cur, rot) : cur;

        cur = ggml_reshape_2d(tctx, cur, n_embd, cells.index.size());
        return ggml_set_rows(tctx, all, cur, index);
    }

    // The same parameters as llama_kv_cache::build_rope_shift.
    ggml_tensor * rope(ggml_tensor * cur, uint32_t il) {
        const auto & model   = ctx.get_model();
        const auto & cparams = ctx.get_cparams();
        return ggml_rope_ext(tensors.get(), cur, shift, model.get_rope_factors(cparams, il),
                model.hparams.n_rot(il), model.hparams.rope_type, cparams.n_ctx_orig_yarn,
                model.get_rope_freq_base(cparams, il), model.get_rope_freq_scale(cparams, il),
                cparams.yarn_ext_factor, cparams.yarn_attn_factor, cparams.yarn_beta_fast, cparams.yarn_beta_slow);
    }

    void fill() {
        ggml_backend_tensor_set(index, cells.index.data(), 0, ggml_nbytes(index));
        ggml_backend_tensor_set(shift, cells.shift.data(), 0, ggml_nbytes(shift));
        if (rot && rot->buffer) {
            kv.set_input_k_rot(rot);
        }
    }

    llama_context        & ctx;
    const llama_kv_cache & kv;
    const moved_cells    & cells;

    ggml_context_ptr       tensors;
    ggml_backend_ptr       cpu;
    ggml_backend_sched_ptr sched;

    ggml_cgraph * graph = nullptr;
    ggml_tensor * index = nullptr;
    ggml_tensor * shift = nullptr;
    ggml_tensor * rot   = nullptr;
};

int32_t rotate_pending(llama_context & ctx, llama_kv_cache & kv) {
    auto & cells = steerway_cells(kv);
    const auto moved = pending_cells(cells);

    if (!moved.index.empty() && ctx.get_model().hparams.rope_type != LLAMA_ROPE_TYPE_NONE) {
        ctx.synchronize();
        const int32_t status = shift_graph(ctx, kv, moved).run();
        if (status != STEERWAY_OK) {
            return status;
        }
    }
    cells.reset_shift();
    return STEERWAY_OK;
}

// llama.cpp's own shift aborts the process for other key types (no rope kernel) and for quantised keys without Hadamard
// (null pointer), which LLAMA_ATTN_ROT_DISABLE and head sizes that are no multiple of 64 lead to.
bool llama_can_rotate(const llama_kv_cache & kv) {
    const ggml_type type = kv.type_k();
    if (!ggml_is_quantized(type)) {
        return type == GGML_TYPE_F16 || type == GGML_TYPE_F32;
    }
    const ggml_context_ptr probe { ggml_init({ ggml_tensor_overhead(), nullptr, true }) };
    return probe && kv.build_input_k_rot(probe.get()) != nullptr;
}

int32_t rotate_all(llama_context & ctx, const llama_kv_cache & kv) {
    ctx.memory_update(false);
    return kv.get_has_shift() ? STEERWAY_COMPUTE_FAILED : STEERWAY_OK;
}

} // namespace

int32_t steerway_shift(const steerway_shift_request & asked, bool ranged) {
    const auto last = std::numeric_limits<llama_pos>::max();
    const steerway_shift_request request = {
        asked.ctx, asked.seq, std::max(asked.p0, 0), asked.p1 < 0 ? last : asked.p1, asked.delta,
    };
    if (request.seq < 0 || request.seq >= LLAMA_MAX_SEQ || request.p1 < request.p0) {
        return STEERWAY_BAD_ARGUMENT;
    }

    const int32_t refused = check_cache(request.ctx);
    if (refused != STEERWAY_OK) {
        return refused;
    }

    auto * kv = steerway_plain_cache(request.ctx);
    if (!ranged && !llama_can_rotate(*kv)) {
        return STEERWAY_NO_ROTATION;
    }

    const int32_t count = check_cells(kv->get_cells(request.seq), request);
    if (count <= 0 || request.delta == 0) {
        return std::min(count, 0);
    }

    kv->seq_add(request.seq, request.p0, request.p1, request.delta);
    const int32_t status = ranged ? rotate_pending(request.ctx, *kv) : rotate_all(request.ctx, *kv);
    return status == STEERWAY_OK ? count : status;
}

int32_t steerway_apply_pending(llama_context & ctx) {
    const int32_t refused = check_cache(ctx);
    if (refused != STEERWAY_OK) {
        return refused;
    }

    auto * kv = steerway_plain_cache(ctx);
    return kv->get_has_shift() ? rotate_pending(ctx, *kv) : STEERWAY_OK;
}
