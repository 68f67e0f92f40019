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
#define STEERWAY_API_VERSION 3

// Switches of a context. A mask of these is what this library has (steerway_features) or what is on.
enum steerway_feature {
    // K-shift rotates only the cells that moved, on a graph of its own, instead of the whole cache followed by a new
    // reservation of the worst-case graph. Also applies to shifts asked for through llama_memory_seq_add.
    STEERWAY_RANGED_SHIFT = 1u << 0,

    // A batch may start at any position and leave gaps; its positions must still not decrease. What may collide with cells
    // that the sequence has is the caller's duty.
    STEERWAY_LOOSE_POSITIONS = 1u << 1,

    // steerway_set_bias has an effect.
    STEERWAY_MASK_BIAS = 1u << 2,

    // steerway_kv_read and steerway_kv_write.
    STEERWAY_KV_ROWS = 1u << 3,

    // steerway_set_heads and steerway_set_edges.
    STEERWAY_HEADS = 1u << 4,
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
    STEERWAY_SWITCHED_OFF   = -10, // the function's switch is off for this context
    STEERWAY_CELL_TYPE      = -11, // the cache does not hold f16 keys and untransposed f16 values (flash attention)
    STEERWAY_NOT_ONCE       = -12, // a position of the range has no cell, or several
    STEERWAY_NO_ROOM        = -13, // too few free cells
    STEERWAY_NO_KERNEL      = -14, // this build has none of ours for that type of weights on this processor
};

LLAMA_API int32_t      steerway_api_version(void);
LLAMA_API const char * steerway_version(void);               // "0.3.36+steerway.5"
LLAMA_API uint32_t     steerway_features(void);              // mask of what this library has
LLAMA_API const char * steerway_feature_name(uint32_t bit);  // "ranged-shift"; NULL for an unknown bit
LLAMA_API const char * steerway_status_text(int32_t status); // one line in English, never NULL

// Switches exactly the features of `mask` on for `ctx`, all others off; bias, heads and edges that were set are forgotten. STEERWAY_OK, or
// a refusal that has changed nothing: STEERWAY_BAD_ARGUMENT for unknown bits, STEERWAY_NO_KV_CACHE and
// STEERWAY_MANY_STREAMS for all but STEERWAY_RANGED_SHIFT when the context's memory is not one plain unified KV cache.
LLAMA_API int32_t  steerway_set_features(struct llama_context * ctx, uint32_t mask);
LLAMA_API uint32_t steerway_get_features(const struct llama_context * ctx);

// Kernels of our own in ggml's CPU back end, of the whole process. A mask of these is what this build has for its
// instruction set (steerway_kernels) or what is on. All off by default.
enum steerway_kernel {
    // Attention over an f16 cache in tiles that all query heads of a key head share. A token's result does not depend on
    // the tokens computed beside it, nor on the number of threads.
    STEERWAY_KERNEL_ATTENTION = 1u << 0,

    // Products of quantised weights with several columns, in integer tiles. The same holds.
    STEERWAY_KERNEL_MATMUL = 1u << 1,

    // Weights of models loaded while it is on are packed into tiles of 16 rows, a copy in memory of the file's size, for
    // products with any number of columns. The same holds, and the results are those of STEERWAY_KERNEL_MATMUL, bit for bit. A
    // model keeps what it was loaded with, whatever the switch says later.
    STEERWAY_KERNEL_PACKED = 1u << 2,
};

LLAMA_API uint32_t     steerway_kernels(void);
LLAMA_API const char * steerway_kernel_name(uint32_t bit); // "attention"; NULL for an unknown bit
LLAMA_API uint32_t     steerway_get_kernels(void);

// Switches exactly the kernels of `mask` on, while no context computes. STEERWAY_OK, or STEERWAY_BAD_ARGUMENT for a kernel
// that this build does not have.
LLAMA_API int32_t steerway_set_kernels(uint32_t mask);

