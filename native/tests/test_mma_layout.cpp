// The CUDA code of native/src/cuda on a CPU: the integer products of decoding as they are, the prefill kernels on an emulator
// of the warp instructions (cuda_emulator.h), against sums in double precision over weights that are decoded here from the
// format's description. What it cannot test is whether the emulator is right: native/gpu/kernels.cu runs both on a GPU.
// Usage: test_mma_layout [MODEL.gguf], which is not read. Prints each failed check; exit code 1 if there is one.

#include "cuda_emulator.h"

#include "../src/cuda/steerway-cuda-prefill.cuh"

// What ggml declares where it includes our types
struct half { uint16_t x; };
struct half2 { half x, y; };
struct float2 { float x, y; };
struct block_q8_1 { half2 ds; int8_t qs[32]; };
inline float __half2float(half x) { return (float) emulated::from_f16(x.x); }
inline float __low2float(half2 x) { return __half2float(x.x); }

#include "../src/cuda/steerway-cuda-types.cuh"

#include <cstdio>
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

using bytes = std::vector<uint8_t>;

std::mt19937 rng(7);

int below(int n) { return (int) (rng() % (unsigned) n); }

// docs/weight-types.md, without a thought for speed
std::vector<int> integers(steerway_weights type, const uint8_t * block) {
    std::vector<int> w(64, 0);
    for (int k = 0; k < 64; ++k) {
        if (type == STEERWAY_I3) {
            w[k] = ((block[2 + k / 4] >> 2*(k % 4) & 3) | (block[18 + k / 8] >> k % 8 & 1) << 2) - 4;
        } else if (k % 2 == 0) { // k counts kept values: two of each group, in order
            const int group = k / 2 % 16, which = k / 32;
            const int index = block[2 + group / 2] >> 4*(group % 2) >> 2*which & 3;
            w[4*group + index] = (block[10 + group] >> 4*which & 15) - 8;
        }
    }
    return w;
}

constexpr int k_masks[6] = { 0 | 1 << 2, 0 | 2 << 2, 0 | 3 << 2, 1 | 2 << 2, 1 | 3 << 2, 2 | 3 << 2 };

void set_mask(uint8_t * block, int group, int mask) {
    uint8_t & byte = block[k_s24_meta + group / 2];
    byte = group % 2 ? (byte & 15) | k_masks[mask] << 4 : (byte & 240) | k_masks[mask];
}

void random_block(steerway_weights type, uint8_t * block, uint16_t scale) {
    for (int i = 2; i < k_steerway_block_bytes; ++i) {
        block[i] = (uint8_t) rng();
    }
    std::memcpy(block, &scale, 2);
    for (int g = 0; type == STEERWAY_S24 && g < 16; ++g) {
        set_mask(block, g, below(6));
    }
}

bytes random_weights(steerway_weights type, int n_rows, int n_blocks) {
    static const uint16_t odd[] = { 0, 0x8000, 1, 0x8001, 0x03ff, 0x3c00 }; // zeros, subnormal ones
    bytes w((size_t) n_rows*n_blocks*k_steerway_block_bytes);
    for (int i = 0; i < n_rows*n_blocks; ++i) {
        const double scale = (below(2001) - 1000)*1e-5;
        random_block(type, &w[(size_t) i*k_steerway_block_bytes], below(20) ? emulated::to_f16(scale) : odd[below(6)]);
    }
    return w;
}

// Every group's mask with every pair of values, and every third bit of I3
void test_pairs_and_dots() {
    for (steerway_weights type : { STEERWAY_S24, STEERWAY_I3 }) {
        for (int round = 0; round < 6*256; ++round) {
            uint8_t block[k_steerway_block_bytes];
            random_block(type, block, 0x3c00);
            if (type == STEERWAY_S24) {
                set_mask(block, round % 16, round % 6);
                block[k_s24_qs + round % 16] = (uint8_t) (round / 6);
            }
            const std::vector<int> w = integers(type, block);
            const std::string where = type == STEERWAY_S24 ? "s24" : "i3";

            int8_t a[64];
            for (int k = 0; k < 64; ++k) {
                a[k] = (int8_t) (round % 4 == 0 ? (k + round) % 2 ? 127 : -128 : (int) (rng() % 256) - 128);
            }
            for (int column = 0; column < 64; column += 2) {
                int first = 99, second = 99;
                (type == STEERWAY_S24 ? steerway_pair_s24 : steerway_pair_i3)(block, column, first, second);
                CHECK(first == w[column] && second == w[column + 1], where);
            }
            for (int part = 0; part < 4; ++part) {
                uint32_t u[4];
                std::memcpy(u, a + 16*part, 16);
                int expected = 1000; // adds to what is there
                for (int k = 16*part; k < 16*part + 16; ++k) {
                    expected += (type == STEERWAY_S24 ? 16 : 32)*w[k]*a[k];
                }
                const int found = type == STEERWAY_S24
                    ? steerway_dot_s24(steerway_u16(block + k_s24_meta + 2*part), steerway_u32(block + k_s24_qs + 4*part), u, 1000)
                    : steerway_dot_i3(steerway_u32(block + k_i3_ql + 4*part), steerway_u16(block + k_i3_qh + 2*part), u, 1000);
                CHECK(found == expected, where);
            }
        }
    }
}

