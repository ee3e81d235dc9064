/* The nm micro-kernels: R output channels in a vector, each with two non-zeros in every group of four inputs. A group's
 * four inputs are broadcast to all 128-bit lanes; a permutation within the lanes picks, per output channel, the input
 * that its weight belongs to: two permutations and two FMAs for what takes a dense kernel four FMAs. Defined by the
 * including file: NM_NAME, NM_V, NM_VW, NM_MS(F). */

#define V_(op) ES_JOIN(ES_JOIN(NM_V, _), op)
#define N_(suffix) ES_JOIN(NM_NAME, suffix)
#define NM_SETS(S, M) ((S) * (M) <= 1 ? 2 : 1)

ES_INLINE void N_(_body)(const es_tile *t, const int S, const int M)
{
    const int sets = NM_SETS(S, M);
    const ptrdiff_t x_pixel = t->x_pixel, x_segment = t->x_segment, y_pixel = t->y_pixel, y_segment = t->y_segment;
    const size_t rows = t->rows, last = t->last, taps = t->taps, groups_per_tap = t->groups_per_tap;
    float *const y_first = t->y;
    const float *const x_first = t->x, *const bias = t->bias, *const weights = t->weights;
    const V_(t) low = V_(set1)(t->low), high = V_(set1)(t->high);
    const size_t groups = taps * groups_per_tap;

    for (size_t row = t->first; row < last; ++row) {
        V_(t) sum[2][ES_MAX_S][ES_MAX_M];
        ES_UNROLL for (int s = 0; s < S; ++s)
            ES_UNROLL for (int m = 0; m < M; ++m) {
                sum[0][s][m] = V_(load)(bias + row * NM_VW);
                sum[1][s][m] = V_(zero)();
            }
        const float *w = weights + row * groups * 2 * NM_VW;
        const uint8_t *positions = t->positions + row * groups * (NM_VW / 2);
        for (size_t tap = 0; tap < taps; ++tap) {
            const float *x = x_first + t->tap_offsets[tap];
            for (size_t g = 0; g < groups_per_tap; ++g) {
                V_(positions_t) first, second;
                V_(positions)(positions, &first, &second);
                const V_(t) w0 = V_(load)(w), w1 = V_(load)(w + NM_VW);
                ES_UNROLL for (int s = 0; s < S; ++s)
                    ES_UNROLL for (int m = 0; m < M; ++m) {
                        const V_(t) four = V_(broadcast4)(x + s * x_segment + m * x_pixel);
                        sum[0][s][m] = V_(fma)(sum[0][s][m], w0, V_(pick)(four, first));
                        sum[sets - 1][s][m] = V_(fma)(sum[sets - 1][s][m], w1, V_(pick)(four, second));
                    }
                x += 4;
                w += 2 * NM_VW;
                positions += NM_VW / 2;
            }
        }

        ES_UNROLL for (int s = 0; s < S; ++s)
            ES_UNROLL for (int m = 0; m < M; ++m) {
                if (sets > 1)
                    sum[0][s][m] = V_(add)(sum[0][s][m], sum[1][s][m]);
                sum[0][s][m] = V_(min)(high, V_(max)(low, sum[0][s][m]));
            }
        const size_t left = rows - row * NM_VW;
        float *y = y_first + row * NM_VW;
        if (left >= NM_VW) {
            ES_UNROLL for (int s = 0; s < S; ++s)
                ES_UNROLL for (int m = 0; m < M; ++m)
                    V_(store)(y + s * y_segment + m * y_pixel, sum[0][s][m]);
        } else {
            float whole[ES_MAX_S * ES_MAX_M * NM_VW];
            ES_UNROLL for (int s = 0; s < S; ++s)
                ES_UNROLL for (int m = 0; m < M; ++m)
                    V_(store)(whole + (s * M + m) * NM_VW, sum[0][s][m]);
            es_store_part(t, sizeof *whole, whole, S, M, NM_VW, row);
        }
    }
}

#define NM_DEFINE(S, M) static void ES_JOIN(N_(_), S##x##M)(const es_tile *t) { N_(_body)(t, S, M); }
NM_MS(NM_DEFINE)
#undef NM_DEFINE
#define NM_ENTRY(S, M) .of[S - 1][M - 1] = ES_JOIN(N_(_), S##x##M),
static const es_tile_kernels N_(_table) = {NM_MS(NM_ENTRY)};
#undef NM_ENTRY

#undef V_
#undef N_
#undef NM_SETS
#undef NM_NAME
#undef NM_V
#undef NM_VW
#undef NM_MS
