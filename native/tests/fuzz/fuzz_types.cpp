// Damaged files with Steerway's weight types: the reader of GGUF, validation, rows to floats and products, all of which must
// end in an error or a value and never outside a buffer. A loop without a fuzzing engine, to be built with sanitisers:
//   fuzz_types FILE.gguf ROUNDS SEED
// With STEERWAY_FUZZ_LLAMA the files are loaded by llama.cpp and a token is computed, each in a process of its own.
// Prints what became of the rounds; exit code 1 if a process ended by a signal.

#include "ggml.h"
#include "gguf.h"

#ifdef STEERWAY_FUZZ_LLAMA
#include "llama.h"

#include <sys/wait.h>
#include <unistd.h>
#else
#include "ggml-backend.h"
#include "steerway-cpu-types.h"
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#ifndef STEERWAY_FUZZ_LLAMA
// Of ggml's other sources, which are not here: a table, and what is never called.
extern "C" {
float ggml_table_f32_f16[1 << 16];
void ggml_backend_tensor_memset(ggml_tensor *, uint8_t, size_t, size_t) { std::abort(); }
void ggml_backend_tensor_set(ggml_tensor *, const void *, size_t, size_t) { std::abort(); }
void ggml_backend_tensor_get(const ggml_tensor *, void *, size_t, size_t) { std::abort(); }
enum ggml_backend_buffer_usage ggml_backend_buffer_get_usage(ggml_backend_buffer_t) { std::abort(); }
}
#endif

namespace {

using bytes = std::vector<uint8_t>;

struct rounds {
    int refused = 0, read = 0, wrong_data = 0, crashed = 0;
};

bytes contents(const std::string & path) {
    std::ifstream stream(path, std::ios::binary);
    return bytes(std::istreambuf_iterator<char>(stream), {});
}

void put(bytes & file, size_t at, uint64_t value, size_t size) {
    if (at + size <= file.size()) {
        std::memcpy(&file[at], &value, size);
    }
}

// Where the ids of our types stand in the header: the four bytes behind a tensor's last dimension.
std::vector<size_t> ids(const bytes & file, size_t header) {
    std::vector<size_t> found;
    for (size_t at = 0; at + 4 <= header; ++at) {
        if ((file[at] == 240 || file[at] == 241) && !file[at + 1] && !file[at + 2] && !file[at + 3]) {
            found.push_back(at);
        }
    }
    return found;
}

bytes damaged(const bytes & file, size_t header, std::mt19937 & random) {
    static const uint64_t odd[] = {
        0, 1, 2, 3, 31, 43, 63, 64, 65, 100, 239, 240, 241, 242, 255, 256, 0x7fffffff, 0x80000000, 0xffffffff,
        0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0x0fffffffffffffc0, 0x400000000000000,
    };
    static const auto places = ids(file, header);
    bytes copy = file;
    for (int n = 1 + random() % 4; n > 0; --n) {
        const size_t in_header = random() % header, value = odd[random() % std::size(odd)];
        switch (random() % 8) {
            case 0: copy[in_header % copy.size()] ^= (uint8_t) (1 << random() % 8); break;
            case 1: put(copy, in_header, value, 4); break;
            case 2: put(copy, in_header, value, 8); break;
            case 3: put(copy, places[random() % places.size()], value, 4); break;
            case 4: put(copy, places[random() % places.size()] - 8*(1 + random() % 2), value, 8); break; // a dimension
            case 5: copy.resize(1 + random() % copy.size()); break;
            default: // the data
                for (int i = 0; i < 64; ++i) {
                    put(copy, header + random() % (file.size() - header), random(), 1);
                }
        }
    }
    return copy;
}

#ifdef STEERWAY_FUZZ_LLAMA

// 0: refused, 1: a token computed.
int load(const std::string & path) {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    auto params = llama_model_default_params();
    params.check_tensors = true;
    llama_model * model = llama_model_load_from_file(path.c_str(), params);
    if (!model) {
        return 0;
    }
    auto sizes = llama_context_default_params();
    sizes.n_ctx = sizes.n_batch = 32;
    sizes.n_threads = sizes.n_threads_batch = 1;
    llama_context * context = llama_init_from_model(model, sizes);
    llama_token token = 1;
    const bool computed = context && llama_decode(context, llama_batch_get_one(&token, 1)) == 0;
    llama_free(context);
    llama_model_free(model);
    return computed;
}

void run(const std::string & path, const bytes &, rounds & all) {
    const pid_t child = fork();
    if (child == 0) {
        const bool quiet = std::freopen("/dev/null", "w", stderr) != nullptr;
        std::_Exit(quiet ? load(path) : 2);
    }
    int status = 0;
    waitpid(child, &status, 0);
    const bool ended = WIFEXITED(status) && WEXITSTATUS(status) < 2;
    all.crashed += !ended;
    all.refused += ended && WEXITSTATUS(status) == 0;
    all.read    += ended && WEXITSTATUS(status) == 1;
}

#else

// On copies of exactly their sizes.
void compute(ggml_type type, const uint8_t * data, int64_t n) {
    const size_t size = ggml_row_size(type, n);
    const std::unique_ptr<uint8_t[]> row(new uint8_t[size]);
    const std::unique_ptr<float[]>   y(new float[n]);
    std::memcpy(row.get(), data, size);
    ggml_get_type_traits(type)->to_float(row.get(), y.get(), n);
    const std::unique_ptr<uint8_t[]> a(new uint8_t[n/32*34]);
    std::memset(a.get(), 0x3c, n/32*34);
    float with = 0.0f, without = 0.0f;
    if (type == GGML_TYPE_S24_0) {
        ggml_vec_dot_s24_0_q8_0((int) n, &with, 0, row.get(), 0, a.get(), 0, 1);
        ggml_vec_dot_s24_0_q8_0_generic((int) n, &without, 0, row.get(), 0, a.get(), 0, 1);
    } else if (type == GGML_TYPE_I3_0) {
        ggml_vec_dot_i3_0_q8_0((int) n, &with, 0, row.get(), 0, a.get(), 0, 1);
        ggml_vec_dot_i3_0_q8_0_generic((int) n, &without, 0, row.get(), 0, a.get(), 0, 1);
    }
    if (std::memcmp(&with, &without, sizeof(with)) != 0 && !(std::isnan(with) && std::isnan(without))) {
        std::abort();
    }
}

void run(const std::string & path, const bytes & file, rounds & all) {
    ggml_context * tensors = nullptr;
    gguf_context * meta = gguf_init_from_file(path.c_str(), { /*no_alloc*/ true, &tensors });
    if (!meta) {
        ++all.refused;
        return;
    }
    ++all.read;
    for (int64_t i = 0; i < gguf_get_n_tensors(meta); ++i) {
        const ggml_tensor * t = ggml_get_tensor(tensors, gguf_get_tensor_name(meta, i));
        const size_t at = gguf_get_data_offset(meta) + gguf_get_tensor_offset(meta, i), size = gguf_get_tensor_size(meta, i);
        if (at > file.size() || size > file.size() - at || !ggml_get_type_traits(t->type)->to_float) {
            continue; // as llama.cpp, which refuses a tensor that is not inside the file
        }
        all.wrong_data += !ggml_validate_row_data(t->type, &file[at], size);
        for (int64_t row = 0; row < ggml_nrows(t); ++row) {
            compute(t->type, &file[at + row*ggml_row_size(t->type, t->ne[0])], t->ne[0]);
        }
    }
    gguf_free(meta);
    ggml_free(tensors);
}

#endif

} // namespace

