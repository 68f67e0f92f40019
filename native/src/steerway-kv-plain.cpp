#include "steerway-kv-plain.h"

#include "steerway.h"

#include "llama-context.h"
#include "llama-kv-cache.h"
#include "llama-model.h"

#include <typeinfo>

llama_kv_cache * steerway_plain_cache(llama_context & ctx) {
    auto * memory = ctx.get_memory();
    if (!memory || typeid(*memory) != typeid(llama_kv_cache) || ctx.get_cparams().ctx_other) {
        return nullptr;
    }
    return static_cast<llama_kv_cache *>(memory);
}

int32_t steerway_check_plain(llama_context & ctx) {
    const auto * kv = steerway_plain_cache(ctx);
    if (!kv || ctx.get_model().hparams.swa_type != LLAMA_SWA_TYPE_NONE) {
        return STEERWAY_NO_KV_CACHE;
    }
    return kv->get_n_stream() == 1 ? STEERWAY_OK : STEERWAY_MANY_STREAMS;
}

bool steerway_rotates_plainly(const llama_context & ctx, const llama_kv_cache & kv) {
    const auto & hparams = ctx.get_model().hparams;
    const auto & cparams = ctx.get_cparams();

    // rope scales the magnitude with YaRN: shifting twice would not equal shifting once
    if (!kv.get_can_shift() || hparams.is_mla() || cparams.yarn_ext_factor != 0.0f || cparams.yarn_attn_factor != 1.0f) {
        return false;
    }
    // these rotate the end of a head, not its beginning
    if (hparams.n_lora_kv > 0) {
        return false;
    }

    // the Hadamard matrix mixes a whole head, so the part that rope leaves alone cannot be left out
    if (ggml_is_quantized(kv.type_k())) {
        for (const uint32_t il : kv.get_layer_ids()) {
            if (hparams.n_rot(il) != hparams.n_embd_head_k(il)) {
                return false;
            }
        }
    }
    return true;
}

llama_kv_cells & steerway_cells(llama_kv_cache & kv) {
    return const_cast<llama_kv_cells &>(kv.get_cells(0));
}
