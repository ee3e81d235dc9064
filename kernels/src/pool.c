/* A pool of threads for one model: one job at a time. Each thread starts on a range of parts of its own, the same share of
 * every job, so that what it wrote in one operator it finds in its caches in the next; when it is through it helps the
 * others. A job is over when all its parts are: a worker that has not come by until then is not waited for, and takes
 * parts of whatever job it finds. A worker that finds no new job looks for one for a tenth of a millisecond, longer than
 * what lies between two operators or two inferences in a row, and then sleeps on a condition: waking it takes as long as a
 * small operator. */
#define _POSIX_C_SOURCE 199309L     /* clock_gettime */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "edgesparse.h"

enum { WAIT_NS = 100 * 1000, LOOKS = 64 };    /* the clock is read once in so many looks */
enum { CACHE_LINE = 64 };

/* The parts [next, end) that nobody has taken, in one word: next in its lower half. Who takes a part has thereby seen what
 * the job's giver wrote before it filled the range, and keeps the job from being over until the part is done. */
typedef struct range {
    _Alignas(CACHE_LINE) atomic_uint_fast64_t parts;
} range;

typedef struct worker {
    es_pool *pool;
    pthread_t thread;
    size_t number;              /* the caller's own is 0 */
} worker;

struct es_pool {
    size_t threads;             /* the caller's included */
    size_t started;
    worker *workers;
    range *ranges;              /* one per thread */
    pthread_mutex_t lock;
    pthread_cond_t job_given, job_done;
    atomic_uint_fast64_t job;   /* counts jobs; a change is a new one */
    atomic_uint_fast64_t left;  /* parts of the job that are not done */
    atomic_bool stop;
    es_task task;
    void *context;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

/* Looks at `value` until it is not `old` or the time is up; returns what it is. */
static uint_fast64_t wait_while(const atomic_uint_fast64_t *value, uint_fast64_t old)
{
    struct timespec begin = {0}, now;
    for (int looks = 0;; ++looks) {
        const uint_fast64_t found = atomic_load_explicit(value, memory_order_acquire);
        if (found != old)
            return found;
        relax();
        if (looks % LOOKS != 0)
            continue;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (looks == 0)
            begin = now;
        else if ((now.tv_sec - begin.tv_sec) * 1000000000LL + now.tv_nsec - begin.tv_nsec > WAIT_NS)
            return old;
    }
}

static bool take(range *r, size_t *part)
{
    uint_fast64_t parts = atomic_load_explicit(&r->parts, memory_order_acquire);
    while ((parts & UINT32_MAX) < parts >> 32)
        if (atomic_compare_exchange_weak_explicit(&r->parts, &parts, parts + 1, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            *part = (size_t)(parts & UINT32_MAX);
            return true;
        }
    return false;
}

/* Returns true if this thread did the job's last part. */
static bool take_parts(es_pool *pool, size_t number)
{
    bool last = false;
    for (size_t i = 0; i < pool->threads; ++i) {
        size_t part;
        while (take(&pool->ranges[(number + i) % pool->threads], &part)) {
            pool->task(pool->context, part, number);
            last = atomic_fetch_sub_explicit(&pool->left, 1, memory_order_acq_rel) == 1;
        }
    }
    return last;
}

/* Returns the number of the next job after `seen`. */
static uint_fast64_t wait_for_job(es_pool *pool, uint_fast64_t seen)
{
    uint_fast64_t job = wait_while(&pool->job, seen);
    if (job != seen)
        return job;
    pthread_mutex_lock(&pool->lock);
    while ((job = atomic_load_explicit(&pool->job, memory_order_acquire)) == seen)
        pthread_cond_wait(&pool->job_given, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *work(void *argument)
{
    const worker *self = argument;
    es_pool *pool = self->pool;
    uint_fast64_t seen = 0;
    for (;;) {
        seen = wait_for_job(pool, seen);
        if (atomic_load_explicit(&pool->stop, memory_order_acquire))
            return NULL;
        if (take_parts(pool, self->number)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->job_done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void give_job(es_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add_explicit(&pool->job, 1, memory_order_release);
    pthread_cond_broadcast(&pool->job_given);
    pthread_mutex_unlock(&pool->lock);
}

es_status es_pool_create(size_t threads, es_pool **result)
{
    *result = NULL;
    es_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return ES_OUT_OF_MEMORY;
    pool->threads = threads > 1 ? threads : 1;
    pool->workers = calloc(pool->threads, sizeof *pool->workers);
    pool->ranges = aligned_alloc(CACHE_LINE, pool->threads * sizeof *pool->ranges);
    if (pool->workers == NULL || pool->ranges == NULL) {
        free(pool->workers);
        free(pool->ranges);
        free(pool);
        return ES_OUT_OF_MEMORY;
    }
    for (size_t t = 0; t < pool->threads; ++t)
        atomic_init(&pool->ranges[t].parts, 0);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->job_given, NULL);
    pthread_cond_init(&pool->job_done, NULL);
    for (; pool->started + 1 < pool->threads; ++pool->started) {
        worker *w = &pool->workers[pool->started];
        *w = (worker){.pool = pool, .number = pool->started + 1};
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            es_pool_destroy(pool);
            return ES_THREADS;
        }
    }
    *result = pool;
    return ES_OK;
}

void es_pool_destroy(es_pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store_explicit(&pool->stop, true, memory_order_release);
    give_job(pool);
    for (size_t i = 0; i < pool->started; ++i)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->job_done);
    pthread_cond_destroy(&pool->job_given);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool->ranges);
    free(pool);
}

size_t es_pool_threads(const es_pool *pool)
{
    return pool == NULL ? 1 : pool->threads;
}

void es_pool_run(es_pool *pool, es_task task, void *context, size_t count)
{
    if (pool == NULL || pool->threads == 1 || count <= 1 || count > UINT32_MAX) {
        for (size_t i = 0; i < count; ++i)
            task(context, i, 0);
        return;
    }
    pool->task = task;
    pool->context = context;
    atomic_store_explicit(&pool->left, count, memory_order_relaxed);
    for (size_t t = 0; t < pool->threads; ++t) {
        const uint_fast64_t from = count * (uint_fast64_t)t / pool->threads;
        const uint_fast64_t to = count * ((uint_fast64_t)t + 1) / pool->threads;
        atomic_store_explicit(&pool->ranges[t].parts, to << 32 | from, memory_order_release);
    }
    give_job(pool);
    take_parts(pool, 0);
    /* The others are in their last parts. */
    for (uint_fast64_t left; (left = atomic_load_explicit(&pool->left, memory_order_acquire)) != 0;)
        if (wait_while(&pool->left, left) == left)
            break;
    if (atomic_load_explicit(&pool->left, memory_order_acquire) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    while (atomic_load_explicit(&pool->left, memory_order_acquire) != 0)
        pthread_cond_wait(&pool->job_done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
