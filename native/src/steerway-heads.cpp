#include "steerway-heads.h"

#include "steerway-hooks.h"
#include "steerway-kv-plain.h"
#include "steerway-kv-rows.h"
#include "steerway-switches.h"

#include "steerway/steerway-head-plan.h"

#include "llama-batch.h"
#include "llama-context.h"
#include "llama-graph.h"
#include "llama-kv-cache.h"
#include "llama-model.h"

#include "ggml-backend.h"

#include <algorithm>
#include <cmath>
#include <set>

static_assert((int) STEERWAY_HEAD_INJECT   == (int) STEERWAY_MODE_INJECT,   "one number in both headers");
static_assert((int) STEERWAY_HEAD_REWEIGHT == (int) STEERWAY_MODE_REWEIGHT, "one number in both headers");

namespace {

constexpr float k_max_bias = 100.0f; // on logits: exp(100) times the weight is all of it

bool is_valid(const steerway_head & head) {
    switch (head.mode) {
        case STEERWAY_HEAD_INJECT:   return head.weight >= 0.0f && head.previous >= 0.0f && head.weight + head.previous <= 1.0001f;
        case STEERWAY_HEAD_REWEIGHT: return std::fabs(head.weight) <= k_max_bias && head.previous == 0.0f;
        default:                     return false;
    }
}

bool is_finite(const float * values, size_t n) {
    return std::all_of(values, values + n, [](float x) { return std::isfinite(x); });
}

// Whether the back end that computes over `keys` takes such heads.
bool back_end_takes(const ggml_tensor * keys, int64_t dk, int64_t dv, int64_t heads) {
    const bool   host     = ggml_backend_buffer_is_host(keys->buffer);
    const auto   device   = ggml_backend_buft_get_device(ggml_backend_buffer_get_type(keys->buffer));
    const auto   registry = host ? ggml_backend_reg_by_name("CPU") : device ? ggml_backend_dev_backend_reg(device) : nullptr;
    const char * name     = host ? "steerway_cpu_takes_heads" : "steerway_cuda_takes_heads";
    const auto   takes    = (int (*)(int64_t, int64_t, int64_t)) (registry ? ggml_backend_reg_get_proc_address(registry, name) : nullptr);
    return takes && takes(dk, dv, heads);
}

// What each token of a batch attends to in given heads.
class heads_input : public llm_graph_input_i {
public:
    explicit heads_input(std::shared_ptr<const steerway_head_set> set) : set(std::move(set)) {}

    void set_input(const llama_ubatch * ubatch) override {
        const auto edges = steerway_switches_of(memory()).edges;
        std::vector<int32_t> cells((size_t) STEERWAY_PLAN_WIDTH*ubatch->n_tokens, -1);
        for (uint32_t i = 0; i < ubatch->n_tokens; ++i) {
            fill(cells.data() + (size_t) STEERWAY_PLAN_WIDTH*i, ubatch->seq_id[i][0], ubatch->pos[i], edges.get());
        }
        ggml_backend_tensor_set(plan, cells.data(), 0, cells.size()*sizeof(int32_t));
        for (const auto & [tensor, layer] : tables) {
            ggml_backend_tensor_set(tensor, layer->rows.data(), 0, layer->rows.size()*sizeof(float));
        }
    }

    // Only asked for graphs of as many tokens.
    bool can_reuse(const llm_graph_params & params) override {
        return steerway_switches_of(memory()).heads == set && plan->ne[1] == params.ubatch.n_tokens;
    }

    ggml_tensor * table_of(const steerway_head_layer & layer, ggml_context * ctx) {
        ggml_tensor * res = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, layer.width, layer.rows.size()/layer.width);
        ggml_set_input(res);
        tables.emplace_back(res, &layer);
        return res;
    }

    const std::shared_ptr<const steerway_head_set> set;
    ggml_tensor * plan = nullptr;

private:
    const llama_memory_i * memory() const { return static_cast<const llama_memory_i *>(set->kv); }

    void fill(int32_t * row, llama_seq_id seq, llama_pos pos, const steerway_edge_map * edges) const {
        const auto & all = set->kv->get_cells(seq).seq_pos_get(seq);
        const auto cell_at = [&](llama_pos p) {
            const auto it = all.lower_bound({ p, 0 });
            return it != all.end() && it->first == p ? (int32_t) it->second : -1;
        };
        row[STEERWAY_PLAN_COUNT] = 0;
        row[STEERWAY_PLAN_FIRST] = all.empty() || all.begin()->first == pos;
        if (!all.empty()) {
            row[STEERWAY_PLAN_SINK] = (int32_t) all.begin()->second;
        }
        row[STEERWAY_PLAN_PREVIOUS] = cell_at(pos - 1);
        if (!edges || edges->count(seq) == 0) {
            return;
        }
        const auto & uses = edges->at(seq);
        const auto   use  = uses.find(pos);
        if (use == uses.end()) {
            return;
        }
        for (const llama_pos p : use->second) {
            const int32_t cell = p < pos ? cell_at(p) : -1; // what comes later is not visible
            if (cell >= 0) {
                row[STEERWAY_PLAN_CELLS + row[STEERWAY_PLAN_COUNT]++] = cell;
            }
        }
    }

    std::vector<std::pair<ggml_tensor *, const steerway_head_layer *>> tables;
};

