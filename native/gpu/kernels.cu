// The kernels of native/src/cuda on a GPU, without ggml: first the warp instructions against what the CPU tests take them to
// be (native/tests/mma_reference.h), then products against sums in double precision, then time, beside cuBLAS where its header is.
// Usage: kernels OUT.json [--no-bench]. Prints each failed check; exit code 1 if there is one, 2 without a GPU.

#include "../src/cuda/steerway-cuda-launch.cuh"
#include "../tests/mma_reference.h"
#include "gpu.cuh"

#include <cstring>
#include <random>

namespace {

std::mt19937 rng(11);

constexpr uint32_t k_masks[6] = { 0 | 1 << 2, 0 | 2 << 2, 0 | 3 << 2, 1 | 2 << 2, 1 | 3 << 2, 2 | 3 << 2 };

uint32_t random_nibbles(int n) {
    uint32_t found = 0;
    for (int i = 0; i < n; ++i) {
        found |= k_masks[rng() % 6] << 4*i;
    }
    return found;
}

uint32_t random_f16_pair() { // integers: the sums are exact in any order
    const uint32_t low = emulated::to_f16((int) (rng() % 31) - 15), high = emulated::to_f16((int) (rng() % 31) - 15);
    return low | high << 16;
}

struct operands { uint32_t a[32][4], b[32][4], e[32]; float d[32][4]; };

__global__ void run_mma(operands * x, int which) {
    const int lane = threadIdx.x;
    float    d[4];
    uint32_t a[4], b[4];
    for (int i = 0; i < 4; ++i) {
        d[i] = x->d[lane][i];
        a[i] = x->a[lane][i];
        b[i] = x->b[lane][i];
    }
    if (which == 0) {
        steerway_mma_sp<0>(d, a, b, x->e[lane]);
    } else if (which == 1) {
        steerway_mma_sp<1>(d, a, b, x->e[lane]);
    } else {
        steerway_mma(d, a, b);
    }
    for (int i = 0; i < 4; ++i) {
        x->d[lane][i] = d[i];
    }
}

// Lanes whose metadata the selector does not name hold other, valid ones: they must not matter.
void test_instructions() {
    for (int round = 0; round < 300; ++round) {
        const int which = round % 3;
        operands x;
        for (int l = 0; l < 32; ++l) {
            x.e[l] = random_nibbles(8);
            for (int i = 0; i < 4; ++i) {
                x.a[l][i] = random_f16_pair();
                x.b[l][i] = random_f16_pair();
                x.d[l][i] = (float) (int) (rng() % 100);
            }
        }
        device_array<operands> on_device(1);
        on_device.put(&x);
        run_mma<<<1, 32>>>(on_device.p, which);
        operands found;
        on_device.get(&found);

        emulated::mma_args   mine[32];
        emulated::mma_args * lanes[32];
        for (int l = 0; l < 32; ++l) {
            mine[l]  = { x.d[l], x.a[l], x.b[l], x.e[l], which };
            lanes[l] = &mine[l];
        }
        which < 2 ? emulated::mma_sp(lanes) : emulated::mma(lanes);
        CHECK(std::memcmp(found.d, x.d, sizeof(x.d)) == 0, which == 2 ? "mma" : which ? "mma.sp 1" : "mma.sp 0");
    }
}

std::vector<uint8_t> random_weights(steerway_weights type, int64_t n) {
    std::vector<uint8_t> w(n*k_steerway_block_bytes);
    for (int64_t i = 0; i < n; ++i) {
        uint8_t * block = &w[i*k_steerway_block_bytes];
        for (int j = 2; j < k_steerway_block_bytes; ++j) {
            block[j] = (uint8_t) rng();
        }
        for (int j = 0; type == STEERWAY_S24 && j < 8; ++j) {
            block[k_s24_meta + j] = (uint8_t) random_nibbles(2);
        }
        const uint16_t d = emulated::to_f16(((int) (rng() % 2001) - 1000)*1e-5);
        std::memcpy(block, &d, 2);
    }
    return w;
}

__global__ void run_dots(steerway_weights type, const uint8_t * block, const uint32_t * u, int * sums) {
    const int i = threadIdx.x; // a quarter of a block
    const uint8_t * x = block + blockIdx.x*k_steerway_block_bytes;
    const uint32_t mine[4] = { u[4*i], u[4*i + 1], u[4*i + 2], u[4*i + 3] };
    sums[4*blockIdx.x + i] = type == STEERWAY_S24
        ? steerway_dot_s24(steerway_u16(x + k_s24_meta + 2*i), steerway_u32(x + k_s24_qs + 4*i), mine, 0)
        : steerway_dot_i3(steerway_u32(x + k_i3_ql + 4*i), steerway_u16(x + k_i3_qh + 2*i), mine, 0);
}

void test_dots(steerway_weights type) {
    const int n = 4096;
    const std::vector<uint8_t> w = random_weights(type, n);
    uint32_t u[16];
    for (uint32_t & x : u) {
        x = (uint32_t) rng();
    }
    device_array<uint8_t> weights(w.size());
    device_array<uint32_t> activations(16);
    device_array<int> sums(4*n);
    weights.put(w.data());
    activations.put(u);
    run_dots<<<n, 4>>>(type, weights.p, activations.p, sums.p);
    std::vector<int> found(4*n);
    sums.get(found.data());
    for (int i = 0; i < 4*n; ++i) {
        const uint8_t * block = &w[i / 4*k_steerway_block_bytes];
        int expected = 0;
        for (int k = 16*(i % 4); k < 16*(i % 4) + 16; k += 2) {
            int first, second;
            (type == STEERWAY_S24 ? steerway_pair_s24 : steerway_pair_i3)(block, k, first, second);
            expected += first*(int8_t) (u[k / 4] >> 8*(k % 4)) + second*(int8_t) (u[k / 4] >> 8*(k % 4 + 1));
        }
        CHECK(found[i] == expected*(type == STEERWAY_S24 ? 16 : 32), "dot");
    }
}

template <steerway_weights type> void test_product(int n_rows, int n_columns, int n_blocks, int n_multiprocessors) {
    const int n_values = 64*n_blocks;
    const std::vector<uint8_t> w = random_weights(type, (int64_t) n_rows*n_blocks);
    std::vector<uint16_t> x((size_t) n_values*n_columns);
    for (uint16_t & value : x) {
        value = emulated::to_f16(((int) (rng() % 2001) - 1000)*1e-3);
    }
    device_array<uint8_t>       weights(w.size());
    device_array<steerway_tile> tiles(steerway_tiles(n_rows, n_blocks));
    device_array<uint16_t>      activations(x.size());
    device_array<float>         dst((size_t) n_rows*n_columns);
    weights.put(w.data());
    activations.put(x.data());
    GPU(steerway_launch_repack<type>(weights.p, tiles.p, (int64_t) n_blocks*k_steerway_block_bytes, n_rows, n_blocks, 0));
    GPU(steerway_launch_product<type>(
        tiles.p, activations.p, dst.p, n_rows, n_columns, n_blocks, n_values, n_rows, n_multiprocessors, 0));
    std::vector<float> found((size_t) n_rows*n_columns);
    dst.get(found.data());

    std::vector<double> right(x.size());
    std::transform(x.begin(), x.end(), right.begin(), emulated::from_f16);
    double worst = 0;
    for (int row = 0; row < n_rows; ++row) {
        std::vector<double> dense(n_values);
        for (int k = 0; k < n_values; k += 2) {
            const uint8_t * block = &w[((size_t) row*n_blocks + k / 64)*k_steerway_block_bytes];
            int first, second;
            (type == STEERWAY_S24 ? steerway_pair_s24 : steerway_pair_i3)(block, k % 64, first, second);
            const double d = emulated::from_f16(steerway_u16(block));
            dense[k] = first*d, dense[k + 1] = second*d;
        }
        for (int column = 0; column < n_columns; column += n_columns > 100 ? 37 : 1) {
            double sum = 0, magnitude = 1e-30;
            for (int k = 0; k < n_values; ++k) {
                const double product = dense[k]*right[(size_t) column*n_values + k];
                sum += product;
                magnitude += std::fabs(product);
            }
            const double error = std::fabs(found[(size_t) column*n_rows + row] - sum) / magnitude;
            worst = std::fmax(worst, std::isnan(error) ? 1e9 : error);
        }
    }
    CHECK(worst < 1e-6, type == STEERWAY_S24 ? "product of s24" : "product of i3");
    std::printf("%s %d x %d, %d columns: largest error %.1e of the sum of magnitudes\n",
        type == STEERWAY_S24 ? "s24" : "i3", n_rows, n_values, n_columns, worst);
}

template <steerway_weights type> void test_products(int n_multiprocessors) {
    for (int m : { 1, n_multiprocessors }) { // 1: the large shape whatever the size
        test_product<type>(300, 70, 2, m);
        test_product<type>(896, 129, 14, m);
        test_product<type>(4864, 64, 14, m);
        test_product<type>(1, 1, 1, m);
    }
    test_product<type>(896, 513, 76, n_multiprocessors);
}

// Milliseconds: repack, product. Weights in turn, so that none is still in the cache.
template <steerway_weights type> void time_product(json & out, const gpu & device, int n_rows, int n_values, int n_columns) {
    const int     n_blocks = n_values / 64;
    const int64_t n_bytes  = (int64_t) n_rows*n_blocks*k_steerway_block_bytes;
    const int     n_copies = (int) (4*device.l2_bytes / n_bytes) + 1;
    const std::vector<uint8_t> w = random_weights(type, (int64_t) n_rows*n_blocks);
    std::vector<device_array<uint8_t>>       weights;
    std::vector<device_array<steerway_tile>> tiles;
    for (int i = 0; i < n_copies; ++i) {
        weights.emplace_back(n_bytes);
        weights.back().put(w.data());
        tiles.emplace_back(steerway_tiles(n_rows, n_blocks));
    }
    device_array<uint16_t> x((size_t) n_values*n_columns);
    device_array<float>    dst((size_t) n_rows*n_columns);
    x.random(rng);
    out.number("repack_ms", median_ms(n_copies, [&](int i) {
        GPU(steerway_launch_repack<type>(
            weights[i].p, tiles[i].p, (int64_t) n_blocks*k_steerway_block_bytes, n_rows, n_blocks, 0));
    }));
    const double ms = median_ms(n_copies, [&](int i) {
        GPU(steerway_launch_product<type>(
            tiles[i].p, x.p, dst.p, n_rows, n_columns, n_blocks, n_values, n_rows, device.multiprocessors, 0));
    });
    out.number("product_ms", ms);
    out.number("tflops", 2.0*n_rows*n_values*n_columns / ms*1e-9);
}

#ifdef WITH_CUBLAS
void time_cublas(json & out, const gpu & device, int n_rows, int n_values, int n_columns) {
    const int64_t n_bytes  = 2ll*n_rows*n_values;
    const int     n_copies = (int) (4*device.l2_bytes / n_bytes) + 1;
    std::vector<device_array<uint16_t>> weights;
    for (int i = 0; i < n_copies; ++i) {
        weights.emplace_back((size_t) n_rows*n_values);
        weights.back().random(rng);
    }
    device_array<uint16_t> x((size_t) n_values*n_columns);
    device_array<float>    dst((size_t) n_rows*n_columns);
    x.random(rng);
    cublasHandle_t handle;
    CUBLAS(cublasCreate(&handle));
    const float one = 1, zero = 0;
    const double ms = median_ms(n_copies, [&](int i) {
        CUBLAS(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, n_rows, n_columns, n_values, &one, weights[i].p, CUDA_R_16F, n_values,
            x.p, CUDA_R_16F, n_values, &zero, dst.p, CUDA_R_32F, n_rows, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    });
    CUBLAS(cublasDestroy(handle));
    out.number("product_ms", ms);
    out.number("tflops", 2.0*n_rows*n_values*n_columns / ms*1e-9);
}
#endif

void bench(json & out, const gpu & device) {
    out.number("copy_gb_per_s", copy_gb_per_s());
    out.open("prefill");
    const int shapes[][2] = { { 14336, 4096 }, { 4096, 14336 }, { 4864, 896 } };
    for (const auto & shape : shapes) {
        out.open(std::to_string(shape[0]) + "x" + std::to_string(shape[1]));
        for (int n_columns : { 64, 128, 256, 512, 1024, 2048 }) {
            out.open(std::to_string(n_columns));
            out.open("s24");
            time_product<STEERWAY_S24>(out, device, shape[0], shape[1], n_columns);
            out.close();
            out.open("i3");
            time_product<STEERWAY_I3>(out, device, shape[0], shape[1], n_columns);
            out.close();
#ifdef WITH_CUBLAS
            out.open("cublas_f16");
            time_cublas(out, device, shape[0], shape[1], n_columns);
            out.close();
#endif
            out.close();
        }
        out.close();
    }
    out.close();
}

} // namespace

int main(int argc, char ** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: kernels OUT.json [--no-bench]\n");
        return 1;
    }
    const gpu device = find_gpu();
    json out;
    test_instructions();
    for (steerway_weights type : { STEERWAY_S24, STEERWAY_I3 }) {
        test_dots(type);
    }
    test_products<STEERWAY_S24>(device.multiprocessors);
    test_products<STEERWAY_I3>(device.multiprocessors);
    out.text("gpu", device.name);
    out.number("checks", checks);
    out.number("failed", failures);
    if (argc < 3) {
        bench(out, device);
    }
    out.write(argv[1]);
    std::printf("%d of %d checks failed\n", failures, checks);
    return failures ? 1 : 0;
}
