// The CPU back end's products of quantised weights, through ggml's graphs: against a sum in double precision, against
// ggml's own product, and against themselves with other columns beside them and other numbers of threads.
// Usage: test_matmul [MODEL.gguf], which is not read, or test_matmul --bench [TYPE]. Prints each failed check; exit code
// 1 if there is one.

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

int failures = 0;

void check(bool ok, const char * what, const std::string & where, int line) {
    if (!ok) {
        std::fprintf(stderr, "line %d: not true: %s (%s)\n", line, what, where.c_str());
        ++failures;
    }
}

#define CHECK(x, where) check((x), #x, (where), __LINE__)

constexpr int k_block = 32;
constexpr ggml_type k_types[] = {
    GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K,
};

bool is_k_quant(ggml_type type) {
    return ggml_blck_size(type) == 256;
}

struct deleter {
    void operator()(ggml_context * p) const { ggml_free(p); }
    void operator()(ggml_backend * p) const { ggml_backend_free(p); }
    void operator()(ggml_backend_buffer * p) const { ggml_backend_buffer_free(p); }
};

void set_threads(ggml_backend_t backend, int n_threads) {
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend));
    const auto set = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
    set(backend, n_threads);
}

void switch_kernels(uint32_t mask) {
    steerway_set_kernels(mask);
}

bool has_kernels() {
    return (steerway_kernels() & STEERWAY_KERNEL_MATMUL) != 0;
}

struct matrix {
    ggml_type            type;
    int64_t              k, n_rows;
    std::vector<uint8_t> data;

    size_t row_bytes() const { return ggml_row_size(type, k); }
};

std::vector<float> random_floats(size_t n, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> x(n);
    for (auto & value : x) {
        value = normal(random);
    }
    return x;
}

matrix random_matrix(ggml_type type, int64_t k, int64_t n_rows, uint32_t seed) {
    matrix m = { type, k, n_rows, {} };
    m.data.resize(m.row_bytes()*n_rows);
    ggml_quantize_chunk(type, random_floats(k*n_rows, seed).data(), m.data.data(), 0, n_rows, k, nullptr);
    return m;
}

// With fewer columns ggml computes.
int64_t min_columns(ggml_type type) {
    return type == GGML_TYPE_Q8_0 ? 3 : is_k_quant(type) ? 2 : 1;
}

