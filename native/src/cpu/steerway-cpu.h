// Steerway's own kernels in ggml's CPU back end. All off until switched on; off, ggml computes what it computes without
// them, bit for bit.
//
// The switches are the process's, not a context's: ggml's CPU back end knows no contexts. Set them while nothing computes.

#pragma once

#include "ggml-backend.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum steerway_cpu_kernel {
    STEERWAY_CPU_ATTENTION = 1u << 0, // attention in tiles that query heads of one key head share, from one token on
    STEERWAY_CPU_MATMUL    = 1u << 1, // integer products of quantised weights with several columns
};

uint32_t steerway_cpu_kernels(void); // mask of those this build has for its instruction set
uint32_t steerway_cpu_get(void);     // mask of those that are on
void     steerway_cpu_set(uint32_t mask);

// A buffer type that no tensor lies in: ggml asks each extra buffer type which operations it computes.
ggml_backend_buffer_type_t steerway_cpu_buffer_type(void);

// The three functions above by their name, else NULL (for ggml_backend_reg_get_proc_address).
void * steerway_cpu_proc_address(const char * name);

#ifdef __cplusplus
}
#endif
