// Steerway's extension of llama.cpp: a small C API beside llama.h, exported by the same library.
//
// Everything here is off until it is switched on for a context; with every switch off the library computes what the
// stock library computes, bit for bit. No function aborts the process: arguments and the kind of memory are checked
// first, and anything that cannot be done right is refused with a negative status. Like llama.h's own functions, these
// must not be called at the same time for one context.

#pragma once

#include "llama.h"

#ifdef __cplusplus
extern "C" {
#endif

// Raised when a function below changes its meaning or goes away.
#define STEERWAY_API_VERSION 1

// Switches of a context. A mask of these is what this library has (steerway_features) or what is on.
enum steerway_feature {
    // K-shift rotates only the cells that moved, on a graph of its own, instead of the whole cache followed by a new
    // reservation of the worst-case graph. Also applies to shifts asked for through llama_memory_seq_add.
    STEERWAY_RANGED_SHIFT = 1u << 0,
};

enum steerway_status {
    STEERWAY_OK             =  0,
    STEERWAY_BAD_ARGUMENT   = -1, // no context, no such sequence id, a range that ends before it starts, unknown switch
    STEERWAY_NO_KV_CACHE    = -2, // not one plain KV cache: recurrent, hybrid, sliding window, shared with another context
    STEERWAY_MANY_STREAMS   = -3, // one buffer per sequence; ask for a unified cache (kv_unified)
    STEERWAY_NO_ROTATION    = -4, // K cannot be moved by one rotation: M-RoPE, YaRN, MLA, per-layer RoPE, no causal RoPE
    STEERWAY_SHARED_CELLS   = -5, // a cell of the range belongs to another sequence too, which would move with it
    STEERWAY_BAD_POSITION   = -6, // a position would become negative or overflow
    STEERWAY_NO_BUFFER      = -7, // out of memory: positions have moved, the rotation is left to the next decode
    STEERWAY_COMPUTE_FAILED = -8, // the backend failed: drop the range, its K is undefined
    STEERWAY_INTERNAL       = -9, // an exception inside llama.cpp
};

LLAMA_API int32_t      steerway_api_version(void);
LLAMA_API const char * steerway_version(void);               // "0.3.36+steerway.1"
LLAMA_API uint32_t     steerway_features(void);              // mask of what this library has
LLAMA_API const char * steerway_feature_name(uint32_t bit);  // "ranged-shift"; NULL for an unknown bit
LLAMA_API const char * steerway_status_text(int32_t status); // one line in English, never NULL

// Switches exactly the features of `mask` on for `ctx`, all others off. STEERWAY_OK or STEERWAY_BAD_ARGUMENT.
LLAMA_API int32_t  steerway_set_features(struct llama_context * ctx, uint32_t mask);
LLAMA_API uint32_t steerway_get_features(const struct llama_context * ctx);

// Adds `delta` to the positions p0 <= pos < p1 of sequence `seq` and rotates their K, now rather than at the next decode
// (so that a state saved next is right). p0 < 0 means from the start, p1 < 0 to the end. With STEERWAY_RANGED_SHIFT on,
// only the cells that moved are touched, and the decode graph stays reserved; off, llama.cpp's own shift of the whole
// cache runs. A shift still pending from llama_memory_seq_add is applied along. Positions may collide with cells of the
// sequence outside the range; that is not checked, as in llama.cpp.
// Returns the number of cells moved, or a negative status. A refusal (-1 to -6) has changed nothing.
LLAMA_API int32_t steerway_kv_shift_range(
        struct llama_context * ctx,
                llama_seq_id   seq,
                   llama_pos   p0,
                   llama_pos   p1,
                   llama_pos   delta);

#ifdef __cplusplus
}
#endif
