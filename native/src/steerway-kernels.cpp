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

int32_t about_type(const char * name, enum ggml_type type) {
    const auto function = cpu_function<int (*)(int)>(name);
    return function ? function(type) : 0;
}

} // namespace

uint32_t steerway_kernels(void) {
    return mask_of("steerway_cpu_kernels");
}

const char * steerway_kernel_name(uint32_t bit) {
    switch (bit) {
        case STEERWAY_KERNEL_ATTENTION: return "attention";
        case STEERWAY_KERNEL_MATMUL:    return "matmul";
        case STEERWAY_KERNEL_PACKED:    return "packed";
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

int32_t steerway_can_pack(enum ggml_type type) {
    return about_type("steerway_cpu_can_pack", type);
}

int32_t steerway_packs(enum ggml_type type) {
    return about_type("steerway_cpu_packs", type);
}

int32_t steerway_set_packs(enum ggml_type type, bool on) {
    const auto set = cpu_function<int (*)(int, int)>("steerway_cpu_set_packs");
    return set && set(type, on) == 0 ? STEERWAY_OK : STEERWAY_BAD_ARGUMENT;
}

int64_t steerway_measure_product(
        enum ggml_type type, int64_t n_rows, int64_t width, int64_t n_columns, int32_t n_threads, enum steerway_way way, int64_t bytes) {
    const auto measure = cpu_function<int64_t (*)(int, int64_t, int64_t, int64_t, int, int, int64_t)>("steerway_cpu_measure");
    const int64_t found = measure ? measure(type, n_rows, width, n_columns, n_threads, way, bytes) : -1;
    switch (found) {
        case -1: return STEERWAY_BAD_ARGUMENT;
        case -2: return STEERWAY_NO_KERNEL;
        case -3: return STEERWAY_NO_BUFFER;
        default: return found;
    }
}

void steerway_head_counts(uint64_t * done, uint64_t * skipped) {
    *done = *skipped = 0;
    if (const auto counts = cpu_function<void (*)(uint64_t *, uint64_t *)>("steerway_cpu_head_counts")) {
        counts(done, skipped);
    }
}
