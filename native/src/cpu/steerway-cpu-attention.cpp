// Attention over a cache of f16 rows, for any number of tokens.
//
// ggml computes fewer than 64 tokens one query head at a time, reading and converting the cache for each. Here the rows
// of a tile are all query heads of one key head, of several tokens: with 7 query heads to a key head, one token already is
// 7 rows, and 30 tokens over 2,500 cells take a tenth of the time.
//
// A row's result depends on its query, the cells and the mask alone, bit for bit: not on the tokens computed beside it, nor
// on the number of threads. The cells are taken in segments, each with the online softmax of flash attention
// (arXiv:2205.14135), and the segments are joined in order; threads share the segments out when rows are few.
//
// Heads whose attention is given (steerway-cpu-heads.h) have no rows here: their scores are not computed, and the keys of a
// key head without any other are not read.

#include "steerway-cpu-attention.h"

#include "steerway-cpu-heads.h"

#include "ggml-impl.h"
#include "simd-mappings.h"
#include "vec.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__AVX512F__) // GGML_F32_VEC is then 512 bits wide, whatever else there is
#if defined(__AVX512DQ__) && defined(__AVX512VL__)
#define STEERWAY_ATTENTION 1
#endif
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define STEERWAY_ATTENTION 1
#endif

bool steerway_attention_built() {
#ifdef STEERWAY_ATTENTION
    return true;
#else
    return false;
#endif
}

#ifdef STEERWAY_ATTENTION

namespace {

constexpr int TILE    = 64;  // cells whose scores are held at once
constexpr int SEGMENT = 512; // cells of a segment
constexpr int ROWS    = 60;  // rows of a block, a multiple of the micro-kernel's
constexpr int64_t MOST_PARTS = 8*1024*1024; // floats, of all segments' sums together
constexpr int WIDTH   = GGML_F32_EPR;
constexpr int MICRO   = 6;                         // rows of the micro-kernel
constexpr int LANES   = WIDTH == 16 ? 4 : 2;       // and its vectors a row: 24 or 12 accumulators
static_assert(TILE%WIDTH == 0, "a tile is whole vectors");

using vec = GGML_F32_VEC;

#if defined(__AVX512F__)
inline vec maximum(vec a, vec b) { return _mm512_max_ps(a, b); }
inline float highest(vec a) { return _mm512_reduce_max_ps(a); }
inline float total(vec a) { return _mm512_reduce_add_ps(a); }
inline vec widen(const ggml_fp16_t * x) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) x)); }
inline vec masked(vec score, vec mask) { // whatever the score of a cell that must not be seen is, NaN too
    const vec never = _mm512_set1_ps(-INFINITY);
    return _mm512_mask_mov_ps(_mm512_add_ps(score, mask), _mm512_cmp_ps_mask(mask, never, _CMP_EQ_OQ), never);
}
#else
inline vec maximum(vec a, vec b) { return _mm256_max_ps(a, b); }
inline float highest(vec a) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
inline float total(vec a) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
inline vec widen(const ggml_fp16_t * x) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) x)); }
inline vec masked(vec score, vec mask) {
    const vec never = _mm256_set1_ps(-INFINITY);
    return _mm256_blendv_ps(_mm256_add_ps(score, mask), never, _mm256_cmp_ps(mask, never, _CMP_EQ_OQ));
}
#endif

// What a thread works in, floats.
struct scratch {
    float * q;     // [ROWS][dk], scaled
    float * k;     // [dk][TILE]
    float * v;     // [TILE][dv]
    float * score; // [ROWS][TILE]
    float * mask;  // [ROWS][TILE], a row per token
    float * seen;  // [TILE], the largest of these of each cell
    float * part;  // [ROWS][HEAD + dv], of a segment
    float * sum;   // [ROWS][HEAD + dv], of the segments before
};

// A row's softmax so far: maximum, sum of exponentials, then the weighted sum of values.
constexpr int HEAD = 16; // so that the values are aligned

struct shape {
    int64_t dk, dv, tokens, cells, key_heads, group, blocks, segments;
    steerway_head_list heads;
    int64_t first_block[STEERWAY_MOST_HEADS + 1]; // of each key head

