// The packed kernels and row products of S24_0 and I3_0 by themselves, without ggml's libraries: small enough to be compiled for
// another processor and run under an emulator. All ways of computing a product are checked against the portable one, bit for bit.
// Prints a digest of the results for each case, which is the same on every processor, then how many checks failed.

#include "ggml-cpu-impl.h"
#include "steerway-cpu-packed-kernel.h"

#include "simd-mappings.h"
#include "steerway-cpu-types.h"

#include <cstdio>
#include <random>
#include <string>
#include <vector>

// ggml's, for processors without conversions of their own.
float ggml_table_f32_f16[1 << 16];

// What steerway-cpu-types.c names and these products do not need.
extern "C" void quantize_row_s24_0_ref(const float *, block_s24_0 *, int64_t) {}
extern "C" void quantize_row_i3_0_ref(const float *, block_i3_0 *, int64_t) {}

namespace {

using bytes = std::vector<uint8_t>;
using product = void (*)(int, float *, size_t, const void *, size_t, const void *, size_t, int);

int failures = 0;

void check(bool ok, const std::string & what) {
    if (!ok && ++failures < 20) {
        std::fprintf(stderr, "not true: %s\n", what.c_str());
    }
}

bytes random_bytes(size_t n, std::mt19937 & random) {
    bytes x(n);
    for (auto & byte : x) {
        byte = (uint8_t) random();
    }
    return x;
}

// Any bytes - indices out of order too -, with scales that are finite, of either sign, subnormal now and then.
bytes random_blocks(size_t n, size_t block, std::mt19937 & random) {
    auto x = random_bytes(n*block, random);
    for (size_t at = 0; at < x.size(); at += block) {
        const unsigned exponent = random() % 16;
        x[at + 1] = (uint8_t) ((x[at + 1] & 0x83) | exponent << 2);
    }
    return x;
}

// ggml's Q8_0: values of -127 to 127.
bytes random_column(int64_t k, std::mt19937 & random) {
    auto x = random_blocks(k/32, sizeof(block_q8_0), random);
    for (size_t i = 0; i < x.size(); ++i) {
        if (i % sizeof(block_q8_0) >= sizeof(ggml_half) && x[i] == 0x80) {
            x[i] = 0x81;
        }
    }
    return x;
}

struct problem {
    int64_t            k, n_rows;
    bytes              weights; // rows of blocks
    std::vector<bytes> columns; // of Q8_0

    std::vector<float> by(product f, size_t block) const {
        std::vector<float> y;
        for (const auto & column : columns) {
            for (int64_t row = 0; row < n_rows; ++row) {
                float s;
                f((int) k, &s, 0, weights.data() + row*(k/64)*block, 0, column.data(), 0, 1);
                y.push_back(s);
            }
        }
        return y;
    }
};

template<typename Format> std::vector<activation_block> activations_of(const problem & p) {
    std::vector<activation_block> all(p.columns.size()*p.k/k_block);
    for (size_t c = 0; c < p.columns.size(); ++c) {
        const auto * from = (const block_q8_0 *) p.columns[c].data();
        for (int64_t b = 0; b < p.k/k_block; ++b) {
            fill<Format>(all[c*p.k/k_block + b], from[b].qs, from_f16(from[b].d));
        }
    }
    return all;
}

// A cache line's alignment, as buffers have.
struct tiles_of {
    bytes     memory;
    uint8_t * data;

    explicit tiles_of(size_t n) : memory(n + 64), data((uint8_t *) GGML_PAD((uintptr_t) memory.data(), 64)) {}
};

template<typename Format> size_t tile_bytes(const problem & p) {
    return tile_layout<Format>::tile_bytes(p.k/64);
}

template<typename Format> void pack_all(const problem & p, tiles_of & tiles, const std::string & where) {
    const size_t row_bytes = p.k/64*Format::bytes;
    for (int64_t row = 0; row < p.n_rows; row += k_tile_rows) {
        const int64_t n = std::min<int64_t>(k_tile_rows, p.n_rows - row);
        uint8_t * tile = tiles.data + row/k_tile_rows*tile_bytes<Format>(p);
        pack_tile<Format>(p.weights.data() + row*row_bytes, n, p.k/64, tile);
        bytes back(n*row_bytes);
        unpack_tile<Format>(tile, n, p.k/64, back.data());
        check(std::memcmp(back.data(), p.weights.data() + row*row_bytes, back.size()) == 0, where + ": unpacked");
    }
}

// Straight from the tiles, as with few columns.
template<typename Format> std::vector<float> from_tiles(const problem & p, const tiles_of & tiles) {
    const auto a = activations_of<Format>(p);
    std::vector<float> y(p.columns.size()*p.n_rows, NAN);
    for (int64_t row = 0; row < p.n_rows; row += vector::rows) {
        const uint8_t * tile = tiles.data + row/k_tile_rows*tile_bytes<Format>(p);
        const int n = (int) std::min<int64_t>(vector::rows, p.n_rows - row);
        const columns x = { a.data(), p.k/k_block, y.data() + row, (size_t) p.n_rows, n };
        multiply_tile_columns<Format>(tile, (int) (row % k_tile_rows), p.k/64, x, (int64_t) p.columns.size(), { tile, 0 });
    }
    return y;
}

// Panels expanded to bytes first, as with many columns.
template<typename Packed, typename Format> std::vector<float> from_panels(const problem & p, const tiles_of & tiles) {
    const auto a = activations_of<Format>(p);
    const int64_t n_blocks = p.k/k_block;
    std::vector<float> y(p.columns.size()*p.n_rows, NAN);
    std::vector<weight_block> panel(n_blocks);
    for (int64_t row = 0; row < p.n_rows; row += vector::rows) {
        const uint8_t * tile = tiles.data + row/k_tile_rows*tile_bytes<Packed>(p);
        const int64_t at = row % k_tile_rows;
        for (int64_t b = 0; b < p.k/64; ++b) {
            const auto place = tile_layout<Packed>::place(tile, b, p.k/64);
            expand_block<Format>(tile_source<Format> { place.halves + 2*at, place.lines + 4*at }, panel.data() + b*Format::blocks);
        }
        lookahead nothing = { nullptr, nullptr, 0 };
        const ::tile t = { panel.data(), a.data(), n_blocks, n_blocks, false, y.data() + row, (size_t) p.n_rows,
            (int) std::min<int64_t>(vector::rows, p.n_rows - row) };
        multiply_panels<Format, 1>(t, (int64_t) p.columns.size(), nothing);
    }
    return y;
}

bool same(const std::vector<float> & a, const std::vector<float> & b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()*sizeof(float)) == 0;
}

