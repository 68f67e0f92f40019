// Rows of the KV cache in and out: a document's keys and values, computed once and placed anywhere. See steerway.h.

#pragma once

#include "steerway.h"

struct steerway_read_request {
    llama_context & ctx;
    llama_seq_id    seq;
    llama_pos       p0;
    llama_pos       p1;
    ggml_type       type;
    uint8_t       * dst;
    size_t          size;
};

struct steerway_write_request {
    llama_context & ctx;
    llama_seq_id    seq;
    llama_pos       p0;
    int32_t         n;
    int32_t         first;
    int32_t         n_src;
    llama_pos       delta;
    float           k_scale;
    ggml_type       type;
    const uint8_t * src;
    size_t          size;
};

int32_t steerway_describe_layers(llama_context & ctx, steerway_kv_layer * layers, int32_t n);
int64_t steerway_row_bytes(llama_context & ctx, ggml_type type);
int32_t steerway_read_rows(const steerway_read_request & request);
int32_t steerway_write_rows(const steerway_write_request & request);
