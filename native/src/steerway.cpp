#include "steerway.h"

#include "steerway-hooks.h"
#include "steerway-kv-plain.h"
#include "steerway-kv-rows.h"
#include "steerway-kv-shift.h"
#include "steerway-switches.h"
#include "steerway-version.h" // written by the build back end

#include "llama-context.h"
#include "llama-impl.h"
#include "llama-kv-cells.h"
#include "llama-model.h"

#include <cmath>

namespace {

// Those that need one plain KV cache; the ranged shift falls back to llama.cpp's own without.
constexpr uint32_t k_plain_features = STEERWAY_LOOSE_POSITIONS | STEERWAY_MASK_BIAS | STEERWAY_KV_ROWS | STEERWAY_HEADS;
constexpr uint32_t k_all_features   = STEERWAY_RANGED_SHIFT | k_plain_features;

constexpr float k_max_bias = 10000.0f; // well inside f16, and exp(-10000) is 0

// What a C caller gets for an exception.
template<typename Function>
auto guarded(const char * name, Function && function) -> decltype(function()) {
    try {
        return function();
    } catch (const std::exception & err) {
        LLAMA_LOG_ERROR("%s: %s\n", name, err.what());
    } catch (...) {
        LLAMA_LOG_ERROR("%s: unknown exception\n", name);
    }
    return STEERWAY_INTERNAL;
}

bool is_on(const llama_context * ctx, uint32_t feature) {
    return steerway_switches_of(ctx).mask & feature;
}

} // namespace

int32_t steerway_api_version(void) {
    return STEERWAY_API_VERSION;
}

const char * steerway_version(void) {
    return STEERWAY_VERSION;
}

uint32_t steerway_features(void) {
    return k_all_features;
}

const char * steerway_feature_name(uint32_t bit) {
    switch (bit) {
        case STEERWAY_RANGED_SHIFT:    return "ranged-shift";
        case STEERWAY_LOOSE_POSITIONS: return "loose-positions";
        case STEERWAY_MASK_BIAS:       return "mask-bias";
        case STEERWAY_KV_ROWS:         return "kv-rows";
        case STEERWAY_HEADS:           return "heads";
        default:                       return nullptr;
    }
}

const char * steerway_status_text(int32_t status) {
    switch (status) {
        case STEERWAY_BAD_ARGUMENT:   return "invalid argument";
        case STEERWAY_NO_KV_CACHE:    return "the model's memory is not one plain KV cache";
        case STEERWAY_MANY_STREAMS:   return "the KV cache has one stream per sequence, not a unified buffer";
        case STEERWAY_NO_ROTATION:    return "this model's keys cannot be moved by a rotation";
        case STEERWAY_SHARED_CELLS:   return "cells of the range are shared with another sequence";
        case STEERWAY_BAD_POSITION:   return "a position would become negative or too large";
        case STEERWAY_NO_BUFFER:      return "out of memory, the rotation is left to the next decode";
        case STEERWAY_COMPUTE_FAILED: return "the computation failed, the keys of the range are undefined";
        case STEERWAY_INTERNAL:       return "internal error";
        case STEERWAY_SWITCHED_OFF:   return "the feature is not switched on for this context";
        case STEERWAY_CELL_TYPE:      return "the KV cache does not hold f16 keys and untransposed f16 values";
        case STEERWAY_NOT_ONCE:       return "a position of the range has no cell, or several";
        case STEERWAY_NO_ROOM:        return "too few free cells";
        case STEERWAY_NO_KERNEL:      return "this build has no kernel of ours for that";
        default:                      return status >= 0 ? "ok" : "unknown status";
    }
}

int32_t steerway_set_features(llama_context * ctx, uint32_t mask) {
    if (!ctx || (mask & ~k_all_features) != 0) {
        return STEERWAY_BAD_ARGUMENT;
    }
    return guarded(__func__, [&]() -> int32_t {
        const int32_t refused = mask & k_plain_features ? steerway_check_plain(*ctx) : STEERWAY_OK;
        if (refused == STEERWAY_OK) {
            if (steerway_switches_of(ctx).heads) {
                steerway_rebuild_graph(*ctx);
            }
            steerway_set_switches(ctx, { mask, ctx->get_memory(), {}, nullptr, nullptr });
        }
        return refused;
    });
}

uint32_t steerway_get_features(const llama_context * ctx) {
    return steerway_switches_of(ctx).mask;
}

int32_t steerway_kv_shift_range(llama_context * ctx, llama_seq_id seq, llama_pos p0, llama_pos p1, llama_pos delta) {
    if (!ctx) {
        return STEERWAY_BAD_ARGUMENT;
    }
    return guarded(__func__, [&] {
        return steerway_shift({ *ctx, seq, p0, p1, delta }, is_on(ctx, STEERWAY_RANGED_SHIFT));
    });
}

