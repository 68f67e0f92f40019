// What a decode sees differently: loose positions and the bias in the mask. The hooks that llama-batch.cpp and
// llama-kv-cache.cpp call; each returns at once unless a context has its switch on.

#include "steerway-hooks.h"
#include "steerway-switches.h"
#include "steerway.h"

#include "llama-batch.h"
#include "llama-kv-cache.h"

#include <vector>

namespace {

// Cells of a sequence at the bias's positions, as columns of the mask.
std::vector<uint32_t> biased_columns(const llama_kv_cells & cells, llama_seq_id seq, const steerway_bias & bias, uint32_t n) {
    std::vector<uint32_t> res;
    const auto & all = cells.seq_pos_get(seq);
    for (auto it = all.lower_bound({ bias.p0, 0 }); it != all.end() && it->first < bias.p1; ++it) {
        if (it->second < n) {
            res.push_back(it->second);
        }
    }
    return res;
}

// A cell that is visible has 0 in the mask, one that is not has -inf and keeps it.
template<typename T>
void add_bias(T * row, const std::vector<uint32_t> & columns, T value) {
    for (const uint32_t j : columns) {
        if (row[j] == 0) {
            row[j] = value;
        }
    }
}

void add_bias_to_row(ggml_tensor * mask, uint32_t i, const std::vector<uint32_t> & columns, float value) {
    const int64_t n_kv = mask->ne[0];
    if (mask->type == GGML_TYPE_F16) {
        add_bias((ggml_fp16_t *) mask->data + n_kv*i, columns, ggml_fp32_to_fp16(value));
    } else {
        add_bias((float *) mask->data + n_kv*i, columns, value);
    }
}

} // namespace

bool steerway_loose(const llama_memory_i * memory) {
    return steerway_switches_of(memory).mask & STEERWAY_LOOSE_POSITIONS;
}

void steerway_bias_mask(const llama_kv_cache & kv, ggml_tensor * mask, const llama_ubatch & ubatch) {
    const auto switches = steerway_switches_of(static_cast<const llama_memory_i *>(&kv));
    if (!(switches.mask & STEERWAY_MASK_BIAS) || switches.bias.value == 0.0f) {
        return;
    }

    const auto & bias = switches.bias;
    std::vector<uint32_t> columns;
    llama_seq_id seq = -1;
    for (uint32_t i = 0; i < ubatch.n_tokens; ++i) {
        if (ubatch.pos[i] < bias.p1) {
            continue;
        }
        if (ubatch.seq_id[i][0] != seq) {
            seq = ubatch.seq_id[i][0];
            columns = biased_columns(kv.get_cells(seq), seq, bias, mask->ne[0]);
        }
        add_bias_to_row(mask, i, columns, bias.value);
    }
}
