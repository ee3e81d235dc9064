/* What a user may ask of the delegate. */
#ifndef ES_OPTIONS_H
#define ES_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "edgesparse.h"

#define ES_EXPORT __attribute__((visibility("default")))

typedef enum es_claim { ES_CLAIM_AUTO, ES_CLAIM_ALL, ES_CLAIM_NONE } es_claim;

/* How sums of int8 products become int8: as the runtime found in the process does it, as XNNPACK, as TFLite's own kernels. */
typedef enum es_rounding { ES_ROUNDING_AUTO, ES_ROUNDING_FLOAT, ES_ROUNDING_FIXED } es_rounding;

typedef struct es_options {
    es_claim claim;
    es_rounding rounding;
    const es_isa *isa;
    bool isa_forced;
    int threads;                /* 0: the interpreter's */
    char *report;               /* path or NULL */
    char *plan;                 /* decide for this target and claim nothing, or NULL */
} es_options;

enum { ES_SENTENCE = 512 };

/* False: `sentence` says which option is wrong and what there is. */
bool es_options_read(const char *const *keys, const char *const *values, size_t count, es_options *options,
                     char sentence[ES_SENTENCE]);
void es_options_free(es_options *options);
const char *es_claim_name(es_claim claim);

#endif
