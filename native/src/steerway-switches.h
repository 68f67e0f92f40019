// What is switched on for each context. A table instead of members of llama_context: llama.cpp's headers stay as they
// are, so every other object file of the library is the stock one. Internal.

#pragma once

#include "steerway-heads.h"

#include "llama.h"

#include <memory>

struct ggml_tensor;
struct llama_memory_i;

// Queries at positions >= p1 get `value` added to their logits for cells at p0 <= pos < p1; 0 is off.
struct steerway_bias {
    llama_pos p0    = 0;
    llama_pos p1    = 0;
    float     value = 0.0f;
};

struct steerway_switches {
    uint32_t               mask   = 0;
    const llama_memory_i * memory = nullptr;
    steerway_bias          bias;
    std::shared_ptr<const steerway_head_set> heads; // null for none
    std::shared_ptr<const steerway_edge_map> edges;
};

// All off for a context that was never switched. The first look costs one atomic load while no context has a switch on.
steerway_switches steerway_switches_of(const llama_context * ctx);
steerway_switches steerway_switches_of(const llama_memory_i * memory);

// The heads set for the context whose cache holds these keys, null for none.
std::shared_ptr<const steerway_head_set> steerway_heads_over(const ggml_tensor * keys);

// Replaces a context's switches; a mask of 0 forgets it.
void steerway_set_switches(const llama_context * ctx, const steerway_switches & switches);
