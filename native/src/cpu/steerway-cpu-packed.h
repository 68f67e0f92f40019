// Weights packed into tiles of 16 rows, and products with them.

#pragma once

#include "ggml-cpu-impl.h"
#include "ggml.h"

bool   steerway_packed_has(ggml_type type); // whether this instruction set has a kernel for it
size_t steerway_packed_bytes(const ggml_tensor * weights);
void   steerway_packed_pack(const ggml_tensor * weights, const void * rows, void * tiles);
void   steerway_packed_unpack(const ggml_tensor * weights, const void * tiles, void * rows);

bool   steerway_packed_takes(const ggml_tensor * op); // a MUL_MAT that is computed here if its weights are packed
size_t steerway_packed_work_size(int n_threads, const ggml_tensor * op);               // bytes of params->wdata
void   steerway_packed_matmul(const ggml_compute_params * params, ggml_tensor * op); // by every thread of the pool
