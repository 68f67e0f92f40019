// What the patches call from inside llama.cpp. Internal.

#pragma once

struct llama_context;

// Called at the start of llama_context::memory_update: applies a pending K-shift here if STEERWAY_RANGED_SHIFT is on and
// the cache allows it, after which llama.cpp finds nothing left to do. Otherwise changes nothing.
void steerway_before_memory_update(llama_context & ctx);

// Called by llama_context's destructor, so that a later context at the same address starts with every switch off.
void steerway_forget(const llama_context & ctx);
