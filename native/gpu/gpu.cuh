// What kernels.cu needs of CUDA's run time: errors, arrays, events, and a result file.

#pragma once

#if __has_include(<cublas_v2.h>)
#include <cublas_v2.h>
#define WITH_CUBLAS 1
#endif
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

inline int checks = 0, failures = 0;

inline void check(bool ok, const char * what, const char * where, int line) {
    ++checks;
    if (!ok && ++failures <= 20) {
        std::fprintf(stderr, "line %d: not true: %s (%s)\n", line, what, where);
    }
}

#define CHECK(x, where) check((x), #x, (where), __LINE__)

inline void gpu_error(const char * what, const char * why, int line) {
    std::fprintf(stderr, "line %d: %s: %s\n", line, what, why);
    std::exit(1);
}

#define GPU(call) \
    do { if (const cudaError_t error = (call)) { gpu_error(#call, cudaGetErrorString(error), __LINE__); } } while (0)
#define CUBLAS(call) /* only WITH_CUBLAS */ \
    do { if (const cublasStatus_t error = (call)) { gpu_error(#call, cublasGetStatusString(error), __LINE__); } } while (0)

struct gpu { std::string name; int multiprocessors; int64_t l2_bytes; };

// Ends the program with status 2 where there is no GPU, or one without these instructions.
inline gpu find_gpu() {
    cudaDeviceProp found;
    if (const cudaError_t error = cudaGetDeviceProperties(&found, 0)) {
        std::fprintf(stderr, "no GPU: %s\n", cudaGetErrorString(error));
        std::exit(2);
    }
    if (found.major < 8) {
        std::fprintf(stderr, "%s has compute capability %d.%d: 8.0 or newer is needed\n", found.name, found.major, found.minor);
        std::exit(2);
    }
    return { found.name, found.multiProcessorCount, found.l2CacheSize };
}

template <typename T> struct device_array {
    T *    p = nullptr;
    size_t n = 0;

    explicit device_array(size_t count) : n(count) { GPU(cudaMalloc(&p, n*sizeof(T))); }
    device_array(device_array && other) noexcept : p(other.p), n(other.n) { other.p = nullptr; }
    device_array(const device_array &) = delete;
    ~device_array() { cudaFree(p); }

    void put(const T * from) { GPU(cudaMemcpy(p, from, n*sizeof(T), cudaMemcpyHostToDevice)); }
    void get(T * to) const { GPU(cudaMemcpy(to, p, n*sizeof(T), cudaMemcpyDeviceToHost)); } // waits, and reports what kernels did

    // f16 between 1 and 2, either sign: what is multiplied decides the power a GPU takes, and with it the clock
    void random(std::mt19937 & rng) {
        std::vector<T> values(n);
        for (size_t i = 0; i < n; ++i) {
            values[i] = i < 1 << 20 ? (T) (0x3c00 | (rng() & 0x83ff)) : values[i - (1 << 20)];
        }
        put(values.data());
    }
};

// Milliseconds of one call, f(i) being called with 0 to n - 1 in turn: the median of 5 rounds of at least 20 ms.
template <typename F> double median_ms(int n, F && f) {
    cudaEvent_t start, stop;
    GPU(cudaEventCreate(&start));
    GPU(cudaEventCreate(&stop));
    const auto round = [&](int calls) {
        GPU(cudaEventRecord(start));
        for (int i = 0; i < calls; ++i) {
            f(i % n);
        }
        GPU(cudaEventRecord(stop));
        GPU(cudaEventSynchronize(stop));
        float ms = 0;
        GPU(cudaEventElapsedTime(&ms, start, stop));
        return ms / calls;
    };
    round(std::max(n, 3));
    const int calls = std::min(20000, std::max(n, (int) (20 / std::max(1e-3f, round(std::max(n, 3)))) + 1));
    std::vector<double> found;
    for (int i = 0; i < 5; ++i) {
        found.push_back(round(calls));
    }
    std::sort(found.begin(), found.end());
    GPU(cudaEventDestroy(start));
    GPU(cudaEventDestroy(stop));
    return found[2];
}

// Bytes read and written
inline double copy_gb_per_s() {
    const size_t n = 1ull << 30;
    device_array<uint8_t> from(n), to(n);
    GPU(cudaMemset(from.p, 1, n));
    const double ms = median_ms(1, [&](int) { GPU(cudaMemcpyAsync(to.p, from.p, n, cudaMemcpyDeviceToDevice)); });
    return 2.0*n / ms*1e-6;
}

// An object in an object, written as it comes.
class json {
public:
    void open(const std::string & name) {
        key(name);
        text_ += "{";
        first_ = true;
    }

    void close() {
        text_ += "}";
        first_ = false;
    }

    void number(const std::string & name, double value) {
        char digits[40];
        std::snprintf(digits, sizeof(digits), "%.6g", value);
        key(name);
        text_ += digits;
    }

    void text(const std::string & name, const std::string & value) {
        key(name);
        text_ += "\"" + value + "\"";
    }

    void write(const char * path) const {
        std::FILE * file = std::fopen(path, "w");
        if (!file || std::fprintf(file, "{%s}\n", text_.c_str()) < 0 || std::fclose(file) != 0) {
            std::fprintf(stderr, "%s cannot be written\n", path);
            std::exit(1);
        }
    }

private:
    void key(const std::string & name) {
        text_ += (first_ ? "\"" : ", \"") + name + "\": ";
        first_ = false;
    }

    std::string text_;
    bool        first_ = true;
};
