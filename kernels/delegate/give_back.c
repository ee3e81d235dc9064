/* Keeps what is read of a mapped file out of memory while a runtime makes its own of it: for who checks large models.
 *
 * Python's lock is held all the time that a runtime packs weights, so none of its threads could do this. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "options.h"

/* Sets *begun, and goes on until *ended: their memory, and the mapping, outlive the call. */
ES_EXPORT void edgesparse_give_back(void *start, size_t bytes, long pause_ns, atomic_int *begun, const atomic_int *ended)
{
    const struct timespec pause = {0, pause_ns};
    atomic_store(begun, 1);
    while (!atomic_load(ended)) {
        madvise(start, bytes, MADV_DONTNEED);
        nanosleep(&pause, NULL);
    }
}
