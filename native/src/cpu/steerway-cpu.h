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
    STEERWAY_CPU_PACKED    = 1u << 2, // weights of models loaded from now on are packed into tiles, see below
};

uint32_t steerway_cpu_kernels(void); // mask of those this build has for its instruction set
uint32_t steerway_cpu_get(void);     // mask of those that are on
void     steerway_cpu_set(uint32_t mask);

// Types of weights that models are packed for, by ggml's numbers: at first all that this build has a kernel for.
int steerway_cpu_can_pack(int type);          // 1 if there is a kernel for the type, with this instruction set
int steerway_cpu_packs(int type);             // 1 if models loaded from now on have it packed
int steerway_cpu_set_packs(int type, int on); // 0, or -1 for a type that cannot be

// Extra buffer type "CPU_STEERWAY". ggml asks each of these which operations it computes, and a model's weights go into the
// first that computes theirs. Ours takes weights of matrix products while STEERWAY_CPU_PACKED is on, and packs what is written
// to its buffers (steerway-cpu-packed-layout.h); reading gives back the bytes that were written. Products with weights in such a
// buffer are computed here whatever the switch says later.
ggml_backend_buffer_type_t steerway_cpu_buffer_type(void);

// The functions of a number or none above, and steerway_cpu_measure, by their name, else NULL (for
// ggml_backend_reg_get_proc_address).
void * steerway_cpu_proc_address(const char * name);

#ifdef __cplusplus
}
#endif
