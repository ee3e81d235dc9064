/* The depthwise micro-kernels. Defined by the including file: DW_NAME, DW_V, DW_VW, and DW_REST, the name of those of
 * shorter vectors for the channels left over; vectors of four leave none. */

#define V_(op) ES_JOIN(ES_JOIN(DW_V, _), op)
#define N_(suffix) ES_JOIN(DW_NAME, suffix)
#ifdef DW_REST
#define REST_(suffix, ...) ES_JOIN(DW_REST, suffix)(__VA_ARGS__)
#else
#define REST_(suffix, ...) (void)0
#endif

/* Any number of taps; returns the first channel that is left. */
ES_INLINE size_t N_(_taps_of)(const es_depthwise_tile *t, size_t c, const int vectors)
{
    const V_(t) low = V_(set1)(t->low), high = V_(set1)(t->high);
    const size_t channels = t->channels, width = (size_t)vectors * DW_VW;
    for (; c + width <= channels; c += width)
        for (size_t p = 0; p < t->pixels; ++p) {
            V_(t) sum[4];
            ES_UNROLL for (int v = 0; v < vectors; ++v)
                sum[v] = V_(load)(t->bias + c + v * DW_VW);
            for (size_t row = 0; row < t->rows; ++row) {
                const float *x = t->x + (ptrdiff_t)p * t->x_step + (ptrdiff_t)row * t->x_row + c;
                const float *w = t->weights + row * t->w_row + c;
                for (size_t column = 0; column < t->columns; ++column, x += channels, w += t->w_tap)
                    ES_UNROLL for (int v = 0; v < vectors; ++v)
                        sum[v] = V_(fma)(sum[v], V_(load)(x + v * DW_VW), V_(load)(w + v * DW_VW));
            }
            ES_UNROLL for (int v = 0; v < vectors; ++v)
                V_(store)(t->y + p * channels + c + v * DW_VW, V_(min)(high, V_(max)(low, sum[v])));
        }
    return c;
}

static void N_(_taps)(const es_depthwise_tile *t, size_t c)
{
    c = N_(_taps_of)(t, c, 4);
    c = N_(_taps_of)(t, c, 1);
    REST_(_taps, t, c);
}

/* 3x3 taps, two rows of pixels at once and two pixels of each: weights are loaded once for at least four outputs, and an
 * input once for all of the four that see it. Of few channels a block of pixels stays in the L1 cache and is passed over
 * channel by channel; of many its pixels would push each other out, being a power of two apart. */
ES_INLINE size_t N_(_3x3_of)(const es_depthwise_tile *t, const size_t first, const int stride)
{
    enum { FEW_CHANNELS = 32, BLOCK = 16 };
    const V_(t) low = V_(set1)(t->low), high = V_(set1)(t->high);
    const size_t channels = t->channels, last = channels - (channels - first) % DW_VW;
    const size_t block = channels <= FEW_CHANNELS ? BLOCK : 2;
    const ptrdiff_t x_row = t->x_row, y_row = (ptrdiff_t)t->y_row;
    for (size_t from = 0; from < t->pixels; from += block) {
        const size_t to = t->pixels - from < block ? t->pixels : from + block;
        for (size_t c = first; c < last; c += DW_VW) {
            V_(t) w[9];
            ES_UNROLL for (int i = 0; i < 9; ++i)
                w[i] = V_(load)(t->weights + (size_t)i * t->w_tap + c);
            const V_(t) bias = V_(load)(t->bias + c);
            for (size_t p = from; p < to; p += 2) {
                const size_t at = p + 2 <= t->pixels ? p : p - 1;       /* the last pair overlaps the one before */
                const float *x0 = t->x + (ptrdiff_t)at * t->x_step + c;
                float *y0 = t->y + at * channels + c;
                V_(t) sum[2][2] = {{bias, bias}, {bias, bias}};
                ES_UNROLL for (int row = 0; row < stride + 3; ++row)
                    ES_UNROLL for (int column = 0; column < stride + 3; ++column) {
                        const V_(t) x = V_(load)(x0 + row * x_row + (ptrdiff_t)((size_t)column * channels));
                        ES_UNROLL for (int i = 0; i < 4; ++i) {
                            const int tap_row = row - i / 2 * stride, tap_column = column - i % 2 * stride;
                            if (tap_row >= 0 && tap_row < 3 && tap_column >= 0 && tap_column < 3)
                                sum[i / 2][i % 2] = V_(fma)(sum[i / 2][i % 2], x, w[tap_row * 3 + tap_column]);
                        }
                    }
                ES_UNROLL for (int i = 0; i < 4; ++i)
                    V_(store)(y0 + i / 2 * y_row + (ptrdiff_t)((size_t)(i % 2) * channels),
                              V_(min)(high, V_(max)(low, sum[i / 2][i % 2])));
            }
        }
    }
    return last;
}

static void N_(_3x3)(const es_depthwise_tile *t, size_t c)
{
    c = N_(_3x3_of)(t, c, 1);
    REST_(_3x3, t, c);
}

static void N_(_3x3s2)(const es_depthwise_tile *t, size_t c)
{
    c = N_(_3x3_of)(t, c, 2);
    REST_(_3x3s2, t, c);
}

#undef V_
#undef N_
#undef REST_
#undef DW_NAME
#undef DW_V
#undef DW_VW
#undef DW_REST