    explicit shape(const ggml_tensor * op) : heads(op) {
        const ggml_tensor * q = op->src[0];
        const ggml_tensor * k = op->src[1];
        dk        = k->ne[0];
        dv        = op->src[2]->ne[0];
        tokens    = q->ne[1];
        cells     = k->ne[1];
        key_heads = k->ne[2];
        group     = q->ne[2]/key_heads;
        segments  = (cells + SEGMENT - 1)/SEGMENT;
        blocks    = 0;
        for (int64_t i = 0; i < key_heads; i++) {
            first_block[i] = blocks;
            blocks += (rows(i) + ROWS - 1)/ROWS;
        }
        first_block[key_heads] = blocks;
    }

    int64_t part() const { return HEAD + dv; }

    int64_t rows(int64_t key_head) const { return tokens*heads.n_computed[key_head]; }

    int64_t scratch_floats() const {
        return ROWS*dk + TILE*dk + TILE*dv + (2*ROWS + 1)*TILE + 2*ROWS*part() + 128;
    }

    int64_t parts_floats() const { return key_heads*tokens*group*segments*part(); }

    // Whether threads share the segments of a block: there are too few blocks to keep them busy.
    bool split(int threads) const {
        return segments > 1 && threads > 1 && blocks < 4*threads && parts_floats() <= MOST_PARTS;
    }
};

float * aligned(float * p) {
    return (float *) (((uintptr_t) p + 63) & ~(uintptr_t) 63);
}

scratch scratch_at(float * base, const shape & s) {
    scratch res;
    res.q     = aligned(base);
    res.k     = res.q + ROWS*s.dk;
    res.v     = res.k + TILE*s.dk;
    res.score = res.v + TILE*s.dv;
    res.mask  = res.score + ROWS*TILE;
    res.seen  = res.mask + ROWS*TILE;
    res.part  = res.seen + TILE;
    res.sum   = res.part + ROWS*s.part();
    return res;
}

// C[R x N] (rows `ldc` apart) = or += A[R x K] * B[K x N], for L vectors of columns. Every element is summed in the order of
// K, so that it depends neither on R nor on L.
template<int R, int L>
void micro(float * c, int64_t ldc, const float * a, int64_t lda, const float * b, int64_t ldb, int64_t k, bool add) {
    vec acc[R][L];
    for (int r = 0; r < R; r++) {
        for (int l = 0; l < L; l++) {
            acc[r][l] = add ? GGML_F32_VEC_LOAD(c + r*ldc + l*WIDTH) : GGML_F32_VEC_ZERO;
        }
    }
    for (int64_t i = 0; i < k; i++) {
        vec row[L];
        for (int l = 0; l < L; l++) {
            row[l] = GGML_F32_VEC_LOAD(b + i*ldb + l*WIDTH);
        }
        for (int r = 0; r < R; r++) {
            const vec x = GGML_F32_VEC_SET1(a[r*lda + i]);
            for (int l = 0; l < L; l++) {
                acc[r][l] = GGML_F32_VEC_FMA(acc[r][l], row[l], x);
            }
        }
    }
    for (int r = 0; r < R; r++) {
        for (int l = 0; l < L; l++) {
            GGML_F32_VEC_STORE(c + r*ldc + l*WIDTH, acc[r][l]);
        }
    }
}

template<int L>
void product_columns(
        float * c, int64_t ldc, const float * a, int64_t lda, const float * b, int64_t ldb, int64_t k, int64_t rows, bool add) {
    for (int64_t r = 0; r < rows; r += MICRO) {
        float       * cc = c + r*ldc;
        const float * aa = a + r*lda;
        switch (std::min<int64_t>(MICRO, rows - r)) {
            case 6: micro<6, L>(cc, ldc, aa, lda, b, ldb, k, add); break;
            case 5: micro<5, L>(cc, ldc, aa, lda, b, ldb, k, add); break;
            case 4: micro<4, L>(cc, ldc, aa, lda, b, ldb, k, add); break;
            case 3: micro<3, L>(cc, ldc, aa, lda, b, ldb, k, add); break;
            case 2: micro<2, L>(cc, ldc, aa, lda, b, ldb, k, add); break;
            default: micro<1, L>(cc, ldc, aa, lda, b, ldb, k, add); break;
        }
    }
}

