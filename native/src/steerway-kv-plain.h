// The one kind of memory that Steerway's functions serve: a unified KV cache that belongs to one context. Internal.

#pragma once

#include "llama.h"

class llama_kv_cache;
class llama_kv_cells;

// The context's memory if it is exactly one KV cache of its own, else null. A subclass or a wrapper (sliding window,
// hybrid, sparse) keeps further state that a change of the cells alone would leave behind.
llama_kv_cache * steerway_plain_cache(llama_context & ctx);

// STEERWAY_OK, or why the context's memory cannot be served: STEERWAY_NO_KV_CACHE, STEERWAY_MANY_STREAMS.
int32_t steerway_check_plain(llama_context & ctx);

// Whether moving keys by some positions is one rotation of what the cache stores. `kv` is the context's plain cache.
bool steerway_rotates_plainly(const llama_context & ctx, const llama_kv_cache & kv);

// llama.cpp hands its cells out read-only; they are not const.
llama_kv_cells & steerway_cells(llama_kv_cache & kv);
