#include "steerway-cpu.h"

#include "steerway-cpu-attention.h"
#include "steerway-cpu-buffer.h"
#include "steerway-cpu-heads.h"
#include "steerway-cpu-matmul.h"
#include "steerway-cpu-measure.h"
#include "steerway-cpu-packed.h"

#include "ggml-backend-impl.h"
#include "ggml-cpu.h"
#include "traits.h"

#include <atomic>
#include <cstring>

namespace {

std::atomic<uint32_t> g_on{0};

bool is_on(uint32_t kernel) {
    return g_on.load(std::memory_order_relaxed) & kernel;
}

std::atomic<bool> g_unpacked[256]; // types that stay as they are

class attention_traits : public ggml::cpu::tensor_traits {
    bool work_size(int n_threads, const ggml_tensor * op, size_t & size) override {
        size = steerway_attention_work_size(n_threads, op);
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        steerway_attention(params, op);
        return true;
    }
};

class matmul_traits : public ggml::cpu::tensor_traits {
    bool work_size(int n_threads, const ggml_tensor * op, size_t & size) override {
        size = steerway_matmul_work_size(n_threads, op);
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        steerway_matmul(params, op);
        return true;
    }
};

class packed_traits : public ggml::cpu::tensor_traits {
    bool work_size(int n_threads, const ggml_tensor * op, size_t & size) override {
        size = steerway_packed_work_size(n_threads, op);
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        steerway_packed_matmul(params, op);
        return true;
    }
};

bool lies_here(const ggml_tensor * tensor) {
    return tensor->buffer && tensor->buffer->buft == steerway_cpu_buffer_type();
}

class kernels : public ggml::cpu::extra_buffer_type {
    // Asked with an empty buffer when a model is loaded, to see whether weights can be put into one of this type.
    bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) override {
        if (!steerway_packed_takes(op) || !lies_here(op->src[0])) {
            return false;
        }
        if (op->src[1]->buffer && !ggml_backend_buffer_is_host(op->src[1]->buffer)) {
            return false;
        }
        return op->src[0]->data || (is_on(STEERWAY_CPU_PACKED) && steerway_cpu_packs(op->src[0]->type));
    }

    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * op) override {
        // never destroyed: threads of a pool may outlive static destructors
        static auto * const attention = new attention_traits();
        static auto * const matmul    = new matmul_traits();
        static auto * const packed    = new packed_traits();
        switch (op->op) {
            case GGML_OP_FLASH_ATTN_EXT:
                return (is_on(STEERWAY_CPU_ATTENTION) || op->src[STEERWAY_PLAN_OPERAND]) && steerway_attention_takes(op)
                    ? attention : nullptr;
            case GGML_OP_MUL_MAT:
                if (lies_here(op->src[0]) && steerway_packed_takes(op)) {
                    return packed;
                }
                return is_on(STEERWAY_CPU_MATMUL) && steerway_matmul_takes(op) ? matmul : nullptr;
            default:
                return nullptr;
        }
    }
};

const char * name_of(ggml_backend_buffer_type_t) {
    return "CPU_STEERWAY";
}

size_t alignment_of(ggml_backend_buffer_type_t) {
    return 64;
}

} // namespace

uint32_t steerway_cpu_kernels(void) {
    uint32_t mask = 0;
    mask |= steerway_attention_built() ? (uint32_t) STEERWAY_CPU_ATTENTION : 0u;
    mask |= steerway_matmul_built() ? (uint32_t) STEERWAY_CPU_MATMUL : 0u;
    mask |= steerway_packed_has(GGML_TYPE_Q4_0) ? (uint32_t) STEERWAY_CPU_PACKED : 0u;
    return mask;
}

uint32_t steerway_cpu_get(void) {
    return g_on;
}

void steerway_cpu_set(uint32_t mask) {
    g_on = mask & steerway_cpu_kernels();
}

int steerway_cpu_can_pack(int type) {
    return type >= 0 && type < 256 && steerway_packed_has((ggml_type) type);
}

int steerway_cpu_packs(int type) {
    return steerway_cpu_can_pack(type) && !g_unpacked[type].load(std::memory_order_relaxed);
}

int steerway_cpu_set_packs(int type, int on) {
    if (!steerway_cpu_can_pack(type)) {
        return -1;
    }
    g_unpacked[type] = on == 0;
    return 0;
}

ggml_backend_buffer_type_t steerway_cpu_buffer_type(void) {
    static ggml_backend_buffer_type type = [] {
        ggml_backend_buffer_type made = {}; // by name: other releases have more in between
        made.iface.get_name       = name_of;
        made.iface.alloc_buffer   = steerway_buffer_new;
        made.iface.get_alignment  = alignment_of;
        made.iface.get_alloc_size = steerway_buffer_alloc_size;
        made.device               = ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0);
        made.context              = new kernels();
        return made;
    }();
    return &type;
}

void * steerway_cpu_proc_address(const char * name) {
    static const struct {
        const char * name;
        void *       function;
    } functions[] = {
        { "steerway_cpu_kernels",   (void *) steerway_cpu_kernels },
        { "steerway_cpu_get",       (void *) steerway_cpu_get },
        { "steerway_cpu_set",       (void *) steerway_cpu_set },
        { "steerway_cpu_can_pack",  (void *) steerway_cpu_can_pack },
        { "steerway_cpu_packs",     (void *) steerway_cpu_packs },
        { "steerway_cpu_set_packs", (void *) steerway_cpu_set_packs },
        { "steerway_cpu_measure",   (void *) steerway_cpu_measure },
        { "steerway_cpu_takes_heads", (void *) steerway_attention_takes_heads },
        { "steerway_cpu_head_counts", (void *) steerway_cpu_head_counts },
    };
    for (const auto & known : functions) {
        if (strcmp(name, known.name) == 0) {
            return known.function;
        }
    }
    return nullptr;
}
