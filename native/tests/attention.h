// Attention as llama.cpp lays it out, through ggml, and in float64. For the tests of the attention kernel.

#pragma once

#include "../src/ggml/steerway-head-plan.h"

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

// Heads that are given: operands 5 and 6 of the operation. Empty for none.
struct given {
    std::vector<int32_t> plan;  // [token][STEERWAY_PLAN_WIDTH]
    std::vector<float>   table; // [head][STEERWAY_TABLE_CONSTANT + dv]
};

struct problem {
    const char * name;
    int dk, dv, tokens, heads, key_heads, cells;
    bool masked;
};

struct data {
    std::vector<float>       q;    // [token][head][dk]
    std::vector<ggml_fp16_t> k, v; // [cell][key head][..]
    std::vector<float>       mask; // [token][cell]: 0, a bias, or -inf
};

inline data random_data(const problem & p, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    data d;
    d.q.resize((size_t) p.tokens*p.heads*p.dk);
    for (auto & x : d.q) {
        x = normal(random);
    }
    d.k.resize((size_t) p.cells*p.key_heads*p.dk);
    d.v.resize((size_t) p.cells*p.key_heads*p.dv);
    for (auto & x : d.k) {
        x = ggml_fp32_to_fp16(2.0f*normal(random));
    }
    for (auto & x : d.v) {
        x = ggml_fp32_to_fp16(normal(random));
    }
    d.mask.assign((size_t) p.tokens*p.cells, 0.0f);
    if (p.masked) { // a hole of cells that hold anything, a bias, causal at the end, and one token that sees nothing
        const int hole = p.cells/4;
        std::fill_n(d.k.begin() + (size_t) hole*p.key_heads*p.dk, p.key_heads*p.dk, ggml_fp32_to_fp16(NAN));
        std::fill_n(d.v.begin() + (size_t) hole*p.key_heads*p.dv, p.key_heads*p.dv, ggml_fp32_to_fp16(INFINITY));
        for (int t = 0; t < p.tokens; t++) {
            for (int c = 0; c < p.cells; c++) {
                const bool hidden = c >= hole && c < hole + 130;
                if (hidden || c > p.cells - p.tokens + t || (t == 2 && p.tokens > 3)) {
                    d.mask[(size_t) t*p.cells + c] = -INFINITY;
                } else if (c < hole/2) {
                    d.mask[(size_t) t*p.cells + c] = 0.5f;
                }
            }
        }
    }
    return d;
}

// Whether a GPU is to compute, which sums in another order.
inline bool on_gpu() {
    const char * device = std::getenv("STEERWAY_TEST_DEVICE");
    return device && std::strcmp(device, "GPU") == 0;
}