int32_t steerway_kv_layers(llama_context * ctx, steerway_kv_layer * layers, int32_t n) {
    if (!ctx || n < 0 || (n > 0 && !layers)) {
        return STEERWAY_BAD_ARGUMENT;
    }
    return guarded(__func__, [&] { return steerway_describe_layers(*ctx, layers, n); });
}

int64_t steerway_kv_row_bytes(llama_context * ctx, ggml_type type) {
    if (!ctx) {
        return STEERWAY_BAD_ARGUMENT;
    }
    return guarded(__func__, [&] { return steerway_row_bytes(*ctx, type); });
}

int32_t steerway_kv_free_cells(llama_context * ctx) {
    if (!ctx) {
        return STEERWAY_BAD_ARGUMENT;
    }
    const int32_t refused = steerway_check_plain(*ctx);
    if (refused != STEERWAY_OK) {
        return refused;
    }
    const auto & cells = steerway_cells(*steerway_plain_cache(*ctx));
    return cells.size() - cells.get_used();
}

int32_t steerway_kv_read(
        llama_context * ctx, llama_seq_id seq, llama_pos p0, llama_pos p1, ggml_type type, void * dst, size_t size) {
    if (!ctx) {
        return STEERWAY_BAD_ARGUMENT;
    }
    if (!is_on(ctx, STEERWAY_KV_ROWS)) {
        return STEERWAY_SWITCHED_OFF;
    }
    return guarded(__func__, [&] {
        return steerway_read_rows({ *ctx, seq, p0, p1, type, (uint8_t *) dst, size });
    });
}

int32_t steerway_kv_write(
        llama_context * ctx, llama_seq_id seq, llama_pos p0, int32_t n, int32_t first, int32_t n_src,
        llama_pos delta, float k_scale, ggml_type type, const void * src, size_t size) {
    if (!ctx) {
        return STEERWAY_BAD_ARGUMENT;
    }
    if (!is_on(ctx, STEERWAY_KV_ROWS)) {
        return STEERWAY_SWITCHED_OFF;
    }
    return guarded(__func__, [&] {
        return steerway_write_rows({ *ctx, seq, p0, n, first, n_src, delta, k_scale, type, (const uint8_t *) src, size });
    });
}

int32_t steerway_set_bias(llama_context * ctx, llama_pos p0, llama_pos p1, float bias) {
    if (!ctx || p0 < 0 || p1 < p0 || !(std::fabs(bias) <= k_max_bias)) {
        return STEERWAY_BAD_ARGUMENT;
    }
    auto switches = steerway_switches_of(ctx);
    if (!(switches.mask & STEERWAY_MASK_BIAS)) {
        return STEERWAY_SWITCHED_OFF;
    }
    if (ctx->get_model().hparams.use_alibi) {
        return STEERWAY_NO_KV_CACHE; // its mask is multiplied by a slope a head
    }
    switches.bias = { p0, p1, bias };
    return guarded(__func__, [&]() -> int32_t {
        steerway_set_switches(ctx, switches);
        return STEERWAY_OK;
    });
}

int32_t steerway_set_heads(llama_context * ctx, const steerway_head * heads, int32_t n, const float * constants) {
    if (!ctx || n < 0 || (n > 0 && !heads)) {
        return STEERWAY_BAD_ARGUMENT;
    }
    auto switches = steerway_switches_of(ctx);
    if (!(switches.mask & STEERWAY_HEADS)) {
        return STEERWAY_SWITCHED_OFF;
    }
    return guarded(__func__, [&]() -> int32_t {
        std::shared_ptr<const steerway_head_set> set;
        const int32_t refused = steerway_make_heads({ *ctx, heads, n, constants }, set);
        if (refused == STEERWAY_OK && (set || switches.heads)) {
            switches.heads = set;
            steerway_set_switches(ctx, switches);
            steerway_rebuild_graph(*ctx);
        }
        return refused;
    });
}

int32_t steerway_set_edges(llama_context * ctx, llama_seq_id seq, const steerway_edge * edges, int32_t n) {
    if (!ctx || seq < 0 || seq >= (llama_seq_id) llama_n_seq_max(ctx) || n < 0 || (n > 0 && !edges)) {
        return STEERWAY_BAD_ARGUMENT;
    }
    auto switches = steerway_switches_of(ctx);
    if (!(switches.mask & STEERWAY_HEADS)) {
        return STEERWAY_SWITCHED_OFF;
    }
    return guarded(__func__, [&]() -> int32_t {
        const int32_t refused = steerway_make_edges(switches.edges, seq, edges, n, switches.edges);
        if (refused == STEERWAY_OK) {
            steerway_set_switches(ctx, switches);
        }
        return refused;
    });
}

void steerway_before_memory_update(llama_context & ctx) {
    if (is_on(&ctx, STEERWAY_RANGED_SHIFT)) {
        steerway_apply_pending(ctx);
    }
}

void steerway_forget(const llama_context & ctx) {
    steerway_set_switches(&ctx, {});
}
