/* The int8 depthwise 3x3 micro-kernels for groups of channels. Each column of three inputs is interleaved once and used by
 * every output that sees it. Defined by the including file:
 *   DW_NAME  DW_V    prefixes of the name, of the vectors      DW_G   channels of a group
 *   DW_QUADS DW_T    vectors of sums, outputs of a tile
 *   V_input_t        what the picture holds
 *   V_column_t, V_column(x, x_row)    three inputs below each other, interleaved
 *   V_sums_t, V_load_sums(bias)    V_scales_t, V_load_scales(scale)    V_add_column(sums, weights, kx, column)
 *   V_store_sums(y, sums, scales, output)   DW_G bytes */

#define V_(op) ES_JOIN(ES_JOIN(DW_V, _), op)
#define N_(suffix) ES_JOIN(DW_NAME, suffix)

/* Tiles of `tile` outputs; the last one overlaps the one before it. */
ES_INLINE void N_(_body)(const es_depthwise_s8_row *t, const int tile, const int stride)
{
    const ptrdiff_t x_row = t->x_row, x_pixel = t->x_pixel, y_pixel = t->y_pixel;
    const ptrdiff_t last = (ptrdiff_t)t->pixels - tile;
    const size_t groups = t->groups;
    const es_s8_output output = t->output;
    for (size_t group = 0; group < groups; ++group) {
        const V_(input_t) *const x_first = (const V_(input_t) *)t->x + group * DW_G;
        int8_t *const y_first = t->y + group * DW_G;
        const V_(input_t) *const weights = (const V_(input_t) *)t->weights + group * DW_G * ES_DW_SIDE * ES_QUAD;
        const int32_t *const bias = t->bias + group * DW_G;
        const float *const scale = t->scale + group * DW_G;
        for (ptrdiff_t first = 0;; first = first + tile < last ? first + tile : last) {
            const V_(input_t) *x = x_first + first * stride * x_pixel;
            V_(sums_t) sums[DW_T];
            ES_UNROLL for (int p = 0; p < tile; ++p)
                sums[p] = V_(load_sums)(bias);
            ES_UNROLL for (int column = 0; column < (tile - 1) * stride + ES_DW_SIDE; ++column) {
                const V_(column_t) taps = V_(column)(x + column * x_pixel, x_row);
                ES_UNROLL for (int p = 0; p < tile; ++p)
                    if (column >= p * stride && column < p * stride + ES_DW_SIDE)
                        sums[p] = V_(add_column)(sums[p], weights, column - p * stride, taps);
            }
            const V_(scales_t) scales = V_(load_scales)(scale);
            ES_UNROLL for (int p = 0; p < tile; ++p)
                V_(store_sums)(y_first + (first + p) * y_pixel, sums[p], scales, output);
            if (first >= last)
                break;
        }
    }
}

static void N_(_wide)(const es_depthwise_s8_row *t) { N_(_body)(t, DW_T, 1); }
static void N_(_wide_s2)(const es_depthwise_s8_row *t) { N_(_body)(t, DW_T, 2); }
static void N_(_narrow)(const es_depthwise_s8_row *t) { N_(_body)(t, 1, t->stride); }

static const es_depthwise_s8_kernels DW_NAME = {
    .channels = DW_G,
    .quads = DW_QUADS,
    .least = DW_T,
    .wide = {N_(_wide), N_(_wide_s2)},
    .narrow = N_(_narrow),
};

#undef V_
#undef N_
#undef DW_NAME
#undef DW_V
#undef DW_G
#undef DW_QUADS
#undef DW_T
