// The attention kernel against float64, and against itself with other tokens beside it and other numbers of threads.
// Usage: test_attention [MODEL.gguf]. Prints each failed check; exit code 1 if there is one.

#include "steerway.h"

#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace {

int failures = 0;

void check(bool ok, const char * what, const char * name, int line) {
    if (!ok) {
        std::fprintf(stderr, "line %d: not true of %s: %s\n", line, name, what);
        ++failures;
    }
}

#define CHECK(name, x) check((x), #x, name, __LINE__)

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

data random_data(const problem & p, unsigned seed) {
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

// Tokens [first, first + n) through ggml, laid out as llama.cpp does; [token][head][dv].
std::vector<float> compute(const problem & p, const data & d, int first, int n, int threads) {
    ggml_context * ctx = ggml_init({ (size_t) 64*1024*1024, nullptr, false });
    ggml_tensor * q = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, p.dk, p.heads, n);
    ggml_tensor * k = ggml_new_tensor_3d(ctx, GGML_TYPE_F16, p.dk, p.key_heads, p.cells);
    ggml_tensor * v = ggml_new_tensor_3d(ctx, GGML_TYPE_F16, p.dv, p.key_heads, p.cells);
    ggml_tensor * mask = p.masked ? ggml_new_tensor_2d(ctx, GGML_TYPE_F16, p.cells, n) : nullptr;
    std::memcpy(q->data, d.q.data() + (size_t) first*p.heads*p.dk, ggml_nbytes(q));
    std::memcpy(k->data, d.k.data(), ggml_nbytes(k));
    std::memcpy(v->data, d.v.data(), ggml_nbytes(v));
    if (mask) {
        ggml_fp32_to_fp16_row(d.mask.data() + (size_t) first*p.cells, (ggml_fp16_t *) mask->data, (int64_t) n*p.cells);
    }
    ggml_tensor * out = ggml_flash_attn_ext(ctx, ggml_permute(ctx, q, 0, 2, 1, 3), ggml_permute(ctx, k, 0, 2, 1, 3),
            ggml_permute(ctx, v, 0, 2, 1, 3), mask, 1.0f/std::sqrt((float) p.dk), 0.0f, 0.0f);
    ggml_cgraph * graph = ggml_new_graph(ctx);
    ggml_build_forward_expand(graph, out);
    ggml_backend_t cpu = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
    auto set_threads = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(
            ggml_backend_reg_by_name("CPU"), "ggml_backend_set_n_threads");
    set_threads(cpu, threads);
    ggml_backend_graph_compute(cpu, graph);
    const float * found = (const float *) out->data;
    std::vector<float> res(found, found + (size_t) n*p.heads*p.dv);
    ggml_backend_free(cpu);
    ggml_free(ctx);
    return res;
}

std::vector<double> reference(const problem & p, const data & d) {
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
                const float mask = d.mask[(size_t) t*p.cells + c];
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

double worst(const std::vector<float> & a, const std::vector<double> & b) {
    double res = 0.0;
    for (size_t i = 0; i < a.size(); i++) {
        res = std::max(res, std::isfinite(a[i]) ? std::fabs(a[i] - b[i]) : INFINITY);
    }
    return res;
}

bool same(const float * a, const float * b, size_t n) {
    return std::memcmp(a, b, n*sizeof(float)) == 0;
}

void examine(const problem & p) {
    const data d = random_data(p, 7);
    const auto expected = reference(p, d);
    const size_t row = (size_t) p.heads*p.dv;
    steerway_set_kernels(0);
    const double stock = worst(compute(p, d, 0, p.tokens, 2), expected);
    steerway_set_kernels(STEERWAY_KERNEL_ATTENTION);
    const auto all = compute(p, d, 0, p.tokens, 2);
    const double ours = worst(all, expected);
    CHECK(p.name, ours < 2e-5);
    CHECK(p.name, ours <= stock*2 + 1e-6);
    for (const int threads : { 1, 3, 4 }) {
        CHECK(p.name, same(compute(p, d, 0, p.tokens, threads).data(), all.data(), all.size()));
    }
    for (int first = 0; first < p.tokens; first += 17) { // fewer tokens beside it
        const int n = std::min(2 + first%5, p.tokens - first); // one row alone is left to ggml
        CHECK(p.name, same(compute(p, d, first, n, 2).data(), all.data() + first*row, n*row));
    }
}

const problem problems[] = {
    { "a token, few cells",        64,  64,   1, 14, 2,   40, false },
    { "a token, many cells",       64,  64,   1, 14, 2, 2600, true  },
    { "some tokens",               64,  64,   9, 14, 2, 1300, true  },
    { "a batch",                   64,  64, 128, 14, 2, 1029, true  },
    { "three key heads",           64,  64,  33,  9, 3,  777, true  },
    { "one key head, unmasked",   128, 128,   5,  8, 1,  600, false },
    { "a head of its own each",    64,  64,  40,  4, 4,  530, true  },
    { "keys wider than values",    96,  64,  21,  6, 2,  300, true  },
};

} // namespace

int main() {
    if (steerway_kernels() & STEERWAY_KERNEL_ATTENTION) {
        for (const auto & p : problems) {
            examine(p);
        }
        CHECK("the switch", steerway_set_kernels(1u << 31) == STEERWAY_BAD_ARGUMENT);
        CHECK("the switch", steerway_get_kernels() == STEERWAY_KERNEL_ATTENTION);
        CHECK("the switch", steerway_set_kernels(0) == STEERWAY_OK && steerway_get_kernels() == 0);
    }
    std::printf("%d failed\n", failures);
    return failures ? 1 : 0;
}
