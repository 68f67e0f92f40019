#pragma once

#include "ggml-cpu-impl.h"
#include "ggml.h"

bool   steerway_matmul_built();                           // whether there is a kernel for this instruction set
bool   steerway_matmul_takes(const ggml_tensor * op);     // a MUL_MAT that is computed here
size_t steerway_matmul_work_size(int n_threads, const ggml_tensor * op); // bytes of params->wdata
void   steerway_matmul(const ggml_compute_params * params, ggml_tensor * op); // by every thread of the pool
