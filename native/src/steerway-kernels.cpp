#include "steerway.h"

#include "ggml-backend.h"

// The switches lie in the CPU back end, which is another library.

namespace {

template<typename Function>
Function cpu_function(const char * name) {
    ggml_backend_reg_t cpu = ggml_backend_reg_by_name("CPU");
    return cpu ? (Function) ggml_backend_reg_get_proc_address(cpu, name) : nullptr;
}

uint32_t mask_of(const char * name) {
    const auto function = cpu_function<uint32_t (*)(void)>(name);
    return function ? function() : 0;
}

} // namespace

uint32_t steerway_kernels(void) {
    return mask_of("steerway_cpu_kernels");
}

const char * steerway_kernel_name(uint32_t bit) {
    switch (bit) {
        case STEERWAY_KERNEL_ATTENTION: return "attention";
        case STEERWAY_KERNEL_MATMUL:    return "matmul";
        default:                        return nullptr;
    }
}

uint32_t steerway_get_kernels(void) {
    return mask_of("steerway_cpu_get");
}

int32_t steerway_set_kernels(uint32_t mask) {
    const auto set = cpu_function<void (*)(uint32_t)>("steerway_cpu_set");
    if ((mask & ~steerway_kernels()) != 0 || !set) {
        return mask == 0 ? STEERWAY_OK : STEERWAY_BAD_ARGUMENT;
    }
    set(mask);
    return STEERWAY_OK;
}
