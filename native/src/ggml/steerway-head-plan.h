// How libllama tells a back end's attention which heads are not to be computed as usual: operands 5 and 6 of a
// GGML_OP_FLASH_ATTN_EXT, which llama.cpp leaves empty. Internal.

#pragma once

#define STEERWAY_PLAN_OPERAND  5
#define STEERWAY_TABLE_OPERAND 6

#define STEERWAY_MOST_DEFINITIONS 8
#define STEERWAY_MOST_HEADS       128 // query heads of a layer

// Operand 5, I32 [STEERWAY_PLAN_WIDTH, tokens]: cells, by token, the same for all layers. -1 for none.
enum steerway_plan_row {
    STEERWAY_PLAN_SINK     = 0, // the first of the token's sequence
    STEERWAY_PLAN_PREVIOUS = 1, // the one before the token
    STEERWAY_PLAN_FIRST    = 2, // 1 for a token that is its sequence's first: every head sees itself alone
    STEERWAY_PLAN_COUNT    = 3, // how many definitions follow
    STEERWAY_PLAN_CELLS    = 4,
    STEERWAY_PLAN_WIDTH    = STEERWAY_PLAN_CELLS + STEERWAY_MOST_DEFINITIONS,
};

// Operand 6, F32 [STEERWAY_TABLE_CONSTANT + width of a head's value, heads]: the layer's heads that differ, each once.
enum steerway_table_row {
    STEERWAY_TABLE_HEAD     = 0,
    STEERWAY_TABLE_MODE     = 1, // steerway_head_mode
    STEERWAY_TABLE_WEIGHT   = 2,
    STEERWAY_TABLE_PREVIOUS = 3,
    STEERWAY_TABLE_CONSTANT = 4,
};

// As enum steerway_head_mode in steerway.h.
enum steerway_table_mode {
    STEERWAY_MODE_INJECT   = 1, // weight*mean(V of the definitions) + previous*V of the previous token + the rest*V of the sink + constant
    STEERWAY_MODE_REWEIGHT = 2, // attention as usual, with `weight` added to the logits of the definitions
};