heads_input & input_of(const llm_graph_context & graph, const std::shared_ptr<const steerway_head_set> & set) {
    for (const auto & input : graph.res->inputs) {
        if (auto * found = dynamic_cast<heads_input *>(input.get())) {
            return *found;
        }
    }
    auto input = std::make_unique<heads_input>(set);
    input->plan = ggml_new_tensor_2d(graph.ctx0, GGML_TYPE_I32, STEERWAY_PLAN_WIDTH, graph.n_tokens);
    ggml_set_input(input->plan);
    return *static_cast<heads_input *>(graph.res->add_input(std::move(input)));
}

} // namespace

int32_t steerway_make_heads(const steerway_head_request & request, std::shared_ptr<const steerway_head_set> & set) {
    set = nullptr;
    if (request.n == 0) {
        return STEERWAY_OK;
    }
    const int64_t bytes = steerway_row_bytes(request.ctx, GGML_TYPE_F16);
    if (bytes < 0) {
        return (int32_t) bytes;
    }
    auto &       kv      = *steerway_plain_cache(request.ctx);
    const auto & hparams = request.ctx.get_model().hparams;
    if (hparams.use_alibi || hparams.attn_soft_cap || !request.ctx.get_cparams().flash_attn) {
        return STEERWAY_CELL_TYPE;
    }

    auto made = std::make_shared<steerway_head_set>();
    made->kv  = &kv;
    std::set<std::pair<int32_t, int32_t>> seen;
    for (const uint32_t il : kv.get_layer_ids()) {
        steerway_head_layer layer;
        layer.keys  = kv.get_k_storage(il);
        layer.width = STEERWAY_TABLE_CONSTANT + hparams.n_embd_head_v(il);
        for (int32_t i = 0; i < request.n; ++i) {
            const auto & head = request.heads[i];
            if (head.layer != (int32_t) il) {
                continue;
            }
            const float * constant = request.constants ? request.constants + (size_t) i*hparams.n_embd_head_v(il) : nullptr;
            const bool    fits     = head.head >= 0 && head.head < (int32_t) hparams.n_head(il);
            if (!fits || !is_valid(head) || !seen.insert({ head.layer, head.head }).second ||
                    (constant && !is_finite(constant, hparams.n_embd_head_v(il)))) {
                return STEERWAY_BAD_ARGUMENT;
            }
            const size_t at = layer.rows.size();
            layer.rows.resize(at + layer.width, 0.0f);
            layer.rows[at + STEERWAY_TABLE_HEAD]     = (float) head.head;
            layer.rows[at + STEERWAY_TABLE_MODE]     = (float) head.mode;
            layer.rows[at + STEERWAY_TABLE_WEIGHT]   = head.weight;
            layer.rows[at + STEERWAY_TABLE_PREVIOUS] = head.previous;
            if (constant) {
                std::copy_n(constant, hparams.n_embd_head_v(il), layer.rows.begin() + at + STEERWAY_TABLE_CONSTANT);
            }
        }
        if (layer.rows.empty()) {
            continue;
        }
        if (!back_end_takes(layer.keys, hparams.n_embd_head_k(il), hparams.n_embd_head_v(il), hparams.n_head(il))) {
            return STEERWAY_NO_KERNEL;
        }
        made->layers.push_back(std::move(layer));
    }
    if ((int32_t) seen.size() != request.n) {
        return STEERWAY_BAD_ARGUMENT; // a layer that is not there
    }
    set = made;
    return STEERWAY_OK;
}

int32_t steerway_make_edges(
        const std::shared_ptr<const steerway_edge_map> & edges, llama_seq_id seq, const steerway_edge * pairs, int32_t n,
        std::shared_ptr<const steerway_edge_map> & changed) {
    auto made = edges ? std::make_shared<steerway_edge_map>(*edges) : std::make_shared<steerway_edge_map>();
    made->erase(seq);
    for (int32_t i = 0; i < n; ++i) {
        if (pairs[i].use < 0 || pairs[i].definition < 0) {
            return STEERWAY_BAD_ARGUMENT;
        }
        auto & found = (*made)[seq][pairs[i].use];
        if (found.size() == STEERWAY_MOST_DEFINITIONS) {
            return STEERWAY_BAD_ARGUMENT;
        }
        found.push_back(pairs[i].definition);
    }
    changed = made;
    return STEERWAY_OK;
}

void steerway_rebuild_graph(llama_context & ctx) {
    // says what is so already, and asks for a new reservation
    ctx.set_embeddings_layer_inp(0, ctx.get_cparams().embeddings_layer_inp[0]);
}

void steerway_plan_heads(const llm_graph_context & graph, ggml_tensor * out) {
    ggml_tensor * op = out->src[0];
    if (!op || op->op != GGML_OP_FLASH_ATTN_EXT || !op->src[1]->view_src) {
        return;
    }
    const auto set = steerway_heads_over(op->src[1]->view_src);
    if (!set) {
        return;
    }
    for (const auto & layer : set->layers) {
        if (layer.keys == op->src[1]->view_src) {
            auto & input = input_of(graph, set);
            op->src[STEERWAY_PLAN_OPERAND]  = input.plan;
            op->src[STEERWAY_TABLE_OPERAND] = input.table_of(layer, graph.ctx0);
            // the operation is in the graph already
            ggml_build_forward_expand(graph.gf, op->src[STEERWAY_PLAN_OPERAND]);
            ggml_build_forward_expand(graph.gf, op->src[STEERWAY_TABLE_OPERAND]);
        }
    }
}
