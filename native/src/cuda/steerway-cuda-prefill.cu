#include "../common.cuh"
#include "../convert.cuh"
#include "../../steerway/steerway-types.h"
#include "steerway-cuda-launch.cuh"
#include "steerway-cuda.h"

#include <climits>
#include <cstddef>
#include <cstdlib>
#include <cstring>

static_assert(sizeof(block_s24_0) == k_steerway_block_bytes && QK_S24_0 == k_steerway_block, "steerway-types.h");
static_assert(offsetof(block_s24_0, meta) == k_s24_meta && offsetof(block_s24_0, qs) == k_s24_qs, "steerway-types.h");
static_assert(sizeof(block_i3_0) == k_steerway_block_bytes && QK_I3_0 == k_steerway_block, "steerway-types.h");
static_assert(offsetof(block_i3_0, ql) == k_i3_ql && offsetof(block_i3_0, qh) == k_i3_qh, "steerway-types.h");

static bool switched_on() {
    static const bool on = [] {
        const char * value = getenv("STEERWAY_CUDA_PREFILL");
        return value != nullptr && strcmp(value, "1") == 0;
    }();
    return on;
}

// One plain matrix each, on a device with these instructions that is in the build.
static bool takes(const ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, const ggml_tensor * dst) {
    const int cc = ggml_cuda_info().devices[ctx.device].cc;
    return (src0->type == GGML_TYPE_S24_0 || src0->type == GGML_TYPE_I3_0) && src1->type == GGML_TYPE_F32 && dst->type == GGML_TYPE_F32
        && GGML_CUDA_CC_IS_NVIDIA(cc) && ggml_cuda_highest_compiled_arch(cc) >= GGML_CUDA_CC_AMPERE
        && ggml_is_matrix(src0) && ggml_is_matrix(src1) && ggml_is_contiguous(src0) && ggml_is_contiguous(src1) && ggml_is_contiguous(dst)
        && src0->ne[1] <= INT_MAX && src1->ne[1] <= 65535*k_steerway_columns && dst->op_params[0] != GGML_PREC_F32;
}

template <steerway_weights type>
static void mul_mat(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, ggml_tensor * dst) {
    const int64_t n_values = src0->ne[0];
    const int     n_rows = (int) src0->ne[1], n_columns = (int) src1->ne[1], n_blocks = (int) (n_values / k_steerway_block);
    cudaStream_t  stream = ctx.stream();

    ggml_cuda_pool_alloc<steerway_tile> tiles(ctx.pool(), steerway_tiles(n_rows, n_blocks));
    ggml_cuda_pool_alloc<half>          x(ctx.pool(), n_values*n_columns);
    CUDA_CHECK(steerway_launch_repack<type>((const uint8_t *) src0->data, tiles.get(), src0->nb[1], n_rows, n_blocks, stream));
    ggml_get_to_fp16_cuda(GGML_TYPE_F32)(src1->data, x.get(), n_values*n_columns, stream);
    CUDA_CHECK(steerway_launch_product<type>(tiles.get(), (const uint16_t *) x.get(), (float *) dst->data, n_rows, n_columns, n_blocks,
        n_values, n_rows, ggml_cuda_info().devices[ctx.device].nsm, stream));
}

bool steerway_cuda_mul_mat(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, ggml_tensor * dst) {
    if (!switched_on() || !takes(ctx, src0, src1, dst)) {
        return false;
    }
    if (src0->type == GGML_TYPE_S24_0) {
        mul_mat<STEERWAY_S24>(ctx, src0, src1, dst);
    } else {
        mul_mat<STEERWAY_I3>(ctx, src0, src1, dst);
    }
    return true;
}