// ggml's matrix-vector kernel calls with block kbx of a row, the two blocks of activations that meet it, and iqs = 0, 1.
void test_types_in_ggml() {
    const int n_blocks = 7;
    for (steerway_weights type : { STEERWAY_S24, STEERWAY_I3 }) {
        const bytes w = random_weights(type, 1, n_blocks);
        std::vector<block_q8_1> y(2*n_blocks);
        for (block_q8_1 & block : y) {
            block.ds = { { emulated::to_f16(below(1000)*1e-4) }, { 0x7e00 } }; // the sum of the block is not for us
            for (int8_t & q : block.qs) {
                q = (int8_t) (below(255) - 127);
            }
        }
        for (int kbx = 0; kbx < n_blocks; ++kbx) {
            const uint8_t * block = &w[kbx*k_steerway_block_bytes];
            const std::vector<int> q = integers(type, block);
            const double d = emulated::from_f16(steerway_u16(block));
            const std::string where = std::string(type == STEERWAY_S24 ? "s24" : "i3") + " block " + std::to_string(kbx);
            for (int iqs = 0; iqs < 2; ++iqs) {
                double sum = 0;
                for (int k = 0; k < 32; ++k) {
                    sum += q[32*iqs + k]*d*y[2*kbx + iqs].qs[k]*__low2float(y[2*kbx + iqs].ds);
                }
                const float found = (type == STEERWAY_S24 ? vec_dot_s24_0_q8_1 : vec_dot_i3_0_q8_1)(w.data(), &y[2*kbx], kbx, iqs);
                CHECK(std::fabs(found - sum) <= 1e-6*std::fabs(sum), where);
            }
            for (int k = 0; k < 64; k += 2) {
                float2 v;
                (type == STEERWAY_S24 ? dequantize_s24_0 : dequantize_i3_0)(w.data(), kbx, k, v);
                CHECK(v.x == (float) (q[k]*d) && v.y == (float) (q[k + 1]*d), where);
            }
        }
    }
}

// Where CUTLASS's reorder_meta (tools/util/host_reorder.h) puts 16 columns' metadata of a row of a 16 x 32 operand: word and half
void cutlass_place(int row, int part, int & word, int & half) {
    word = row % 8*4 + row % 32 / 8;
    half = part;
    if (word % 2 == 0 && half == 1) {
        ++word, --half;
    } else if (word % 2 == 1 && half == 0) {
        --word, ++half;
    }
}

void test_metadata_places() {
    uint8_t blocks[16][k_steerway_block_bytes] = {};
    for (int row = 0; row < 16; ++row) {
        for (int part = 0; part < 4; ++part) {
            blocks[row][k_s24_meta + 2*part]     = (uint8_t) (0x80 | row);
            blocks[row][k_s24_meta + 2*part + 1] = (uint8_t) (0x40 | part);
        }
    }
    for (int row = 0; row < 16; ++row) {
        for (int part = 0; part < 4; ++part) {
            int word, half;
            cutlass_place(row, part % 2, word, half);
            word += 2*(part / 2); // the second 32 columns: selector 1
            const steerway_lane lane = steerway_pack<STEERWAY_S24>(blocks[word / 4], blocks[word / 4 + 8], word % 4);
            CHECK((lane.e >> 16*half & 0xffff) == (uint32_t) (0x80 | row | (0x40 | part) << 8), "row " + std::to_string(row));
        }
    }
}

template <steerway_weights type> std::vector<steerway_tile> repacked(const bytes & w, int n_rows, int n_blocks) {
    const int n_tiles = (n_rows + 15) / 16*n_blocks;
    std::vector<steerway_tile> tiles(n_tiles + 1);
    std::memset((void *) tiles.data(), 0xee, tiles.size()*sizeof(steerway_tile));
    emulated::launch((n_tiles + 3) / 4, 1, 128, [&] {
        steerway_repack<type>(w.data(), tiles.data(), (int64_t) n_blocks*k_steerway_block_bytes, n_rows, n_blocks);
    });
    CHECK(tiles.back().e[0] == 0xeeeeeeee, "the tile behind the last one");
    for (int row = n_rows; row < (n_rows + 15) / 16*16; ++row) {
        const uint32_t d = tiles[row / 16*n_blocks].d[row % 8] >> 16*(row % 16 / 8) & 0xffff;
        CHECK(d == 0, "the scale of row " + std::to_string(row) + " of " + std::to_string(n_rows));
    }
    return tiles;
}

