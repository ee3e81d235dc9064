/* How the runtime around the delegate rounds int8. */
#ifndef ES_ROUNDING_H
#define ES_ROUNDING_H

#include <stdbool.h>

/* The tflite-runtime package is in this process: up to its last version it leaves int8 to TFLite's own kernels, which scale
 * sums in whole numbers. All later runtimes give it to XNNPACK. */
bool es_runtime_rounds_fixed(void);

#endif