// Graphs of products of one matrix, or of copies of it that do not fit the caches, with the same columns.
class products {
public:
    products(const matrix & w, const float * x, int64_t n_columns, int n_copies = 1, int64_t gap = 0) {
        backend_.reset(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
        ctx_.reset(ggml_init({ ggml_tensor_overhead()*(2*n_copies + 8) + ggml_graph_overhead(), nullptr, true }));
        ggml_tensor * wide    = ggml_new_tensor_2d(ctx_.get(), GGML_TYPE_F32, w.k + gap, n_columns);
        ggml_tensor * columns = ggml_view_2d(ctx_.get(), wide, w.k, n_columns, wide->nb[1], 0);
        graph_ = ggml_new_graph(ctx_.get());
        std::vector<ggml_tensor *> weights;
        for (int i = 0; i < n_copies; ++i) {
            weights.push_back(ggml_new_tensor_2d(ctx_.get(), w.type, w.k, w.n_rows));
            out_ = ggml_mul_mat(ctx_.get(), weights.back(), columns);
            ggml_build_forward_expand(graph_, out_);
        }
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

    std::vector<float> result() const {
        std::vector<float> y(ggml_nelements(out_));
        ggml_backend_tensor_get(out_, y.data(), 0, y.size()*sizeof(float));
        return y;
    }

private:
    std::unique_ptr<ggml_backend, deleter>        backend_;
    std::unique_ptr<ggml_context, deleter>        ctx_;
    std::unique_ptr<ggml_backend_buffer, deleter> buffer_;
    ggml_cgraph * graph_ = nullptr;
    ggml_tensor * out_   = nullptr;
};

std::vector<float> product(const matrix & w, const float * x, int64_t n_columns, uint32_t kernels, int n_threads = 2, int64_t gap = 0) {
    products p(w, x, n_columns, 1, gap);
    p.compute(kernels, n_threads);
    return p.result();
}

bool same(const float * a, const float * b, size_t n) {
    return std::memcmp(a, b, n*sizeof(float)) == 0;
}

float through_f16(float x) {
    return ggml_fp16_to_fp32(ggml_fp32_to_fp16(x));
}

// What a column contributes: blocks of integers with a scale d, and s = d*sum, rounded for q8_1.
struct quantised_block {
    int   q[k_block];
    float d, s;
};

// As ggml's q8_0, q8_1.
std::vector<quantised_block> quantised_32(const float * x, int64_t k) {
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
std::vector<quantised_block> quantised_256(const float * x, int64_t k) {
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

std::vector<quantised_block> quantised(ggml_type type, const float * x, int64_t k) {
    return is_k_quant(type) ? quantised_256(x, k) : quantised_32(x, k);
}

struct expected {
    double value, size; // the size is the sum of absolute values
};

expected reference(const matrix & w, int64_t row, const std::vector<quantised_block> & column) {
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

void check_against_reference(const matrix & w, const std::vector<float> & x, const std::vector<float> & y, const std::string & where) {
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

void check_against_stock(const matrix & w, const std::vector<float> & x, const std::vector<float> & y, const std::string & where) {
    const int64_t n_columns = x.size()/w.k;
    const auto stock = product(w, x.data(), n_columns, 0);
    double difference = 0.0, size = 0.0;
    for (size_t i = 0; i < y.size(); ++i) {
        difference += std::pow((double) y[i] - stock[i], 2);
        size       += std::pow((double) stock[i], 2);
    }
    CHECK(std::sqrt(difference/size) < 1e-6, where + ", " + std::to_string(std::sqrt(difference/size)*1e6) + "e-6");
}

void test_shape(ggml_type type, int64_t k, int64_t n_rows) {
    constexpr int64_t n_columns = 200;
    const std::string where = std::string(ggml_type_name(type)) + " " + std::to_string(k) + "x" + std::to_string(n_rows);
    const auto w = random_matrix(type, k, n_rows, 1);
    const auto x = random_floats(k*n_columns, 2);
    const auto y = product(w, x.data(), n_columns, STEERWAY_KERNEL_MATMUL);
    check_against_reference(w, x, y, where);
    check_against_stock(w, x, y, where);
    for (const int n_threads : { 1, 3, 4 }) {
        const auto again = product(w, x.data(), n_columns, STEERWAY_KERNEL_MATMUL, n_threads);
        CHECK(same(again.data(), y.data(), y.size()), where + ", threads " + std::to_string(n_threads));
    }
    int64_t first = 0;
    for (const int64_t n : { 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33, 64, 128 }) {
        const auto part = product(w, x.data() + first*k, n, STEERWAY_KERNEL_MATMUL);
        if (n < min_columns(type)) {
            CHECK(part == product(w, x.data() + first*k, n, 0), where + ", columns " + std::to_string(n));
        } else {
            CHECK(same(part.data(), y.data() + first*n_rows, part.size()), where + ", columns " + std::to_string(n));
        }
        first = (first + n) % 70;
    }
}

// Columns that lie apart, as those of a view do.
void test_strides(ggml_type type) {
    const auto w = random_matrix(type, 768, 128, 3);
    const auto x = random_floats(768*9, 4);
    CHECK(product(w, x.data(), 9, STEERWAY_KERNEL_MATMUL) == product(w, x.data(), 9, STEERWAY_KERNEL_MATMUL, 2, 48), ggml_type_name(type));
}

// The scale of all blocks; the scales and minimums of a k-quant's parts stay what they are.
void set_scales(matrix & w, float scale) {
    const ggml_fp16_t d = ggml_fp32_to_fp16(scale), minimum = ggml_fp32_to_fp16(-scale);
    const size_t block = ggml_type_size(w.type);
    for (size_t at = 0; at < w.data.size(); at += block) {
        std::memcpy(w.data.data() + at + (w.type == GGML_TYPE_Q6_K ? block - sizeof(d) : 0), &d, sizeof(d));
        if (w.type == GGML_TYPE_Q4_1 || w.type == GGML_TYPE_Q4_K) {
            std::memcpy(w.data.data() + at + sizeof(d), &minimum, sizeof(d));
        }
    }
}

// Every weight and activation at an end of its range, where 16-bit sums would saturate; scales at the ends of f16's.
void test_extremes(ggml_type type) {
    const int64_t k = 256, n_rows = 33, n_columns = 9;
    for (const uint8_t byte : { 0x00, 0xff, 0x80, 0x7f, 0x0f }) {
        for (const float scale : { 1.0f, 65504.0f, 6e-8f, 0.0f }) {
            auto w = random_matrix(type, k, n_rows, 5);
            std::fill(w.data.begin(), w.data.end(), byte);
            set_scales(w, scale);
            std::vector<float> x(k*n_columns);
            for (size_t i = 0; i < x.size(); ++i) {
                const int64_t column = i/k;
                x[i] = column == 0 ? 0.0f : column < 4 || i % 2 ? 127.0f : -127.0f;
            }
            const auto y = product(w, x.data(), n_columns, STEERWAY_KERNEL_MATMUL);
            check_against_reference(w, x, y, std::string(ggml_type_name(type)) + ", bytes " + std::to_string(byte) + ", scale " + std::to_string(scale));
        }
    }
}

// A column that is not finite spoils nothing but itself.
void test_not_finite(ggml_type type) {
    const int64_t k = 256, n_rows = 33, n_columns = 9;
    const auto w = random_matrix(type, k, n_rows, 6);
    auto x = random_floats(k*n_columns, 7);
    const auto y = product(w, x.data(), n_columns, STEERWAY_KERNEL_MATMUL);
    x[4*k + 3] = NAN;
    x[5*k + 3] = INFINITY;
    const auto z = product(w, x.data(), n_columns, STEERWAY_KERNEL_MATMUL);
    CHECK(same(y.data(), z.data(), 4*n_rows), ggml_type_name(type));
    CHECK(same(y.data() + 6*n_rows, z.data() + 6*n_rows, 3*n_rows), ggml_type_name(type));
}

// The order of the sums differs from that of ggml's kernels, which shows in some last bits.
void test_the_switch(ggml_type type) {
    const auto w = random_matrix(type, 768, 128, 10);
    const auto x = random_floats(768*9, 11);
    const auto off = product(w, x.data(), 9, 0);
    CHECK(product(w, x.data(), 9, STEERWAY_KERNEL_MATMUL) != off, ggml_type_name(type));
    CHECK(product(w, x.data(), 9, 0) == off, ggml_type_name(type));
}

// What there is no kernel for goes to ggml's when this is on, too.
void test_others_are_left_alone() {
    for (const ggml_type type : { GGML_TYPE_F16, GGML_TYPE_Q5_1, GGML_TYPE_IQ4_NL }) {
        const auto w = random_matrix(type, 64, 33, 8);
        const auto x = random_floats(64*9, 9);
        CHECK(product(w, x.data(), 9, STEERWAY_KERNEL_MATMUL) == product(w, x.data(), 9, 0), ggml_type_name(type));
    }
}

void test() {
    constexpr int64_t shapes[][2] = {
        { 896, 896 }, { 896, 4864 }, { 4864, 896 }, { 576, 192 }, { 1536, 576 }, { 896, 128 },
        { 64, 1 }, { 64, 15 }, { 96, 17 }, { 64, 33 }, { 32, 48 },
    };
    for (const ggml_type type : k_types) {
        for (const auto & shape : shapes) {
            test_shape(type, is_k_quant(type) ? (shape[0] + 255)/256*256 : shape[0], shape[1]);
        }
        test_the_switch(type);
        test_strides(type);
        test_extremes(type);
        test_not_finite(type);
    }
    test_others_are_left_alone();
}

double seconds(products & p, uint32_t kernels, int n_threads) {
    const auto start = std::chrono::steady_clock::now();
    p.compute(kernels, n_threads);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The best of several rounds, each with both kernels; the first rounds only move the threads to processors of their own.
void bench_columns(const matrix & w, int64_t n_columns, int n_threads) {
    const int n_copies = (int) std::max<size_t>(1, (16u << 20)/w.data.size());
    products p(w, random_floats(w.k*n_columns, 2).data(), n_columns, n_copies);
    double best[2] = { 1e9, 1e9 }, total = 0.0;
    for (int round = 0; round < 8 || total < 0.4; ++round) {
        for (const uint32_t kernels : { 0u, (uint32_t) STEERWAY_KERNEL_MATMUL }) {
            const double now = seconds(p, kernels, n_threads);
            best[kernels != 0] = std::min(best[kernels != 0], now);
            total += now;
        }
    }
    const double work = 1e-9*n_copies*n_columns*w.k*w.n_rows;
    std::printf("%5s %5lld x %5lld  threads %d  columns %3lld  GMAC/s: stock %6.1f  here %6.1f  times %5.2f\n",
        ggml_type_name(w.type), (long long) w.k, (long long) w.n_rows, n_threads, (long long) n_columns,
        work/best[0], work/best[1], best[0]/best[1]);
    std::fflush(stdout);
}

void bench_shape(ggml_type type, int64_t k, int64_t n_rows) {
    const auto w = random_matrix(type, k, n_rows, 1);
    for (const int n_threads : { 1, 2 }) {
        for (const int64_t n_columns : { 1, 2, 4, 8, 16, 32, 64, 128 }) {
            bench_columns(w, n_columns, n_threads);
        }
    }
}

void bench(const std::string & only) {
    constexpr int64_t shapes[][2] = { { 896, 896 }, { 896, 4864 }, { 4864, 896 }, { 896, 128 }, { 576, 1536 } };
    for (const ggml_type type : k_types) {
        for (const auto & shape : shapes) {
            if ((only.empty() || only == ggml_type_name(type)) && shape[0] % ggml_blck_size(type) == 0) {
                bench_shape(type, shape[0], shape[1]);
            }
        }
    }
}

} // namespace

int main(int argc, char ** argv) {
    if (has_kernels()) {
        if (argc > 1 && std::strcmp(argv[1], "--bench") == 0) {
            bench(argc > 2 ? argv[2] : "");
            return 0;
        }
        test();
    }
    std::printf("%d failed\n", failures);
    return failures > 0;
}
