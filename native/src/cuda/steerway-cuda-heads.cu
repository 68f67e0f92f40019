#include "../common.cuh"
#include "steerway-cuda-heads.cuh"
#include "steerway-cuda.h"

#include <cstring>

void steerway_cuda_heads(ggml_backend_cuda_context & ctx, ggml_tensor * op) {
    const ggml_tensor * plan  = op->src[STEERWAY_PLAN_OPERAND];
    const ggml_tensor * table = op->src[STEERWAY_TABLE_OPERAND];
    if (!plan) {
        return;
    }
    const ggml_tensor * q = op->src[0], * k = op->src[1], * v = op->src[2], * mask = op->src[3];
    GGML_ASSERT(k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16 && v->ne[0] <= k_heads_most && q->ne[3] == 1);
    GGML_ASSERT(!mask || mask->type == GGML_TYPE_F16);

    steerway_heads_args a = {};
    a.q     = (const char *) q->data;
    a.k     = (const char *) k->data;
    a.v     = (const char *) v->data;
    a.mask  = mask ? (const char *) mask->data : nullptr;
    a.plan  = (const int32_t *) plan->data;
    a.table = (const float *) table->data;
    a.out   = (char *) op->data;
    a.dk    = k->ne[0];
    a.dv    = v->ne[0];
    a.cells = k->ne[1];
    a.group = q->ne[2]/k->ne[2];
    a.q_token    = q->nb[1];
    a.q_head     = q->nb[2];
    a.k_cell     = k->nb[1];
    a.k_head     = k->nb[2];
    a.v_cell     = v->nb[1];
    a.v_head     = v->nb[2];
    a.mask_token = mask ? mask->nb[1] : 0;
    a.out_head   = op->nb[1];
    a.out_token  = op->nb[2];
    memcpy(&a.scale, op->op_params, sizeof(a.scale));

    const dim3 grid((unsigned) q->ne[1], (unsigned) table->ne[1]);
    steerway_heads<<<grid, k_heads_threads, 0, ctx.stream()>>>(a);
}

static int takes_heads(int64_t dk, int64_t dv, int64_t heads) {
    return dk <= k_heads_most && dv <= k_heads_most && heads <= STEERWAY_MOST_HEADS;
}

void * steerway_cuda_proc_address(const char * name) {
    return strcmp(name, "steerway_cuda_takes_heads") == 0 ? (void *) takes_heads : nullptr;
}
