/* The bsr micro-kernels of one instruction set and block height. The including file defines
 *   BSR_NAME   prefix of the names            BSR_V    vector prefix (v4, v8, v16)
 *   BSR_NV     vectors per block              BSR_VW   floats per vector
 *   BSR_MS(F)  F(S, M) for each tile   BSR_WIDE_MS(F) the same for 32-bit offsets, which few shapes need
 * and gets BSR_NAME##_narrow and BSR_NAME##_wide, lists of table entries. */

#define V_(op) ES_JOIN(ES_JOIN(BSR_V, _), op)
#define N_(suffix) ES_JOIN(BSR_NAME, suffix)
#define BSR_R (BSR_NV * BSR_VW)

/* One FMA needs about four cycles and two start per cycle: with fewer than eight sums, blocks take turns at several
 * sets of them. */
#define BSR_SETS(S, M) ((S) * (M) * BSR_NV <= 2 ? 4 : (S) * (M) * BSR_NV <= 4 ? 2 : 1)

ES_INLINE void N_(_body)(const es_tile *t, const int S, const int M, const bool wide)
{
    const int sets = BSR_SETS(S, M);
    const uint16_t *narrow_offsets = (const uint16_t *)t->offsets;
    const uint32_t *wide_offsets = (const uint32_t *)t->offsets;
    /* Copies: a vector's store may alias anything, so what is read through `t` would be read again after each. */
    const ptrdiff_t x_pixel = t->x_pixel, x_segment = t->x_segment, y_pixel = t->y_pixel, y_segment = t->y_segment;
    const float *x0 = t->x, *bias = t->bias, *weights = t->weights;
    const uint32_t *row_start = t->row_start;
    float *y0 = t->y;
    const size_t rows = t->rows, last = t->last;
    const V_(t) low = V_(set1)(t->low), high = V_(set1)(t->high);
    const bool clamped = t->low > -INFINITY || t->high < INFINITY;

    for (size_t row = t->first; row < last; ++row) {
        V_(t) sum[4][ES_MAX_S][ES_MAX_M][BSR_NV];
        ES_UNROLL for (int s = 0; s < S; ++s)
            ES_UNROLL for (int m = 0; m < M; ++m)
                ES_UNROLL for (int v = 0; v < BSR_NV; ++v) {
                    sum[0][s][m][v] = V_(load)(bias + row * BSR_R + (size_t)v * BSR_VW);
                    ES_UNROLL for (int u = 1; u < sets; ++u)
                        sum[u][s][m][v] = V_(zero)();
                }

        size_t block = row_start[row];
        const size_t end = row_start[row + 1];
        const float *w = weights + block * BSR_R;
        for (; block + (size_t)sets <= end; block += (size_t)sets) {
            ES_UNROLL for (int u = 0; u < sets; ++u) {
                const size_t offset = wide ? wide_offsets[block + (size_t)u] : narrow_offsets[block + (size_t)u];
                V_(t) weight[BSR_NV];
                ES_UNROLL for (int v = 0; v < BSR_NV; ++v)
                    weight[v] = V_(load)(w + v * BSR_VW);
                w += BSR_R;
                const float *p = x0 + offset;
                ES_UNROLL for (int s = 0; s < S; ++s, p += x_segment)
                    ES_UNROLL for (int m = 0; m < M; ++m) {
                        const V_(x_t) x = V_(broadcast)(p + m * x_pixel);
                        ES_UNROLL for (int v = 0; v < BSR_NV; ++v)
                            sum[u][s][m][v] = V_(fma_x)(sum[u][s][m][v], weight[v], x);
                    }
            }
        }
        if (sets > 1)
            for (; block < end; ++block) {
                const size_t offset = wide ? wide_offsets[block] : narrow_offsets[block];
                ES_UNROLL for (int v = 0; v < BSR_NV; ++v) {
                    const V_(t) weight = V_(load)(w + v * BSR_VW);
                    ES_UNROLL for (int s = 0; s < S; ++s)
                        ES_UNROLL for (int m = 0; m < M; ++m)
                            sum[0][s][m][v] = V_(fma_x)(
                                sum[0][s][m][v], weight,
                                V_(broadcast)(x0 + offset + s * x_segment + m * x_pixel));
                }
                w += BSR_R;
            }

        ES_UNROLL for (int s = 0; s < S; ++s)
            ES_UNROLL for (int m = 0; m < M; ++m)
                ES_UNROLL for (int v = 0; v < BSR_NV; ++v)
                    ES_UNROLL for (int u = 1; u < sets; ++u)
                        sum[0][s][m][v] = V_(add)(sum[0][s][m][v], sum[u][s][m][v]);
        if (clamped)
            ES_UNROLL for (int s = 0; s < S; ++s)
                ES_UNROLL for (int m = 0; m < M; ++m)
                    ES_UNROLL for (int v = 0; v < BSR_NV; ++v)
                        sum[0][s][m][v] = V_(min)(high, V_(max)(low, sum[0][s][m][v]));
        const size_t left = rows - row * BSR_R;
        if (left >= BSR_R) {
            ES_UNROLL for (int s = 0; s < S; ++s)
                ES_UNROLL for (int m = 0; m < M; ++m)
                    ES_UNROLL for (int v = 0; v < BSR_NV; ++v)
                        V_(store)(y0 + s * y_segment + m * y_pixel + row * BSR_R + (size_t)v * BSR_VW, sum[0][s][m][v]);
        } else {
            float whole[ES_MAX_S * ES_MAX_M * BSR_R];
            ES_UNROLL for (int s = 0; s < S; ++s)
                ES_UNROLL for (int m = 0; m < M; ++m)
                    ES_UNROLL for (int v = 0; v < BSR_NV; ++v)
                        V_(store)(whole + (s * M + m) * BSR_R + v * BSR_VW, sum[0][s][m][v]);
            es_store_part(t, sizeof *whole, whole, S, M, BSR_R, row);
        }
    }
}

#define BSR_NARROW(S, M) \
    static void ES_JOIN(N_(_narrow_), S##x##M)(const es_tile *t) { N_(_body)(t, S, M, false); }
#define BSR_WIDE(S, M) \
    static void ES_JOIN(N_(_wide_), S##x##M)(const es_tile *t) { N_(_body)(t, S, M, true); }
BSR_MS(BSR_NARROW)
BSR_WIDE_MS(BSR_WIDE)
#undef BSR_NARROW
#undef BSR_WIDE

#define BSR_NARROW(S, M) .of[S - 1][M - 1] = ES_JOIN(N_(_narrow_), S##x##M),
static const es_tile_kernels N_(_narrow) = {BSR_MS(BSR_NARROW)};
#undef BSR_NARROW
#define BSR_WIDE(S, M) .of[S - 1][M - 1] = ES_JOIN(N_(_wide_), S##x##M),
static const es_tile_kernels N_(_wide) = {BSR_WIDE_MS(BSR_WIDE)};
#undef BSR_WIDE

#undef V_
#undef N_
#undef BSR_R
#undef BSR_SETS
#undef BSR_NAME
#undef BSR_V
#undef BSR_NV
#undef BSR_VW
#undef BSR_MS
#undef BSR_WIDE_MS
