/* The int8 bsr micro-kernels of one instruction set and block height: a stored block is R output channels x 4 inputs, and
 * one dot product adds four products to each sum. The including file defines
 *   S8_NAME   prefix of the names             S8_V    vector prefix
 *   S8_NV     vectors per block               S8_VW   sums per vector
 *   S8_MS(F)  F(S, M) for each tile
 * and gets the table S8_NAME. The vector prefix names
 *   V_input_t    what the input is converted to      V_weights_t, V_load_weights   VW outputs x 4 inputs
 *   V_quad_t, V_quad(x, offset)   four inputs in every lane     V_dot(sum, weights, quad)
 *   V_sum_t, V_load_sum, V_zero_sum, V_add_sum       V_scale_t, V_load_scale   V_store(y, sums, NV, scales, output): NV x VW bytes */

#define V_(op) ES_JOIN(ES_JOIN(S8_V, _), op)
#define N_(suffix) ES_JOIN(S8_NAME, suffix)
#define S8_R (S8_NV * S8_VW)
#define S8_BLOCK (S8_R * ES_QUAD)

/* As in bsr.inc.h: with few sums, blocks take turns at several sets of them. */
#define S8_SETS(S, M) ((S) * (M) * S8_NV <= 2 ? 4 : (S) * (M) * S8_NV <= 4 ? 2 : 1)

/* The last block row, if the output channels do not fill it, and all of them where sums are not scaled in float. */
static __attribute__((noinline)) void N_(_store_part)(const es_tile *t, V_(sum_t) (*sums)[S8_NV], int S, int M, size_t row)
{
    if (t->factors != NULL) {
        es_store_fixed(t, (const int32_t *)(const void *)sums, S, M, S8_R, row);
        return;
    }
    int8_t whole[ES_MAX_S * ES_MAX_M * S8_R];
    V_(scale_t) scales[S8_NV];
    for (int v = 0; v < S8_NV; ++v)
        scales[v] = V_(load_scale)(t->scale + row * S8_R + (size_t)v * S8_VW);
    for (int p = 0; p < S * M; ++p)
        V_(store)(whole + p * S8_R, sums[p], S8_NV, scales, t->output);
    es_store_part(t, sizeof *whole, whole, S, M, S8_R, row);
}

ES_INLINE void N_(_body)(const es_tile *t, const int S, const int M)
{
    const int sets = S8_SETS(S, M);
    const uint32_t *offsets = t->offsets;
    const ptrdiff_t x_pixel = t->x_pixel, x_segment = t->x_segment, y_pixel = t->y_pixel, y_segment = t->y_segment;
    const V_(input_t) *x0 = t->x;
    const int8_t *weights = t->weights;
    const int32_t *bias = t->bias;
    const float *scale = t->scale;
    const uint32_t *row_start = t->row_start;
    int8_t *y0 = t->y;
    const size_t rows = t->rows, last = t->last;
    const es_s8_output output = t->output;
    const bool fixed = t->factors != NULL;

    for (size_t row = t->first; row < last; ++row) {
        V_(sum_t) sum[4][ES_MAX_S][ES_MAX_M][S8_NV];
        ES_UNROLL for (int s = 0; s < S; ++s)
            ES_UNROLL for (int m = 0; m < M; ++m)
                ES_UNROLL for (int v = 0; v < S8_NV; ++v) {
                    sum[0][s][m][v] = V_(load_sum)(bias + row * S8_R + (size_t)v * S8_VW);
                    ES_UNROLL for (int u = 1; u < sets; ++u)
                        sum[u][s][m][v] = V_(zero_sum)();
                }

        size_t block = row_start[row];
        const size_t end = row_start[row + 1];
        const int8_t *w = weights + block * S8_BLOCK;
        for (; block + (size_t)sets <= end; block += (size_t)sets) {
            ES_UNROLL for (int u = 0; u < sets; ++u) {
                const size_t offset = offsets[block + (size_t)u];
                V_(weights_t) weight[S8_NV];
                ES_UNROLL for (int v = 0; v < S8_NV; ++v)
                    weight[v] = V_(load_weights)(w + v * S8_VW * ES_QUAD);
                w += S8_BLOCK;
                const V_(input_t) *p = x0 + offset;
                ES_UNROLL for (int s = 0; s < S; ++s, p += x_segment)
                    ES_UNROLL for (int m = 0; m < M; ++m) {
                        const V_(quad_t) x = V_(quad)(p, m * x_pixel);
                        ES_UNROLL for (int v = 0; v < S8_NV; ++v)
                            sum[u][s][m][v] = V_(dot)(sum[u][s][m][v], weight[v], x);
                    }
            }
        }
        if (sets > 1)
            for (; block < end; ++block) {
                const size_t offset = offsets[block];
                ES_UNROLL for (int v = 0; v < S8_NV; ++v) {
                    const V_(weights_t) weight = V_(load_weights)(w + v * S8_VW * ES_QUAD);
                    ES_UNROLL for (int s = 0; s < S; ++s)
                        ES_UNROLL for (int m = 0; m < M; ++m)
                            sum[0][s][m][v] = V_(dot)(sum[0][s][m][v], weight,
                                                      V_(quad)(x0 + offset, s * x_segment + m * x_pixel));
                }
                w += S8_BLOCK;
            }

        ES_UNROLL for (int s = 0; s < S; ++s)
            ES_UNROLL for (int m = 0; m < M; ++m)
                ES_UNROLL for (int v = 0; v < S8_NV; ++v)
                    ES_UNROLL for (int u = 1; u < sets; ++u)
                        sum[0][s][m][v] = V_(add_sum)(sum[0][s][m][v], sum[u][s][m][v]);
        const size_t left = rows - row * S8_R;
        if (left >= S8_R && !fixed) {
            V_(scale_t) scales[S8_NV];
            ES_UNROLL for (int v = 0; v < S8_NV; ++v)
                scales[v] = V_(load_scale)(scale + row * S8_R + (size_t)v * S8_VW);
            ES_UNROLL for (int s = 0; s < S; ++s)
                ES_UNROLL for (int m = 0; m < M; ++m)
                    V_(store)(y0 + s * y_segment + m * y_pixel + row * S8_R, sum[0][s][m], S8_NV, scales, output);
        } else {
            V_(sum_t) spilled[ES_MAX_S * ES_MAX_M][S8_NV];
            ES_UNROLL for (int s = 0; s < S; ++s)
                ES_UNROLL for (int m = 0; m < M; ++m)
                    ES_UNROLL for (int v = 0; v < S8_NV; ++v)
                        spilled[s * M + m][v] = sum[0][s][m][v];
            N_(_store_part)(t, spilled, S, M, row);
        }
    }
}

#define S8_KERNEL(S, M) \
    static void ES_JOIN(N_(_), S##x##M)(const es_tile *t) { N_(_body)(t, S, M); }
S8_MS(S8_KERNEL)
#undef S8_KERNEL

#define S8_ENTRY(S, M) .of[S - 1][M - 1] = ES_JOIN(N_(_), S##x##M),
static const es_tile_kernels S8_NAME = {S8_MS(S8_ENTRY)};
#undef S8_ENTRY

#undef V_
#undef N_
#undef S8_R
#undef S8_BLOCK
#undef S8_SETS
#undef S8_NAME
#undef S8_V
#undef S8_NV
#undef S8_VW
#undef S8_MS
