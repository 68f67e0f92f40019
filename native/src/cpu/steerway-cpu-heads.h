// Heads whose attention is given instead of computed (steerway-head-plan.h): which of an operation's heads those are, and
// their output, gathered from rows of V. Internal.

#pragma once

#include "ggml.h"
#include "steerway/steerway-head-plan.h"

#include <cstdint>

// The heads of one FLASH_ATTN_EXT, as its operands 5 and 6 say; without them every head is computed.
struct steerway_head_list {
    const ggml_tensor * plan  = nullptr;
    const ggml_tensor * table = nullptr;
    int16_t n_computed[STEERWAY_MOST_HEADS];                // of each key head
    int16_t computed  [STEERWAY_MOST_HEADS];                // query heads, `group` places for each key head
    float   bias      [STEERWAY_MOST_HEADS];                // on the logits of definitions, by query head
    bool    biased = false;                                 // whether any is not 0

    explicit steerway_head_list(const ggml_tensor * op);

    const int32_t * cells(int64_t token) const {
        return (const int32_t *) ((const char *) plan->data + token*plan->nb[1]);
    }
};

bool steerway_heads_fit(const ggml_tensor * op); // whether the operands are what steerway-head-plan.h says, or absent

// Writes the rows of heads that are not computed; thread `ith` of `nth`.
void steerway_gather_heads(ggml_tensor * op, const steerway_head_list & heads, int ith, int nth);

// Products of a query with one cell's key since the process started, done and left out, while a plan was there.
extern "C" void steerway_cpu_head_counts(uint64_t * done, uint64_t * skipped);

void steerway_count_heads(const ggml_tensor * op, const steerway_head_list & heads);
