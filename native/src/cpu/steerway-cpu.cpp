#include "steerway-cpu.h"

#include "steerway-cpu-attention.h"
#include "steerway-cpu-matmul.h"

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

class kernels : public ggml::cpu::extra_buffer_type {
    bool supports_op(ggml_backend_dev_t, const ggml_tensor *) override {
        return false; // so that no weight is put into a buffer of this type
    }

    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * op) override {
        // never destroyed: threads of a pool may outlive static destructors
        static auto * const attention = new attention_traits();
        static auto * const matmul    = new matmul_traits();
        switch (op->op) {
            case GGML_OP_FLASH_ATTN_EXT:
                return is_on(STEERWAY_CPU_ATTENTION) && steerway_attention_takes(op) ? attention : nullptr;
            case GGML_OP_MUL_MAT:
                return is_on(STEERWAY_CPU_MATMUL) && steerway_matmul_takes(op) ? matmul : nullptr;
            default:
                return nullptr;
        }
    }
};

const char * name_of(ggml_backend_buffer_type_t) {
    return "CPU_STEERWAY";
}

ggml_backend_buffer_t no_buffer(ggml_backend_buffer_type_t, size_t) {
    return nullptr;
}

size_t alignment_of(ggml_backend_buffer_type_t) {
    return 64;
}

} // namespace

uint32_t steerway_cpu_kernels(void) {
    uint32_t mask = 0;
    mask |= steerway_attention_built() ? (uint32_t) STEERWAY_CPU_ATTENTION : 0u;
    mask |= steerway_matmul_built() ? (uint32_t) STEERWAY_CPU_MATMUL : 0u;
    return mask;
}

uint32_t steerway_cpu_get(void) {
    return g_on;
}

void steerway_cpu_set(uint32_t mask) {
    g_on = mask & steerway_cpu_kernels();
}

ggml_backend_buffer_type_t steerway_cpu_buffer_type(void) {
    static ggml_backend_buffer_type type = {
        /* .iface   = */ { name_of, no_buffer, alignment_of, nullptr, nullptr, nullptr },
        /* .device  = */ ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0),
        /* .context = */ new kernels(),
    };
    return &type;
}

void * steerway_cpu_proc_address(const char * name) {
    if (strcmp(name, "steerway_cpu_kernels") == 0) {
        return (void *) steerway_cpu_kernels;
    }
    if (strcmp(name, "steerway_cpu_get") == 0) {
        return (void *) steerway_cpu_get;
    }
    if (strcmp(name, "steerway_cpu_set") == 0) {
        return (void *) steerway_cpu_set;
    }
    return nullptr;
}
