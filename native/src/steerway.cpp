#include "steerway.h"

#include "steerway-hooks.h"
#include "steerway-kv-shift.h"
#include "steerway-version.h" // written by the build back end

#include "llama-context.h"
#include "llama-impl.h"

#include <atomic>
#include <mutex>
#include <unordered_map>

namespace {

constexpr uint32_t k_all_features = STEERWAY_RANGED_SHIFT;

// A table instead of a member of llama_context: llama.cpp's headers stay as they are, so every other object file of the
// library is the stock one.
struct switch_table {
    std::mutex mutex;
    std::unordered_map<const llama_context *, uint32_t> masks;
    std::atomic<size_t> size{0};
};

switch_table & switches() {
    static switch_table * table = new switch_table(); // never destroyed: contexts may outlive static destructors
    return *table;
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
        case STEERWAY_RANGED_SHIFT: return "ranged-shift";
        default:                    return nullptr;
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
        default:                      return status >= 0 ? "ok" : "unknown status";
    }
}

int32_t steerway_set_features(llama_context * ctx, uint32_t mask) {
    if (!ctx || (mask & ~k_all_features) != 0) {
        return STEERWAY_BAD_ARGUMENT;
    }

    auto & table = switches();
    const std::lock_guard<std::mutex> lock(table.mutex);

    if (mask) {
        table.masks[ctx] = mask;
    } else {
        table.masks.erase(ctx);
    }
    table.size = table.masks.size();

    return STEERWAY_OK;
}

uint32_t steerway_get_features(const llama_context * ctx) {
    auto & table = switches();
    if (table.size == 0) {
        return 0;
    }

    const std::lock_guard<std::mutex> lock(table.mutex);
    const auto it = table.masks.find(ctx);

    return it == table.masks.end() ? 0 : it->second;
}

int32_t steerway_kv_shift_range(llama_context * ctx, llama_seq_id seq, llama_pos p0, llama_pos p1, llama_pos delta) {
    if (!ctx) {
        return STEERWAY_BAD_ARGUMENT;
    }

    try {
        const bool ranged = steerway_get_features(ctx) & STEERWAY_RANGED_SHIFT;
        return steerway_shift({ *ctx, seq, p0, p1, delta }, ranged);
    } catch (const std::exception & err) {
        LLAMA_LOG_ERROR("%s: %s\n", __func__, err.what());
    } catch (...) {
        LLAMA_LOG_ERROR("%s: unknown exception\n", __func__);
    }
    return STEERWAY_INTERNAL;
}

void steerway_before_memory_update(llama_context & ctx) {
    if (steerway_get_features(&ctx) & STEERWAY_RANGED_SHIFT) {
        steerway_apply_pending(ctx);
    }
}

void steerway_forget(const llama_context & ctx) {
    auto & table = switches();
    if (table.size == 0) {
        return;
    }

    const std::lock_guard<std::mutex> lock(table.mutex);
    table.masks.erase(&ctx);
    table.size = table.masks.size();
}