// Tokens [first, first + n) through ggml, laid out as llama.cpp does; [token][head][dv].
inline std::vector<float> compute(const problem & p, const data & d, int first, int n, int threads, const given & heads = {}) {
    ggml_backend_t backend = ggml_backend_init_by_type(on_gpu() ? GGML_BACKEND_DEVICE_TYPE_GPU : GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
    if (!on_gpu()) {
        auto set_threads = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(
                ggml_backend_reg_by_name("CPU"), "ggml_backend_set_n_threads");
        set_threads(backend, threads);
    }
    const int64_t width = STEERWAY_TABLE_CONSTANT + p.dv;
    ggml_context * ctx  = ggml_init({ (size_t) 1024*1024, nullptr, true });
    ggml_tensor * q     = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, p.dk, p.heads, n);
    ggml_tensor * k     = ggml_new_tensor_3d(ctx, GGML_TYPE_F16, p.dk, p.key_heads, p.cells);
    ggml_tensor * v     = ggml_new_tensor_3d(ctx, GGML_TYPE_F16, p.dv, p.key_heads, p.cells);
    ggml_tensor * mask  = p.masked ? ggml_new_tensor_2d(ctx, GGML_TYPE_F16, p.cells, n) : nullptr;
    ggml_tensor * plan  = heads.table.empty() ? nullptr : ggml_new_tensor_2d(ctx, GGML_TYPE_I32, STEERWAY_PLAN_WIDTH, n);
    ggml_tensor * table = heads.table.empty() ? nullptr : ggml_new_tensor_2d(ctx, GGML_TYPE_F32, width, heads.table.size()/width);
    ggml_tensor * out   = ggml_flash_attn_ext(ctx, ggml_permute(ctx, q, 0, 2, 1, 3), ggml_permute(ctx, k, 0, 2, 1, 3),
            ggml_permute(ctx, v, 0, 2, 1, 3), mask, 1.0f/std::sqrt((float) p.dk), 0.0f, 0.0f);
    out->src[STEERWAY_PLAN_OPERAND]  = plan;
    out->src[STEERWAY_TABLE_OPERAND] = table;
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, backend);

    const auto put = [](ggml_tensor * tensor, const void * from) { ggml_backend_tensor_set(tensor, from, 0, ggml_nbytes(tensor)); };
    put(q, d.q.data() + (size_t) first*p.heads*p.dk);
    put(k, d.k.data());
    put(v, d.v.data());
    if (mask) {
        std::vector<ggml_fp16_t> half((size_t) n*p.cells);
        ggml_fp32_to_fp16_row(d.mask.data() + (size_t) first*p.cells, half.data(), (int64_t) half.size());
        put(mask, half.data());
    }
    if (plan) {
        put(plan, heads.plan.data() + (size_t) first*STEERWAY_PLAN_WIDTH);
        put(table, heads.table.data());
    }
    ggml_cgraph * graph = ggml_new_graph(ctx);
    ggml_build_forward_expand(graph, out);
    ggml_backend_graph_compute(backend, graph);
    std::vector<float> res((size_t) n*p.heads*p.dv);
    ggml_backend_tensor_get(out, res.data(), 0, res.size()*sizeof(float));
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
    ggml_backend_free(backend);
    return res;
}

// `bias` [head][token][cell], added to the logits, or empty.
inline std::vector<double> reference(const problem & p, const data & d, const std::vector<float> & bias = {}) {
    std::vector<double> out((size_t) p.tokens*p.heads*p.dv, 0.0);
    std::vector<double> weight(p.cells);
    const int group = p.heads/p.key_heads;
    for (int t = 0; t < p.tokens; t++) {
        for (int h = 0; h < p.heads; h++) {
            const float * q = d.q.data() + ((size_t) t*p.heads + h)*p.dk;
            double top = -INFINITY, sum = 0.0;
            for (int c = 0; c < p.cells; c++) {
                const ggml_fp16_t * k = d.k.data() + ((size_t) c*p.key_heads + h/group)*p.dk;
                double x = 0.0;
                for (int i = 0; i < p.dk; i++) {
                    x += (double) q[i]*ggml_fp16_to_fp32(k[i]);
                }
                const float mask = d.mask[(size_t) t*p.cells + c] + (bias.empty() ? 0.0f : bias[((size_t) h*p.tokens + t)*p.cells + c]);
                weight[c] = mask == -INFINITY ? mask : x/std::sqrt((double) p.dk) + mask;
                top = std::max(top, weight[c]);
            }
            if (top == -INFINITY) {
                continue; // sees nothing: zeros
            }
            for (auto & w : weight) {
                w = std::exp(w - top);
                sum += w;
            }
            double * o = out.data() + ((size_t) t*p.heads + h)*p.dv;
            for (int c = 0; c < p.cells; c++) {
                const ggml_fp16_t * v = d.v.data() + ((size_t) c*p.key_heads + h/group)*p.dv;
                for (int i = 0; i < p.dv && weight[c] != 0.0; i++) {
                    o[i] += weight[c]/sum*ggml_fp16_to_fp32(v[i]);
                }
            }
        }
    }
    return out;
}

inline double worst(const std::vector<float> & a, const std::vector<double> & b) {
    double res = 0.0;
    for (size_t i = 0; i < a.size(); i++) {
        res = std::max(res, std::isfinite(a[i]) ? std::fabs(a[i] - b[i]) : INFINITY);
    }
    return res;
}

inline bool same(const float * a, const float * b, size_t n) {
    return std::memcmp(a, b, n*sizeof(float)) == 0;
}
