// Runs CUDA kernels of native/src/cuda on a CPU: every thread of a block is a fiber, and the warp instructions of
// steerway-cuda-ptx.cuh meet there and do what the PTX ISA says (chapters on mma, mma.sp, ldmatrix and cp.async). For tests:
// it is slow, stops at the first thing that a GPU would not define, and a copy arrives only when it is waited for.

#pragma once

#define STEERWAY_CUDA_EMULATED
#define __global__
#define __device__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(x)

#include "mma_reference.h"

#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

struct uint2 { uint32_t x, y; };
struct alignas(16) uint4 { uint32_t x, y, z, w; };
struct emulated_index { int x = 0, y = 0, z = 0; };

static emulated_index threadIdx, blockIdx, blockDim;
uint4 steerway_shared[1 << 13]; // the dynamic shared memory of the one block that runs

namespace emulated {

struct copy { void * target; const void * source; bool valid; };

struct thread {
    ucontext_t                    context;
    std::vector<char>             stack;
    bool                          done = false;
    std::vector<copy>             open;   // not committed
    std::deque<std::vector<copy>> groups; // committed, not arrived
};

// Where `count` threads wait for each other; the last one does the work for all.
struct meeting {
    int          arrived = 0, generation = 0;
    const char * what = nullptr;
    void *       mine[32];
};

struct block {
    ucontext_t            scheduler;
    std::vector<thread>   threads;
    std::vector<meeting>  warps;
    meeting               all;
    int                   current = 0;
    bool                  progress = false;
    std::function<void()> kernel;
};

inline block * running = nullptr;
inline const void * readable[2] = { nullptr, nullptr }; // what cp.async may read: from, and up to

inline void yield() {
    block & b = *running;
    const int me = b.current;
    swapcontext(&b.threads[me].context, &b.scheduler);
}

template <typename work> void meet(meeting & m, int count, const char * what, work && last) {
    if (m.arrived > 0 && m.what != what) {
        stop("threads of a warp meet at different instructions");
    }
    m.what = what;
    running->progress = true;
    const int generation = m.generation;
    if (++m.arrived == count) {
        last();
        m.arrived = 0;
        ++m.generation;
        return;
    }
    while (m.generation == generation) {
        yield();
    }
}

template <typename args> void warp(const char * what, args & mine, void (*work)(args * (&)[32])) {
    meeting & m = running->warps[running->current / 32];
    m.mine[running->current % 32] = &mine;
    meet(m, 32, what, [&] {
        args * lanes[32];
        for (int i = 0; i < 32; ++i) {
            lanes[i] = (args *) m.mine[i];
        }
        work(lanes);
    });
}

inline void enter() {
    running->kernel();
    running->threads[running->current].done = true;
    running->progress = true;
    setcontext(&running->scheduler);
}

inline void prepare(thread & t) {
    t.stack.resize(1 << 16);
    getcontext(&t.context);
    t.context.uc_stack.ss_sp   = t.stack.data();
    t.context.uc_stack.ss_size = t.stack.size();
    makecontext(&t.context, enter, 0);
}

// Runs a warp as far ahead of the others as it gets. Returns how many of its threads have returned.
inline int run_warp(block & b, int warp) {
    int returned = 0;
    for (bool moved = true; moved;) {
        const bool before = b.progress;
        b.progress = false;
        for (b.current = 32*warp; b.current < 32*warp + 32; ++b.current) {
            thread & t = b.threads[b.current];
            if (!t.done) {
                threadIdx.x = b.current;
                swapcontext(&b.scheduler, &t.context);
                returned += t.done;
            }
        }
        moved = b.progress;
        b.progress |= before;
    }
    return returned;
}

// One block at a time, `kernel` being called once for every thread.
inline void launch(int grid_x, int grid_y, int n_threads, const std::function<void()> & kernel) {
    for (int i = 0; i < grid_x*grid_y; ++i) {
        std::memset((void *) steerway_shared, 0xff, sizeof(steerway_shared)); // NaN
        block b;
        b.threads.resize(n_threads);
        b.warps.resize(n_threads / 32);
        b.kernel = kernel;
        running  = &b;
        blockIdx = { i % grid_x, i / grid_x, 0 };
        blockDim = { n_threads, 1, 1 };
        for (thread & t : b.threads) {
            prepare(t);
        }
        for (int left = n_threads, round = 0; left > 0; ++round) {
            b.progress = false;
            for (int w = 0; w < (int) b.warps.size(); ++w) {
                left -= run_warp(b, (w + round) % (int) b.warps.size());
            }
            if (!b.progress && left > 0) {
                stop("a thread waits for threads that have returned");
            }
        }
    }
    running = nullptr;
}

struct ldmatrix_args { uint32_t * x; const void * row; };

inline void ldmatrix(ldmatrix_args * (&lanes)[32]) {
    for (int i = 0; i < 4; ++i) {
        uint32_t banks = 0;
        for (int r = 0; r < 8; ++r) {
            const uintptr_t address = (uintptr_t) lanes[8*i + r]->row;
            if (address % 16 != 0) {
                stop("ldmatrix from an address that is not aligned");
            }
            banks |= 1u << address / 16 % 8;
        }
        if (banks != 0xff) {
            stop("ldmatrix with a bank conflict");
        }
        for (int l = 0; l < 32; ++l) {
            lanes[l]->x[i] = ((const uint32_t *) lanes[8*i + l / 4]->row)[l % 4];
        }
    }
}

} // namespace emulated

