// What the tests of products with quantised weights share: matrices, graphs of products, and what they should give, in double
// precision from the integers that ggml quantises columns to.

#pragma once

#include "steerway.h"

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace {

inline int failures = 0;

inline void check(bool ok, const char * what, const std::string & where, int line) {
    if (!ok) {
        std::fprintf(stderr, "line %d: not true: %s (%s)\n", line, what, where.c_str());
        ++failures;
    }
}

#define CHECK(x, where) check((x), #x, (where), __LINE__)

constexpr int k_block = 32;
inline bool is_k_quant(ggml_type type) {
    return ggml_blck_size(type) == 256;
}

struct deleter {
    void operator()(ggml_context * p) const { ggml_free(p); }
    void operator()(ggml_backend * p) const { ggml_backend_free(p); }
    void operator()(ggml_backend_buffer * p) const { ggml_backend_buffer_free(p); }
};

inline void set_threads(ggml_backend_t backend, int n_threads) {
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend));
    const auto set = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
    set(backend, n_threads);
}

inline void switch_kernels(uint32_t mask) {
    steerway_set_kernels(mask);
}

struct matrix {
    ggml_type            type;
    int64_t              k, n_rows;
    std::vector<uint8_t> data;

    size_t row_bytes() const { return ggml_row_size(type, k); }
};

inline std::vector<float> random_floats(size_t n, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> x(n);
    for (auto & value : x) {
        value = normal(random);
    }
    return x;
}

inline matrix random_matrix(ggml_type type, int64_t k, int64_t n_rows, uint32_t seed) {
    matrix m = { type, k, n_rows, {} };
    m.data.resize(m.row_bytes()*n_rows);
    ggml_quantize_chunk(type, random_floats(k*n_rows, seed).data(), m.data.data(), 0, n_rows, k, nullptr);
    return m;
}

// An extra buffer type of the CPU back end; nullptr if there is none of that name.
inline ggml_backend_buffer_type_t buffer_type(const char * name) {
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    const auto all = (ggml_backend_dev_get_extra_bufts_t) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(cpu), "ggml_backend_dev_get_extra_bufts");
    for (ggml_backend_buffer_type_t * type = all(cpu); *type; ++type) {
        if (std::strcmp(ggml_backend_buft_name(*type), name) == 0) {
            return *type;
        }
    }
    return nullptr;
}

