#include "steerway-switches.h"

#include <atomic>
#include <mutex>
#include <unordered_map>

namespace {

struct switch_table {
    std::mutex mutex;
    std::unordered_map<const llama_context *, steerway_switches> contexts;
    std::atomic<size_t> size{0};
};

switch_table & table() {
    static switch_table * res = new switch_table(); // never destroyed: contexts may outlive static destructors
    return *res;
}

} // namespace

steerway_switches steerway_switches_of(const llama_context * ctx) {
    auto & all = table();
    if (all.size == 0) {
        return {};
    }

    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto it = all.contexts.find(ctx);

    return it == all.contexts.end() ? steerway_switches{} : it->second;
}

steerway_switches steerway_switches_of(const llama_memory_i * memory) {
    auto & all = table();
    if (all.size == 0 || !memory) {
        return {};
    }

    const std::lock_guard<std::mutex> lock(all.mutex);
    for (const auto & [ctx, switches] : all.contexts) {
        if (switches.memory == memory) {
            return switches;
        }
    }
    return {};
}

std::shared_ptr<const steerway_head_set> steerway_heads_over(const ggml_tensor * keys) {
    auto & all = table();
    if (all.size == 0) {
        return nullptr;
    }

    const std::lock_guard<std::mutex> lock(all.mutex);
    for (const auto & [ctx, switches] : all.contexts) {
        if (!switches.heads) {
            continue;
        }
        for (const auto & layer : switches.heads->layers) {
            if (layer.keys == keys) {
                return switches.heads;
            }
        }
    }
    return nullptr;
}

void steerway_set_switches(const llama_context * ctx, const steerway_switches & switches) {
    auto & all = table();
    if (all.size == 0 && switches.mask == 0) {
        return;
    }

    const std::lock_guard<std::mutex> lock(all.mutex);
    if (switches.mask) {
        all.contexts[ctx] = switches;
    } else {
        all.contexts.erase(ctx);
    }
    all.size = all.contexts.size();
}
