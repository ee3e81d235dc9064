/* Bytes -> sparsity metadata, shape and values -> es_expand. */
#include "sparsity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_VALUES = 1 << 16 };

static size_t product(const int32_t *shape, size_t rank)
{
    size_t count = 1;
    for (size_t d = 0; d < rank; ++d)
        if (shape[d] <= 0 || (count *= (size_t)shape[d]) > MOST_VALUES)
            return 0;
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bytes b = {data, size};
    const es_type type = take_below(&b, 2) != 0 ? ES_FLOAT16 : ES_FLOAT32;
    const bool dense = take_below(&b, 16) == 15;
    const int32_t lie = take_number(&b);        /* about the number of values */
    int32_t shape[ES_MAX_RANK + 1];
    const size_t rank = take_numbers(&b, shape, ES_MAX_RANK + 1);
    fuzz_sparsity s;
    take_sparsity(&b, &s);

    /* What is left are the values: as many as there are, and memory for exactly the expanded tensor. */
    const size_t element = type == ES_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
    const size_t value_count = lie == 0 ? b.left / element : b.left / element + (size_t)lie % 3 - 1;
    if (value_count > MOST_VALUES) {
        free_sparsity(&s);
        return 0;
    }
    uint8_t *values = malloc(value_count * element + 1);
    const size_t expanded_count = product(shape, rank);
    float *expanded = malloc(expanded_count * sizeof *expanded + 1);
    if (values == NULL || expanded == NULL)
        abort();
    memset(values, 1, value_count * element);
    memcpy(values + 1, b.data, b.left < value_count * element ? b.left : value_count * element);
    /* At an odd address, as in a file. */
    const es_status status = es_expand(dense ? NULL : &s.sparsity, shape, rank, type, values + 1, value_count, expanded,
                                       expanded_count);
    if (status == ES_OK) {
        /* All of it is written, and only from what was stored. */
        size_t nonzeros = 0;
        for (size_t i = 0; i < expanded_count; ++i)
            nonzeros += expanded[i] != 0.0f;
        if (nonzeros > value_count)
            abort();
    }
    if (strlen(es_status_message(status)) == 0)
        abort();
    free(values), free(expanded), free_sparsity(&s);
    return 0;
}