void product(float * c, int64_t ldc, const float * a, int64_t lda, const float * b, int64_t n, int64_t k, int64_t rows, bool add) {
    int64_t col = 0;
    for (; col + LANES*WIDTH <= n; col += LANES*WIDTH) {
        product_columns<LANES>(c + col, ldc, a, lda, b + col, n, k, rows, add);
    }
    for (; col < n; col += WIDTH) {
        product_columns<1>(c + col, ldc, a, lda, b + col, n, k, rows, add);
    }
}

// Writes rows of f16 as columns of f32: 8 by 8.
void transpose8(float * dst, int64_t ld, const char * src, size_t stride) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; i++) {
        r[i] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (src + i*stride)));
    }
    for (int i = 0; i < 4; i++) {
        t[2*i]     = _mm256_unpacklo_ps(r[2*i], r[2*i + 1]);
        t[2*i + 1] = _mm256_unpackhi_ps(r[2*i], r[2*i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        r[4*i]     = _mm256_shuffle_ps(t[4*i],     t[4*i + 2], 0x44);
        r[4*i + 1] = _mm256_shuffle_ps(t[4*i],     t[4*i + 2], 0xee);
        r[4*i + 2] = _mm256_shuffle_ps(t[4*i + 1], t[4*i + 3], 0x44);
        r[4*i + 3] = _mm256_shuffle_ps(t[4*i + 1], t[4*i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(dst + i*ld,       _mm256_permute2f128_ps(r[i], r[4 + i], 0x20));
        _mm256_storeu_ps(dst + (4 + i)*ld, _mm256_permute2f128_ps(r[i], r[4 + i], 0x31));
    }
}

void pack_keys(float * dst, const char * src, size_t stride, int n, int64_t dk) {
    int cell = 0;
    for (; cell + 8 <= n; cell += 8) {
        for (int64_t i = 0; i < dk; i += 8) {
            transpose8(dst + i*TILE + cell, TILE, src + cell*stride + i*sizeof(ggml_fp16_t), stride);
        }
    }
    for (; cell < TILE; cell++) {
        const ggml_fp16_t * row = (const ggml_fp16_t *) (src + cell*stride);
        for (int64_t i = 0; i < dk; i++) {
            dst[i*TILE + cell] = cell < n ? GGML_CPU_FP16_TO_FP32(row[i]) : 0.0f;
        }
    }
}

// Values of cells that nobody sees become 0: a weight of 0 does not silence what is not finite.
void pack_values(float * dst, const char * src, size_t stride, int n, int64_t dv, const float * seen) {
    for (int cell = 0; cell < n; cell++) {
        if (seen && seen[cell] == -INFINITY) {
            memset(dst + cell*dv, 0, dv*sizeof(float));
            continue;
        }
        const ggml_fp16_t * row = (const ggml_fp16_t *) (src + cell*stride);
        for (int64_t i = 0; i < dv; i += WIDTH) {
            GGML_F32_VEC_STORE(dst + cell*dv + i, widen(row + i));
        }
    }
    memset(dst + n*dv, 0, (TILE - n)*dv*sizeof(float));
}

// The mask of a tile for tokens t0 .. t1 - 1, as f32, and what of it each cell is seen with. False if none is seen.
bool pack_mask(const scratch & w, const ggml_tensor * mask, int64_t t0, int64_t t1, int64_t cell, int n) {
    std::fill(w.seen, w.seen + TILE, -INFINITY);
    for (int64_t t = t0; t < t1; t++) {
        const ggml_fp16_t * row = (const ggml_fp16_t *) ((const char *) mask->data + t*mask->nb[1]) + cell;
        float             * out = w.mask + (t - t0)*TILE;
        for (int i = 0; i < TILE; i += WIDTH) {
            if (i + WIDTH <= n) {
                GGML_F32_VEC_STORE(out + i, widen(row + i));
            } else {
                for (int j = i; j < i + WIDTH; j++) {
                    out[j] = j < n ? GGML_CPU_FP16_TO_FP32(row[j]) : -INFINITY;
                }
            }
            GGML_F32_VEC_STORE(w.seen + i, maximum(GGML_F32_VEC_LOAD(w.seen + i), GGML_F32_VEC_LOAD(out + i)));
        }
    }
    return std::any_of(w.seen, w.seen + TILE, [](float x) { return x > -INFINITY; });
}

// One tile's scores become weights under the row's running maximum; what was summed before shrinks with it.
void weigh(float * score, const float * mask, float * part, int64_t dv) {
    vec top = GGML_F32_VEC_SET1(-INFINITY);
    for (int i = 0; i < TILE; i += WIDTH) {
        vec x = GGML_F32_VEC_LOAD(score + i);
        if (mask) {
            x = masked(x, GGML_F32_VEC_LOAD(mask + i));
            GGML_F32_VEC_STORE(score + i, x);
        }
        top = maximum(top, x);
    }
    const float before = part[0];
    const float best   = highest(top);
    const float now    = best > before ? best : before;
    if (best == -INFINITY && before == -INFINITY) { // nothing of this row is visible yet
        memset(score, 0, TILE*sizeof(float));
        return;
    }
    if (now > before) {
        const float shrink = std::exp(before - now);
        part[1] *= shrink;
        for (int64_t i = 0; i < dv; i += WIDTH) {
            GGML_F32_VEC_STORE(part + HEAD + i, GGML_F32_VEC_MUL(GGML_F32_VEC_LOAD(part + HEAD + i), GGML_F32_VEC_SET1(shrink)));
        }
        part[0] = now;
    }
    vec sum = GGML_F32_VEC_ZERO;
    const vec low = GGML_F32_VEC_SET1(-now);
    for (int i = 0; i < TILE; i += WIDTH) {
        const vec x = ggml_v_expf(GGML_F32_VEC_ADD(GGML_F32_VEC_LOAD(score + i), low));
        GGML_F32_VEC_STORE(score + i, x);
        sum = GGML_F32_VEC_ADD(sum, x);
    }
    part[1] += total(sum);
}

void clear(float * part, int64_t dv) {
    memset(part, 0, (HEAD + dv)*sizeof(float));
    part[0] = -INFINITY;
}

// into = into and more, both sums of softmax.
void join(float * into, const float * more, int64_t dv) {
    if (more[0] == -INFINITY) {
        return;
    }
    const float top = std::max(into[0], more[0]);
    const float a   = into[0] == -INFINITY ? 0.0f : std::exp(into[0] - top);
    const float b   = std::exp(more[0] - top);
    into[0] = top;
    into[1] = into[1]*a + more[1]*b;
    for (int64_t i = HEAD; i < HEAD + dv; i++) {
        into[i] = into[i]*a + more[i]*b;
    }
}

// A block of rows of one key head.
struct block {
    int64_t key_head, first, n; // rows `first`.. of the key head; row = token*its computed heads + one of them
    int64_t heads;              // computed query heads of the key head

    int64_t token(int64_t r) const { return (first + r)/heads; }
    int64_t head(const shape & s, int64_t r) const { return s.heads.computed[key_head*s.group + (first + r)%heads]; }
};

void gather_queries(const ggml_tensor * op, const shape & s, const block & b, float * dst) {
    const ggml_tensor * q = op->src[0];
    float scale;
    memcpy(&scale, op->op_params, sizeof(scale));
    for (int64_t r = 0; r < b.n; r++) {
        const float * row = (const float *) ((const char *) q->data + b.token(r)*q->nb[1] + b.head(s, r)*q->nb[2]);
        for (int64_t i = 0; i < s.dk; i++) {
            dst[r*s.dk + i] = row[i]*scale;
        }
    }
}

// What heads that are re-weighted add to the logits of definitions among cells [cell, cell + n).
void add_bias(float * score, const shape & s, const block & b, int64_t cell, int n) {
    for (int64_t r = 0; r < b.n; r++) {
        const float     bias  = s.heads.bias[b.head(s, r)];
        const int32_t * cells = s.heads.cells(b.token(r));
        for (int32_t i = 0; bias != 0.0f && i < cells[STEERWAY_PLAN_COUNT]; i++) {
            const int64_t at = cells[STEERWAY_PLAN_CELLS + i] - cell;
            if (at >= 0 && at < n) {
                score[r*TILE + at] += bias;
            }
        }
    }
}

// The softmax sums of a block over one segment of cells.
void attend(const ggml_tensor * op, const shape & s, const block & b, int64_t segment, const scratch & w, float * parts) {
    const ggml_tensor * k    = op->src[1];
    const ggml_tensor * v    = op->src[2];
    const ggml_tensor * mask = op->src[3];
    const int64_t t0 = b.token(0);
    const int64_t t1 = b.token(b.n - 1) + 1;
    for (int64_t r = 0; r < b.n; r++) {
        clear(parts + r*s.part(), s.dv);
    }
    const int64_t end = std::min<int64_t>((segment + 1)*SEGMENT, s.cells);
    for (int64_t cell = segment*SEGMENT; cell < end; cell += TILE) {
        const int n = (int) std::min<int64_t>(TILE, end - cell);
        if (mask && !pack_mask(w, mask, t0, t1, cell, n)) {
            continue;
        }
        pack_keys(w.k, (const char *) k->data + cell*k->nb[1] + b.key_head*k->nb[2], k->nb[1], n, s.dk);
        product(w.score, TILE, w.q, s.dk, w.k, TILE, s.dk, b.n, false);
        if (s.heads.biased) {
            add_bias(w.score, s, b, cell, n);
        }
        for (int64_t r = 0; r < b.n; r++) {
            float * score = w.score + r*TILE;
            if (!mask && n < TILE) {
                std::fill(score + n, score + TILE, -INFINITY);
            }
            weigh(score, mask ? w.mask + (b.token(r) - t0)*TILE : nullptr, parts + r*s.part(), s.dv);
        }
        pack_values(w.v, (const char *) v->data + cell*v->nb[1] + b.key_head*v->nb[2], v->nb[1], n, s.dv,
            mask ? w.seen : nullptr);
        product(parts + HEAD, s.part(), w.score, TILE, w.v, s.dv, TILE, b.n, true);
    }
}

void write_row(ggml_tensor * op, const shape & s, const block & b, int64_t r, const float * part) {
    float       * out   = (float *) ((char *) op->data + b.head(s, r)*op->nb[1] + b.token(r)*op->nb[2]);
    const float   inv   = part[1] == 0.0f ? 0.0f : 1.0f/part[1];
    for (int64_t i = 0; i < s.dv; i++) {
        out[i] = part[HEAD + i]*inv;
    }
}

block block_of(const shape & s, int64_t index) {
    int64_t key_head = 0;
    while (index >= s.first_block[key_head + 1]) {
        key_head++;
    }
    const int64_t first = (index - s.first_block[key_head])*ROWS;
    return { key_head, first, std::min<int64_t>(ROWS, s.rows(key_head) - first), s.heads.n_computed[key_head] };
}

void whole_block(ggml_tensor * op, const shape & s, const block & b, const scratch & w) {
    gather_queries(op, s, b, w.q);
    for (int64_t r = 0; r < b.n; r++) {
        clear(w.sum + r*s.part(), s.dv);
    }
    for (int64_t segment = 0; segment < s.segments; segment++) {
        attend(op, s, b, segment, w, w.part);
        for (int64_t r = 0; r < b.n; r++) {
            join(w.sum + r*s.part(), w.part + r*s.part(), s.dv);
        }
    }
    for (int64_t r = 0; r < b.n; r++) {
        write_row(op, s, b, r, w.sum + r*s.part());
    }
}

} // namespace

bool steerway_attention_takes(const ggml_tensor * op) {
    const ggml_tensor * q    = op->src[0];
    const ggml_tensor * k    = op->src[1];
    const ggml_tensor * v    = op->src[2];
    const ggml_tensor * mask = op->src[3];
    float params[3]; // scale, ALiBi, soft cap
    memcpy(params, op->op_params, sizeof(params));
    const bool plain = params[1] == 0.0f && params[2] == 0.0f && !op->src[4] && q->ne[3] == 1 && k->ne[3] == 1 && v->ne[3] == 1;
    const bool types = q->type == GGML_TYPE_F32 && k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16 && op->type == GGML_TYPE_F32;
    const bool rows  = q->nb[0] == sizeof(float) && k->nb[0] == sizeof(ggml_fp16_t) && v->nb[0] == sizeof(ggml_fp16_t) && op->nb[0] == sizeof(float);
    const bool sizes = k->ne[0]%8 == 0 && v->ne[0]%WIDTH == 0 && v->ne[2] == k->ne[2] && q->ne[2]%k->ne[2] == 0;
    const bool masked = !mask || (mask->type == GGML_TYPE_F16 && mask->nb[0] == sizeof(ggml_fp16_t) && mask->ne[2] == 1 && mask->ne[3] == 1);
    const bool pays = op->src[STEERWAY_PLAN_OPERAND] || q->ne[1]*(q->ne[2]/k->ne[2]) >= 2;
    return plain && types && rows && sizes && masked && pays && steerway_heads_fit(op);
}

int steerway_attention_takes_heads(int64_t dk, int64_t dv, int64_t heads) {
    return dk%8 == 0 && dv%WIDTH == 0 && heads <= STEERWAY_MOST_HEADS;
}

size_t steerway_attention_work_size(int n_threads, const ggml_tensor * op) {
    const shape s(op);
    const int64_t parts = s.split(n_threads) ? s.parts_floats() : 0;
    return sizeof(float)*(n_threads*(s.scratch_floats() + 16) + parts + 16);
}

void steerway_attention(const ggml_compute_params * params, ggml_tensor * op) {
    GGML_ASSERT(params->wsize >= steerway_attention_work_size(params->nth, op)); // switched on while a graph was planned?

    const shape   s(op);
    const bool    split  = s.split(params->nth);
    float *       base   = (float *) params->wdata;
    const scratch w      = scratch_at(base + params->ith*(s.scratch_floats() + 16), s);
    float *       parts  = base + params->nth*(s.scratch_floats() + 16); // [block][segment][row][part]
    if (s.heads.plan) {
        steerway_gather_heads(op, s.heads, params->ith, params->nth);
        if (params->ith == 0) {
            steerway_count_heads(op, s.heads);
        }
    }

    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    ggml_barrier(params->threadpool);

    const int64_t items = split ? s.blocks*s.segments : s.blocks;
    for (int64_t item = params->ith; item < items; item = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        const block b = block_of(s, split ? item/s.segments : item);
        if (!split) {
            whole_block(op, s, b, w);
            continue;
        }
        gather_queries(op, s, b, w.q);
        const int64_t at = (b.key_head*s.tokens*s.group + b.first)*s.segments + item%s.segments*b.n;
        attend(op, s, b, item%s.segments, w, parts + at*s.part());
    }
    if (!split) {
        return;
    }

    ggml_barrier(params->threadpool);
    for (int64_t index = params->ith; index < s.blocks; index += params->nth) {
        const block b = block_of(s, index);
        const float * of_block = parts + (b.key_head*s.tokens*s.group + b.first)*s.segments*s.part();
        for (int64_t r = 0; r < b.n; r++) {
            clear(w.sum, s.dv);
            for (int64_t segment = 0; segment < s.segments; segment++) {
                join(w.sum, of_block + (segment*b.n + r)*s.part(), s.dv);
            }
            write_row(op, s, b, r, w.sum);
        }
    }
}

#else

bool   steerway_attention_takes(const ggml_tensor *) { return false; }
int    steerway_attention_takes_heads(int64_t, int64_t, int64_t) { return 0; }
size_t steerway_attention_work_size(int, const ggml_tensor *) { return 0; }
void   steerway_attention(const ggml_compute_params *, ggml_tensor *) {}

#endif