int main(int argc, char ** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: %s FILE.gguf ROUNDS SEED\n", argv[0]);
        return 2;
    }
    const bytes file = contents(argv[1]);
    const std::string path = std::string(argv[1]) + ".damaged";
    gguf_context * meta = gguf_init_from_file(argv[1], { /*no_alloc*/ true, nullptr });
    const size_t header = meta ? gguf_get_data_offset(meta) : 0;
    if (!header || ids(file, header).empty()) {
        std::fprintf(stderr, "%s holds no tensor of ours\n", argv[1]);
        return 2;
    }
    gguf_free(meta);
#ifndef STEERWAY_FUZZ_LLAMA
    for (int i = 0; i < 1 << 16; ++i) {
        ggml_table_f32_f16[i] = ggml_fp16_to_fp32((ggml_fp16_t) i);
    }
#endif
    std::mt19937 random(std::atoi(argv[3]));
    rounds all;
    for (int i = 0; i < std::atoi(argv[2]); ++i) {
        const bytes now = damaged(file, header, random);
        std::ofstream(path, std::ios::binary).write((const char *) now.data(), (std::streamsize) now.size());
        run(path, now, all);
#ifdef STEERWAY_FUZZ_LLAMA
        if (all.crashed) {
            std::fprintf(stderr, "round %d of seed %s: %s\n", i, argv[3], path.c_str());
            return 1;
        }
#endif
    }
    std::remove(path.c_str());
    std::printf("%d refused, %d read, %d tensors not valid, %d crashed\n", all.refused, all.read, all.wrong_data, all.crashed);
    return all.crashed > 0;
}
