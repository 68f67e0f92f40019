// The CPU back end's products of quantised weights, through ggml's graphs: against a sum in double precision, against
// ggml's own product, and against themselves with other columns beside them and other numbers of threads.
// Usage: test_matmul [MODEL.gguf], which is not read, or test_matmul --bench [TYPE]. Prints each failed check; exit code
// 1 if there is one.

#include "products.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr ggml_type k_types[] = {
    GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K,
};

bool has_kernels() {
    return (steerway_kernels() & STEERWAY_KERNEL_MATMUL) != 0;
}

// With fewer columns ggml computes.
int64_t min_columns(ggml_type type) {
    return type == GGML_TYPE_Q8_0 ? 3 : is_k_quant(type) ? 2 : 1;
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

// The best of several rounds, each with both kernels; the first rounds only move the threads to processors of their own.
void bench_columns(const matrix & w, int64_t n_columns, int n_threads) {
    const int n_copies = (int) std::max<size_t>(1, (16u << 20)/w.data.size());
    products p(w, random_floats(w.k*n_columns, 2).data(), n_columns, n_copies);
    double best[2] = { 1e9, 1e9 }, total = 0.0;
    for (int round = 0; round < 8 || total < 0.4; ++round) {
        for (const uint32_t kernels : { 0u, (uint32_t) STEERWAY_KERNEL_MATMUL }) {
            const double now = p.seconds(kernels, n_threads);
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