template <steerway_weights type, typename shape>
void test_product(int n_rows, int n_columns, int n_blocks, bool one_hot) {
    const std::string where = std::string(type == STEERWAY_S24 ? "s24 " : "i3 ") + std::to_string(n_rows) + " rows "
        + std::to_string(n_columns) + " columns " + std::to_string(n_blocks) + " blocks, shape of " + std::to_string(shape::rows);
    const bytes w = random_weights(type, n_rows, n_blocks);
    const int n_values = n_blocks*64, stride = n_values + 8;
    // 16-byte aligned; what is behind a column must not be read (NaN), nor be multiplied by 0
    std::vector<uint4> storage(((size_t) stride*n_columns + 7) / 8);
    uint16_t * x = (uint16_t *) storage.data();
    for (int i = 0; i < stride*n_columns; ++i) {
        const int column = i / stride, k = i % stride;
        x[i] = k >= n_values ? 0x7e00 : emulated::to_f16(one_hot ? k == column % n_values : (below(2001) - 1000)*1e-3);
    }
    const std::vector<steerway_tile> tiles = repacked<type>(w, n_rows, n_blocks);
    const int dst_stride = n_rows + 3;
    std::vector<float> dst((size_t) dst_stride*n_columns, -7.0f);
    emulated::readable[0] = x;
    emulated::readable[1] = x + (size_t) stride*n_columns;
    emulated::launch((n_rows + shape::rows - 1) / shape::rows, (n_columns + 63) / 64, 32*shape::warps, [&] {
        steerway_product<type, shape>(tiles.data(), x, dst.data(), n_rows, n_columns, n_blocks, stride, dst_stride);
    });

    double worst = 0;
    for (int row = 0; row < n_rows; ++row) {
        std::vector<double> dense;
        for (int b = 0; b < n_blocks; ++b) {
            const uint8_t * block = &w[((size_t) row*n_blocks + b)*k_steerway_block_bytes];
            for (int q : integers(type, block)) {
                dense.push_back(q*emulated::from_f16(steerway_u16(block)));
            }
        }
        for (int column = 0; column < n_columns; ++column) {
            double sum = 0, magnitude = 1e-30;
            for (int k = 0; k < n_values; ++k) {
                const double product = dense[k]*emulated::from_f16(x[column*stride + k]);
                sum += product;
                magnitude += std::fabs(product);
            }
            const double error = std::fabs(dst[column*dst_stride + row] - sum) / magnitude;
            worst = std::fmax(worst, std::isnan(error) ? 1e9 : error);
        }
    }
    CHECK(worst < (one_hot ? 1e-12 : 1e-6), where + ", off by " + std::to_string(worst)); // f32 sums; one product is exact
    for (int column = 0; column < n_columns; ++column) {
        for (int i = n_rows; i < dst_stride; ++i) {
            CHECK(dst[column*dst_stride + i] == -7.0f, where + ", behind the rows");
        }
    }
}

template <steerway_weights type> void test_products() {
    test_product<type, steerway_many_rows>(300, 70, 2, false);
    test_product<type, steerway_many_rows>(17, 9, 5, false);
    test_product<type, steerway_many_rows>(256, 64, 1, true);
    test_product<type, steerway_few_rows>(33, 65, 6, false);
    test_product<type, steerway_few_rows>(1, 1, 1, false);
    test_product<type, steerway_few_rows>(40, 3, 9, false);
    test_product<type, steerway_few_rows>(24, 129, 2, true);
}

void test_f16() {
    for (uint32_t x = 0; x < 0x10000; ++x) {
        const double value = emulated::from_f16(x);
        CHECK(std::isnan(value) || emulated::to_f16(value) == x, std::to_string(x));
    }
    CHECK(emulated::to_f16(1.0 + 1.0/2048) == 0x3c00 && emulated::to_f16(1.0 + 3.0/2048) == 0x3c02, "ties to even");
}

} // namespace

int main() {
    test_f16();
    test_pairs_and_dots();
    test_types_in_ggml();
    test_metadata_places();
    test_products<STEERWAY_S24>();
    test_products<STEERWAY_I3>();
    std::printf("%d failed\n", failures);
    return failures ? 1 : 0;
}