// Graphs of products of one matrix, or of copies of it that do not fit the caches, with the same columns.
class products {
public:
    products(const matrix & w, const float * x, int64_t n_columns, int n_copies = 1, int64_t gap = 0, ggml_backend_buffer_type_t of_weights = nullptr) {
        backend_.reset(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
        const int most_nodes = n_copies + 8;
        matrices_.reset(ggml_init({ ggml_tensor_overhead()*n_copies, nullptr, true }));
        ctx_.reset(ggml_init({ ggml_tensor_overhead()*most_nodes + ggml_graph_overhead_custom(most_nodes, false), nullptr, true }));
        ggml_tensor * wide    = ggml_new_tensor_2d(ctx_.get(), GGML_TYPE_F32, w.k + gap, n_columns);
        ggml_tensor * columns = ggml_view_2d(ctx_.get(), wide, w.k, n_columns, wide->nb[1], 0);
        graph_ = ggml_new_graph_custom(ctx_.get(), most_nodes, false);
        std::vector<ggml_tensor *> weights;
        for (int i = 0; i < n_copies; ++i) {
            weights.push_back(ggml_new_tensor_2d(matrices_.get(), w.type, w.k, w.n_rows));
            out_ = ggml_mul_mat(ctx_.get(), weights.back(), columns);
            ggml_build_forward_expand(graph_, out_);
        }
        of_weights = of_weights ? of_weights : ggml_backend_get_default_buffer_type(backend_.get());
        weights_.reset(ggml_backend_alloc_ctx_tensors_from_buft(matrices_.get(), of_weights));
        buffer_.reset(ggml_backend_alloc_ctx_tensors(ctx_.get(), backend_.get()));
        for (ggml_tensor * t : weights) {
            ggml_backend_tensor_set(t, w.data.data(), 0, w.data.size());
        }
        for (int64_t c = 0; c < n_columns; ++c) {
            ggml_backend_tensor_set(wide, x + c*w.k, c*wide->nb[1], w.k*sizeof(float));
        }
    }

    void compute(uint32_t kernels, int n_threads) {
        switch_kernels(kernels);
        set_threads(backend_.get(), n_threads);
        ggml_backend_graph_compute(backend_.get(), graph_);
    }

    double seconds(uint32_t kernels, int n_threads) {
        const auto start = std::chrono::steady_clock::now();
        compute(kernels, n_threads);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }

    std::vector<float> result() const {
        std::vector<float> y(ggml_nelements(out_));
        ggml_backend_tensor_get(out_, y.data(), 0, y.size()*sizeof(float));
        return y;
    }

private:
    std::unique_ptr<ggml_backend, deleter>        backend_;
    std::unique_ptr<ggml_context, deleter>        matrices_, ctx_;
    std::unique_ptr<ggml_backend_buffer, deleter> weights_, buffer_;
    ggml_cgraph * graph_ = nullptr;
    ggml_tensor * out_   = nullptr;
};

inline std::vector<float> product(
        const matrix & w, const float * x, int64_t n_columns, uint32_t kernels, int n_threads = 2, int64_t gap = 0,
        ggml_backend_buffer_type_t of_weights = nullptr) {
    products p(w, x, n_columns, 1, gap, of_weights);
    p.compute(kernels, n_threads);
    return p.result();
}

inline bool same(const float * a, const float * b, size_t n) {
    return std::memcmp(a, b, n*sizeof(float)) == 0;
}

inline float through_f16(float x) {
    return ggml_fp16_to_fp32(ggml_fp32_to_fp16(x));
}

// What a column contributes: blocks of integers with a scale d, and s = d*sum, rounded for q8_1.
struct quantised_block {
    int   q[k_block];
    float d, s;
};

// As ggml's q8_0, q8_1.
inline std::vector<quantised_block> quantised_32(const float * x, int64_t k) {
    std::vector<quantised_block> blocks(k/k_block);
    for (auto & block : blocks) {
        float largest = 0.0f;
        for (int i = 0; i < k_block; ++i) {
            largest = std::max(largest, std::fabs(x[i]));
        }
        const float inverse = largest != 0.0f ? 127.0f/largest : 0.0f;
        int total = 0;
        for (int i = 0; i < k_block; ++i) {
            total += block.q[i] = (int) std::nearbyint(x[i]*inverse);
        }
        block.d = through_f16(largest/127.0f);
        block.s = through_f16(largest/127.0f*total);
        x += k_block;
    }
    return blocks;
}

// As ggml's q8_K: the value of 256 that is furthest from zero becomes -127.
inline std::vector<quantised_block> quantised_256(const float * x, int64_t k) {
    std::vector<quantised_block> blocks(k/k_block);
    for (int64_t first = 0; first < k; first += 256) {
        float largest = 0.0f;
        for (int64_t i = first; i < first + 256; ++i) {
            largest = std::fabs(x[i]) > std::fabs(largest) ? x[i] : largest;
        }
        const float inverse = largest != 0.0f ? -127.0f/largest : 0.0f;
        for (int64_t i = first; i < first + 256; ++i) {
            blocks[i/k_block].q[i % k_block] = std::min(127, (int) std::nearbyint(x[i]*inverse));
            blocks[i/k_block].d = largest != 0.0f ? 1.0f/inverse : 0.0f;
        }
    }
    return blocks;
}

inline std::vector<quantised_block> quantised(ggml_type type, const float * x, int64_t k) {
    return is_k_quant(type) ? quantised_256(x, k) : quantised_32(x, k);
}

struct expected {
    double value, size; // the size is the sum of absolute values
};

inline expected reference(const matrix & w, int64_t row, const std::vector<quantised_block> & column) {
    std::vector<float> weights(w.k);
    const uint8_t * data = w.data.data() + row*w.row_bytes();
    ggml_get_type_traits(w.type)->to_float(data, weights.data(), w.k);
    expected e = { 0.0, 0.0 };
    for (size_t b = 0; b < column.size(); ++b) {
        double minimum = 0.0;
        if (w.type == GGML_TYPE_Q4_1) {
            ggml_fp16_t scales[2];
            std::memcpy(scales, data + b*ggml_type_size(w.type), sizeof(scales));
            minimum = ggml_fp16_to_fp32(scales[1]);
        }
        double block = 0.0, size = 0.0;
        for (int i = 0; i < k_block; ++i) {
            const double product = (weights[b*k_block + i] - minimum)*column[b].q[i];
            block += product;
            size  += std::fabs(product);
        }
        e.value += block*column[b].d;
        e.size  += size*std::fabs(column[b].d);
        if (minimum != 0.0) {
            e.value += minimum*column[b].s;
            e.size  += std::fabs(minimum*column[b].s);
        }
    }
    return e;
}

inline void check_against_reference(const matrix & w, const std::vector<float> & x, const std::vector<float> & y, const std::string & where) {
    const int64_t n_columns = x.size()/w.k;
    double worst = 0.0;
    for (int64_t c = 0; c < n_columns; c += 1 + n_columns/9) {
        const auto column = quantised(w.type, x.data() + c*w.k, w.k);
        for (int64_t row = 0; row < w.n_rows; row += w.n_rows - row > 34 ? 17 : 1) {
            const auto e = reference(w, row, column);
            worst = std::max(worst, std::fabs(y[c*w.n_rows + row] - e.value)/(e.size + 1e-30));
        }
    }
    CHECK(worst < 1e-6, where + ", " + std::to_string(worst*1e6) + "e-6");
}

// The scale of all blocks; the scales and minimums of a k-quant's parts stay what they are.
inline void set_scales(matrix & w, float scale) {
    const ggml_fp16_t d = ggml_fp32_to_fp16(scale), minimum = ggml_fp32_to_fp16(-scale);
    const size_t block = ggml_type_size(w.type);
    for (size_t at = 0; at < w.data.size(); at += block) {
        std::memcpy(w.data.data() + at + (w.type == GGML_TYPE_Q6_K ? block - sizeof(d) : 0), &d, sizeof(d));
        if (w.type == GGML_TYPE_Q4_1 || w.type == GGML_TYPE_Q4_K) {
            std::memcpy(w.data.data() + at + sizeof(d), &minimum, sizeof(d));
        }
    }
}

} // namespace
