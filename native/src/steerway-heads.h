// Heads whose attention is given instead of computed: what steerway_set_heads and steerway_set_edges set for a context, and
// the graph input that brings it to the back end (steerway-head-plan.h). Internal.

#pragma once

#include "steerway.h"

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

class llama_kv_cache;
struct ggml_tensor;

// A layer's heads, as operand 6 has them.
struct steerway_head_layer {
    const ggml_tensor * keys  = nullptr; // of the cache: tells whose attention an operation is
    int64_t             width = 0;       // of a row
    std::vector<float>  rows;            // [heads][width]
};

// Never changed once it is set; a graph holds on to the one it was built with.
struct steerway_head_set {
    llama_kv_cache *                 kv = nullptr;
    std::vector<steerway_head_layer> layers;
};

// Positions of definitions by the position of their use, of each sequence.
using steerway_edge_map = std::map<llama_seq_id, std::map<llama_pos, std::vector<llama_pos>>>;

struct steerway_head_request {
    llama_context &       ctx;
    const steerway_head * heads;
    int32_t               n;
    const float *         constants; // [n][width of a head's value] or null
};

// The set that was asked for, in `set` (null for none), or why not.
int32_t steerway_make_heads(const steerway_head_request & request, std::shared_ptr<const steerway_head_set> & set);

// `edges` with those of `seq` replaced, in `changed`, or why not.
int32_t steerway_make_edges(
        const std::shared_ptr<const steerway_edge_map> & edges, llama_seq_id seq, const steerway_edge * pairs, int32_t n,
        std::shared_ptr<const steerway_edge_map> & changed);

// The next decode builds and reserves its graph anew.
void steerway_rebuild_graph(llama_context & ctx);