// Which types of weights STEERWAY_KERNEL_PACKED packs in models loaded from now on: at first all it can. 1 or 0.
LLAMA_API int32_t steerway_can_pack(enum ggml_type type);
LLAMA_API int32_t steerway_packs(enum ggml_type type);

// STEERWAY_OK, or STEERWAY_BAD_ARGUMENT for a type that cannot be packed.
LLAMA_API int32_t steerway_set_packs(enum ggml_type type, bool on);

// Ways of computing a product of weights with a few columns.
enum steerway_way {
    STEERWAY_WAY_PACKED   = 0, // weights in tiles
    STEERWAY_WAY_IN_PLACE = 1, // plain weights, with our kernel; where it has none, llama.cpp's
    STEERWAY_WAY_STOCK    = 2, // llama.cpp's own, with its repacking where it has one for the type
};

// Nanoseconds of one product of n_rows rows of `width` weights with n_columns columns, by n_threads threads, over weights of at
// least `bytes` bytes in all (copies of the matrix, taken in turn, so that they come from memory when the caches hold less).
// The median of at least five rounds; while nothing else computes. STEERWAY_BAD_ARGUMENT for what cannot be,
// STEERWAY_NO_BUFFER without memory, STEERWAY_NO_KERNEL for a type that has no such way.
LLAMA_API int64_t steerway_measure_product(
          enum ggml_type   type,
                 int64_t   n_rows,
                 int64_t   width,
                 int64_t   n_columns,
                 int32_t   n_threads,
       enum steerway_way   way,
                 int64_t   bytes);

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

// One layer of the cache, as far as it decides what its rows mean.
struct steerway_kv_layer {
    int32_t  index;      // in the model
    int32_t  k_width;    // values of one token's key: all heads
    int32_t  v_width;
    int32_t  k_head;     // values of one head's key
    int32_t  v_head;
    int32_t  n_rot;      // values of a head that RoPE rotates, 0 for none
    int32_t  rope_type;  // enum llama_rope_type
    int32_t  k_type;     // enum ggml_type
    int32_t  v_type;
    float    freq_base;
    float    freq_scale;
    uint64_t factors;    // FNV-1a of RoPE's frequency factors, 0 without
};

// Describes the first n layers of the cache, in the order of their rows. Returns how many layers there are, or a negative
// status. Needs no switch.
LLAMA_API int32_t steerway_kv_layers(struct llama_context * ctx, struct steerway_kv_layer * layers, int32_t n);

// Rows: a block of n tokens is, for each layer in order, K[n][k_width] then V[n][v_width], as f16 or as q8_0 (ggml's blocks
// of 32 values, which the widths must be multiples of). Keys carry RoPE at the positions where they were computed.

// Bytes of one token's rows of all layers in `type` (GGML_TYPE_F16, GGML_TYPE_Q8_0), or why this context has no rows:
// STEERWAY_NO_KV_CACHE, STEERWAY_MANY_STREAMS, STEERWAY_CELL_TYPE, STEERWAY_BAD_ARGUMENT for another type. Needs no switch.
LLAMA_API int64_t steerway_kv_row_bytes(struct llama_context * ctx, enum ggml_type type);

// Free cells of the context's cache, all sequences together, or STEERWAY_NO_KV_CACHE, STEERWAY_MANY_STREAMS. Needs no switch.
LLAMA_API int32_t steerway_kv_free_cells(struct llama_context * ctx);

// Copies the rows of positions [p0, p1) of `seq` to `dst`, in the order of positions; `size` must be exactly
// (p1 - p0)*steerway_kv_row_bytes. A pending shift is applied first. Returns the number of tokens, or a negative status.
LLAMA_API int32_t steerway_kv_read(
        struct llama_context * ctx,
                llama_seq_id   seq,
                   llama_pos   p0,
                   llama_pos   p1,
              enum ggml_type   type,
                        void * dst,
                      size_t   size);

