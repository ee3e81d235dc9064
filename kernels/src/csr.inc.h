/* The csr micro-kernels: single weights times vectors of pixels. Defined by the including file: CSR_NAME, CSR_V, CSR_VW,
 * CSR_VECTORS(F) with F(vectors). */

#define V_(op) ES_JOIN(ES_JOIN(CSR_V, _), op)
#define N_(suffix) ES_JOIN(CSR_NAME, suffix)

ES_INLINE void N_(_body)(const es_csr_panel *panel, const float *x, float *sums, const bool accumulate,
                         const int vectors)
{
    const size_t width = (size_t)vectors * CSR_VW;
    const uint16_t *index = panel->indices;
    const float *value = panel->values;
    /* Narrow tiles have few sums: every other value gets its own. */
    const int sets = vectors <= 2 ? 2 : 1;
    for (size_t pair = 0; pair < panel->pairs; ++pair) {
        float *y0 = sums + panel->pair_rows[2 * pair] * width;
        float *y1 = sums + panel->pair_rows[2 * pair + 1] * width;
        V_(t) sum0[2][ES_MAX_VECTORS], sum1[2][ES_MAX_VECTORS];
        ES_UNROLL for (int v = 0; v < vectors; ++v) {
            sum0[0][v] = accumulate ? V_(load)(y0 + v * CSR_VW) : V_(zero)();
            sum1[0][v] = accumulate ? V_(load)(y1 + v * CSR_VW) : V_(zero)();
            sum0[1][v] = V_(zero)();
            sum1[1][v] = V_(zero)();
        }
        size_t j = panel->pair_length[pair];
        /* Loads are what this loop runs out of: four indices and four weights come in one each. */
        for (; j >= 2; j -= 2, index += 4, value += 4) {
            uint64_t four;
            memcpy(&four, index, sizeof four);
            V_(x_t) w[4];
            V_(broadcast_four)(value, w);
            ES_UNROLL for (int u = 0; u < 2; ++u) {
                const float *x0 = x + (four >> 32 * u & 0xffff) * width;
                const float *x1 = x + (four >> (32 * u + 16) & 0xffff) * width;
                const int set = u % sets;
                /* One row after the other: neighbouring halves of a cache line load in the same cycle, the same halves
                 * of two lines do not. */
                ES_UNROLL for (int v = 0; v < vectors; ++v)
                    sum0[set][v] = V_(fma_x)(sum0[set][v], V_(load)(x0 + v * CSR_VW), w[2 * u]);
                ES_UNROLL for (int v = 0; v < vectors; ++v)
                    sum1[set][v] = V_(fma_x)(sum1[set][v], V_(load)(x1 + v * CSR_VW), w[2 * u + 1]);
            }
        }
        if (j > 0) {
            const float *x0 = x + index[0] * width, *x1 = x + index[1] * width;
            const V_(x_t) w0 = V_(broadcast)(value), w1 = V_(broadcast)(value + 1);
            ES_UNROLL for (int v = 0; v < vectors; ++v) {
                sum0[0][v] = V_(fma_x)(sum0[0][v], V_(load)(x0 + v * CSR_VW), w0);
                sum1[0][v] = V_(fma_x)(sum1[0][v], V_(load)(x1 + v * CSR_VW), w1);
            }
            index += 2;
            value += 2;
        }
        ES_UNROLL for (int v = 0; v < vectors; ++v) {
            V_(store)(y0 + v * CSR_VW, sets == 2 ? V_(add)(sum0[0][v], sum0[1][v]) : sum0[0][v]);
            V_(store)(y1 + v * CSR_VW, sets == 2 ? V_(add)(sum1[0][v], sum1[1][v]) : sum1[0][v]);
        }
    }
}

#define CSR_DEFINE(vectors)                                                                                           \
    static void ES_JOIN(N_(_), vectors)(const es_csr_panel *panel, const float *x, float *sums, bool accumulate)       \
    {                                                                                                                 \
        if (accumulate)                                                                                               \
            N_(_body)(panel, x, sums, true, vectors);                                                                 \
        else                                                                                                          \
            N_(_body)(panel, x, sums, false, vectors);                                                                \
    }
CSR_VECTORS(CSR_DEFINE)
#undef CSR_DEFINE

/* Tiles of CSR_VW x CSR_VW are turned in registers; the channels behind the last whole one are copied singly. */
static void N_(_transpose_in)(const float *const *pixel, size_t width, size_t channels, float *panel)
{
    const size_t whole = channels - channels % CSR_VW;
    for (size_t p = 0; p < width; p += CSR_VW) {
        for (size_t c = 0; c < whole; c += CSR_VW) {
            V_(t) tile[CSR_VW];
            V_(gather_turned)(pixel + p, c, tile);
            ES_UNROLL for (int i = 0; i < CSR_VW; ++i)
                V_(store)(panel + (c + (size_t)i) * width + p, tile[i]);
        }
        for (size_t c = whole; c < channels; ++c)
            for (size_t i = p; i < p + CSR_VW; ++i)
                panel[c * width + i] = pixel[i][c];
    }
}

static void N_(_transpose_out)(const float *sums, size_t width, size_t pixels, size_t rows, const float *bias,
                               float low, float high, float *y)
{
    const V_(t) vlow = V_(set1)(low), vhigh = V_(set1)(high);
    const size_t whole = rows - rows % CSR_VW;
    for (size_t p = 0; p < pixels; p += CSR_VW) {
        const size_t n = pixels - p < CSR_VW ? pixels - p : CSR_VW;
        for (size_t r = 0; r < whole; r += CSR_VW) {
            V_(t) tile[CSR_VW];
            V_(load_turned)(sums + r * width + p, width, tile);
            const V_(t) b = V_(load)(bias + r);
            ES_UNROLL for (int i = 0; i < CSR_VW; ++i)
                tile[i] = V_(min)(vhigh, V_(max)(vlow, V_(add)(tile[i], b)));
            float *to = y + p * rows + r;
            if (n == CSR_VW)
                ES_UNROLL for (int i = 0; i < CSR_VW; ++i)
                    V_(store)(to + (size_t)i * rows, tile[i]);
            else
                ES_UNROLL for (int i = 0; i < CSR_VW; ++i)
                    if ((size_t)i < n)
                        V_(store)(to + (size_t)i * rows, tile[i]);
        }
        for (size_t i = p; i < p + n; ++i)
            for (size_t r = whole; r < rows; ++r) {
                float value = sums[r * width + i] + bias[r];
                value = value < low ? low : value;
                y[i * rows + r] = value > high ? high : value;
            }
    }
}

#undef V_
#undef N_
#undef CSR_NAME
#undef CSR_V
#undef CSR_VW
#undef CSR_VECTORS