uint64_t digest(const std::vector<float> & y) {
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (const float value : y) {
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof(bits));
        for (int i = 0; i < 4; ++i) {
            hash = (hash ^ (bits >> 8*i & 255))*0x100000001b3;
        }
    }
    return hash;
}

// Packed as `Packed`, of which `Dense` is the form for many columns. Returns what the portable product gives.
template<typename Packed, typename Dense> std::vector<float> check_all(const problem & p, product native, product portable, const std::string & where) {
    const auto y = p.by(portable, Packed::bytes);
    check(same(p.by(native, Packed::bytes), y), where + ": row by row");
    tiles_of tiles(tile_layout<Packed>::bytes(p.n_rows, p.k/64));
    pack_all<Packed>(p, tiles, where);
    check(p.columns.size() > k_most_columns || same(from_tiles<Packed>(p, tiles), y), where + ": from tiles");
    check(same(from_panels<Packed, Dense>(p, tiles), y), where + ": from panels");
    return y;
}

// In the blocks of S24_0, no index twice in a group: the dense form holds one weight for each column only.
void part_indices(bytes & weights) {
    static const uint8_t masks[] = { 0x4, 0x8, 0x9, 0xc, 0xd, 0xe };
    for (size_t i = 0; i < weights.size(); ++i) {
        if (i % 26 >= 2 && i % 26 < 10) {
            weights[i] = (uint8_t) (masks[weights[i] % 6] | masks[(weights[i] >> 4) % 6] << 4);
        }
    }
}

template<typename Packed, typename Dense> void check_type(const char * name, product native, product portable) {
    for (const int64_t k : { 64, 128, 192, 896 }) {
        for (const int64_t n_rows : { 1, 4, 7, 8, 9, 16, 33 }) {
            std::mt19937 random((uint32_t) (k*n_rows));
            problem p = { k, n_rows, random_blocks(n_rows*k/64, Packed::bytes, random), {} };
            if (Packed::is_sparse) {
                part_indices(p.weights);
            }
            std::vector<float> all;
            for (const size_t n_columns : { 1, 2, 3, 4, 5, 6, 7, 8, 13 }) {
                while (p.columns.size() < n_columns) {
                    p.columns.push_back(random_column(k, random));
                }
                all = check_all<Packed, Dense>(p, native, portable,
                    name + (" " + std::to_string(k)) + "x" + std::to_string(n_rows) + ", columns " + std::to_string(n_columns));
            }
            std::printf("%s %dx%d %016llx\n", name, (int) k, (int) n_rows, (unsigned long long) digest(all));
        }
    }
}

// Each mask, in order or not, with each pair of values, in each of the groups of a block; activations at the ends of their range.
void check_every_group() {
    std::mt19937 random(1);
    for (int mask = 0; mask < 16; ++mask) {
        for (int first = 0; first < 256; first += 16) {
            problem p = { 64, 16, random_blocks(16, sizeof(block_s24_0), random), { random_column(64, random) } };
            for (int i = 0; i < 16; ++i) { // row i has its pair of values in group i
                uint8_t * block = p.weights.data() + i*sizeof(block_s24_0);
                block[2 + i/2]  = (uint8_t) ((block[2 + i/2] & (0xf0 >> 4*(i % 2))) | mask << 4*(i % 2));
                block[10 + i]   = (uint8_t) (first + i);
            }
            for (size_t i = 0; i < p.columns[0].size(); ++i) {
                if (i % sizeof(block_q8_0) >= sizeof(ggml_half) && mask % 2) {
                    p.columns[0][i] = (uint8_t) (int8_t) (random() % 2 ? 127 : -127);
                }
            }
            const auto y = p.by(ggml_vec_dot_s24_0_q8_0_generic, sizeof(block_s24_0));
            const std::string where = "mask " + std::to_string(mask) + ", values from " + std::to_string(first);
            check(same(p.by(ggml_vec_dot_s24_0_q8_0, sizeof(block_s24_0)), y), where + ": row by row");
            tiles_of tiles(tile_layout<s24_0_format>::bytes(16, 1));
            pack_all<s24_0_format>(p, tiles, where);
            check(same(from_tiles<s24_0_format>(p, tiles), y), where + ": from tiles");
        }
    }
}

} // namespace

int main() {
    for (int i = 0; i < 1 << 16; ++i) {
        ggml_table_f32_f16[i] = GGML_COMPUTE_FP16_TO_FP32((ggml_fp16_t) i);
    }
    check_type<s24_0_format, s24_0_dense_format>("s24_0", ggml_vec_dot_s24_0_q8_0, ggml_vec_dot_s24_0_q8_0_generic);
    check_type<i3_0_format, i3_0_format>("i3_0", ggml_vec_dot_i3_0_q8_0, ggml_vec_dot_i3_0_q8_0_generic);
    check_every_group();
    std::printf("%d failed\n", failures);
    return failures > 0;
}
