// The ranged K-shift: rotate only the cells whose position changed. Internal; see steerway.h.

#pragma once

#include "llama.h"

struct steerway_shift_request {
    llama_context & ctx;
    llama_seq_id    seq;
    llama_pos       p0;
    llama_pos       p1;
    llama_pos       delta;
};

// Moves the range and rotates its K; `ranged` picks this file's shift, otherwise llama.cpp's own.
// Returns the number of cells moved or a negative steerway_status.
int32_t steerway_shift(const steerway_shift_request & request, bool ranged);

// Rotates the cells with a pending shift, if this cache can be served. Returns a steerway_status.
int32_t steerway_apply_pending(llama_context & ctx);