inline void __syncthreads() {
    emulated::meet(emulated::running->all, (int) emulated::running->threads.size(), "__syncthreads", [] {});
}

template <int selector> void steerway_mma_sp(float (&d)[4], const uint32_t (&a)[4], const uint32_t * b, uint32_t e) {
    emulated::mma_args mine = { d, a, b, e, selector };
    emulated::warp(selector ? "mma.sp 1" : "mma.sp 0", mine, emulated::mma_sp);
}

inline void steerway_mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t * b) {
    emulated::mma_args mine = { d, a, b, 0, 0 };
    emulated::warp("mma", mine, emulated::mma);
}

inline void steerway_ldmatrix(uint32_t * x, const void * row) {
    emulated::ldmatrix_args mine = { x, row };
    emulated::warp("ldmatrix", mine, emulated::ldmatrix);
}

inline void steerway_copy_async(void * target, const void * source, bool valid) {
    if (((uintptr_t) target | (valid ? (uintptr_t) source : 0)) % 16 != 0) {
        emulated::stop("cp.async of 16 bytes that are not aligned");
    }
    if (valid && (source < emulated::readable[0] || (const char *) source + 16 > emulated::readable[1])) {
        emulated::stop("cp.async from outside the activations");
    }
    emulated::running->threads[emulated::running->current].open.push_back({ target, source, valid });
}

inline void steerway_copy_commit() {
    emulated::thread & t = emulated::running->threads[emulated::running->current];
    t.groups.push_back(std::move(t.open));
    t.open.clear();
}

template <int n> void steerway_copy_wait() {
    emulated::thread & t = emulated::running->threads[emulated::running->current];
    for (; (int) t.groups.size() > n; t.groups.pop_front()) {
        for (const emulated::copy & c : t.groups.front()) {
            if (c.valid) {
                std::memcpy(c.target, c.source, 16);
            } else {
                std::memset(c.target, 0, 16);
            }
        }
    }
}

inline uint32_t steerway_sub2(uint32_t a, uint32_t b) {
    uint32_t found = 0;
    for (int i = 0; i < 2; ++i) {
        found |= (uint32_t) emulated::to_f16(emulated::half_of(a, i) - emulated::half_of(b, i)) << 16*i;
    }
    return found;
}

inline float steerway_f16(uint32_t x) { return (float) emulated::from_f16(x); }
