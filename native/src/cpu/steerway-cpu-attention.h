#pragma once

#include "ggml-cpu-impl.h"
#include "ggml.h"

bool   steerway_attention_built();                           // whether there is a kernel for this instruction set
bool   steerway_attention_takes(const ggml_tensor * op);     // a FLASH_ATTN_EXT that is computed here

// Whether layers of `heads` query heads, keys of dk and values of dv values, can have given heads (steerway-cpu-heads.h). 1 or 0.
extern "C" int steerway_attention_takes_heads(int64_t dk, int64_t dv, int64_t heads);

size_t steerway_attention_work_size(int n_threads, const ggml_tensor * op);
void   steerway_attention(const ggml_compute_params * params, ggml_tensor * op); // by every thread of the pool