// Copies rows [first, first + n) of the block of n_src tokens at `src` (`size` bytes: exactly the block) into free cells,
// the lowest first, which become positions p0 .. p0 + n - 1 of `seq`. Keys are rotated by `delta` positions and multiplied
// by k_scale on the way; delta 0 and scale 1 keep the bits of f16 rows. What the values are is not checked.
// Returns n, or a negative status that has changed nothing; STEERWAY_NO_ROTATION only if delta is not 0. With n = 0 it only
// says whether such a write would be refused.
LLAMA_API int32_t steerway_kv_write(
        struct llama_context * ctx,
                llama_seq_id   seq,
                   llama_pos   p0,
                     int32_t   n,
                     int32_t   first,
                     int32_t   n_src,
                   llama_pos   delta,
                       float   k_scale,
              enum ggml_type   type,
                const void   * src,
                      size_t   size);

// From now on, queries at positions >= p1 get `bias` added to their logits (before softmax) for all cells of their sequence
// at p0 <= pos < p1. Replaces what was set; 0 is off. |bias| must be at most 10,000; the mask is f16 with flash attention.
// STEERWAY_OK or a refusal that has changed nothing.
LLAMA_API int32_t steerway_set_bias(struct llama_context * ctx, llama_pos p0, llama_pos p1, float bias);

// What a head does in place of its attention. "Definitions" are those that steerway_set_edges gives for a token; the "sink" is
// the token at the lowest position of the sequence.
enum steerway_head_mode {
    // weight*mean(V of the definitions) + previous*V of the token before + the rest*V of the sink. A share whose token is not
    // there is the sink's; so 0 and 0 is a head that rests on the sink.
    STEERWAY_HEAD_INJECT   = 1,

    // Attention as usual, with `weight` added to the logits of the definitions.
    STEERWAY_HEAD_REWEIGHT = 2,
};

struct steerway_head {
    int32_t layer;    // in the model, from 0
    int32_t head;     // query head, from 0
    int32_t mode;     // enum steerway_head_mode
    float   weight;   // of definitions: a share of at least 0, or a logit of at most 100 in magnitude
    float   previous; // a share of at least 0; both are at most 1 together. 0 for re-weighting
};

// From now on these heads of `ctx`, and no others, do that in every decode; n = 0 is off. `constants`, NULL or n times as many
// values as a head's V has, is added to the outputs of each; not for the first token of a sequence, and not to re-weighted heads. On the CPU the scores of all
// but the re-weighted ones are not computed. STEERWAY_OK or a refusal that has changed nothing: STEERWAY_BAD_ARGUMENT (a head
// twice or not there, a weight out of range), STEERWAY_SWITCHED_OFF, STEERWAY_NO_KV_CACHE, STEERWAY_MANY_STREAMS,
// STEERWAY_CELL_TYPE (needs flash attention over f16, without soft cap or ALiBi), STEERWAY_NO_KERNEL (the back end that has the
// cache, or this build of it, has no kernel for heads of that size).
LLAMA_API int32_t steerway_set_heads(struct llama_context * ctx, const struct steerway_head * heads, int32_t n, const float * constants);

// A use at one position of a sequence and a definition at another.
struct steerway_edge {
    llama_pos use;
    llama_pos definition;
};

// From now on, tokens of `seq` at these positions have these definitions, and no others; at most 8 of one use. A pair has an effect
// when the token at `use` is decoded and `definition` is a smaller position that then has a cell. Cells that are already there
// stay as they are. STEERWAY_OK, STEERWAY_BAD_ARGUMENT or STEERWAY_SWITCHED_OFF, which have changed nothing.
LLAMA_API int32_t steerway_set_edges(struct llama_context * ctx, llama_seq_id seq, const struct steerway_edge * edges, int32_t n);

// Products of a query and a key since the process started, by decodes with heads set: done, and left out.
LLAMA_API void steerway_head_counts(uint64_t * done, uint64_t * skipped);

#ifdef __cplusplus
}
#endif
