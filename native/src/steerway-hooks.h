// What the patches call from inside llama.cpp. Internal.

#pragma once

struct ggml_tensor;
struct llama_context;
struct llm_graph_context;
struct llama_memory_i;
struct llama_ubatch;
class llama_kv_cache;

// Called at the start of llama_context::memory_update: applies a pending K-shift here if STEERWAY_RANGED_SHIFT is on and
// the cache allows it, after which llama.cpp finds nothing left to do. Otherwise changes nothing.
void steerway_before_memory_update(llama_context & ctx);

// Called by llama_context's destructor, so that a later context at the same address starts with every switch off.
void steerway_forget(const llama_context & ctx);

// Called by llama_batch_allocr::init: whether the batch may start anywhere and leave gaps (STEERWAY_LOOSE_POSITIONS).
bool steerway_loose(const llama_memory_i * memory);

// Called at the end of llama_kv_cache::set_input_kq_mask: adds the bias of steerway_set_bias, if there is one.
void steerway_bias_mask(const llama_kv_cache & kv, ggml_tensor * mask, const llama_ubatch & ubatch);

// Called by llm_graph_context::build_attn over a KV cache with what it built for one layer: tells the attention operation which
// heads are given (steerway_set_heads). Otherwise changes nothing.
void steerway_plan_heads(const llm_graph_context & graph, ggml_tensor * out);
