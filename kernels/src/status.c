#include "edgesparse.h"

const char *es_status_message(es_status status)
{
    static const char *const messages[ES_STATUS_COUNT] = {
        [ES_OK] = "no error",
        [ES_OUT_OF_MEMORY] = "memory is exhausted",
        [ES_UNKNOWN_ISA] = "no instruction set of this name is built in",
        [ES_UNUSABLE_ISA] = "this CPU lacks the instruction set",
        [ES_BAD_SHAPE] = "a dimension of the tensor is zero, negative or does not fit the others",
        [ES_TOO_LARGE] = "the tensor is larger than the memory can address",
        [ES_BAD_RANK] = "a sparse tensor has 1 to 8 dimensions, blocks included, and its metadata describes another number",
        [ES_BAD_TRAVERSAL] = "the traversal order is not a permutation with the block dimensions last",
        [ES_BAD_BLOCK_MAP] = "the block map does not name increasing dimensions that their blocks divide",
        [ES_BAD_DIMENSION] = "a dense dimension of the sparsity metadata does not fit the tensor's shape",
        [ES_BAD_SEGMENTS] = "the segments of a compressed dimension do not start at 0, decrease, or miss the indices' end",
        [ES_BAD_INDICES] = "an index of a compressed dimension lies outside of it, or the indices do not increase",
        [ES_BAD_VALUE_COUNT] = "the number of stored values is not the one that the sparsity metadata describes",
        [ES_NO_KERNEL] = "the instruction set has no kernel for this format",
        [ES_BAD_QUANTIZATION] = "a scale is not a positive number, a zero point is beyond int8, or a weight is -128",
        [ES_THREADS] = "a thread could not be started",
    };
    if ((unsigned)status >= ES_STATUS_COUNT)
        return "unknown status";
    return messages[status];
}
