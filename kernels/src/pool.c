/* A pool of threads for one model: one job at a time, its parts handed out by a counter. A worker that finds no new job
 * looks for one for some tens of microseconds, the time between two operators, and then sleeps on a condition. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "edgesparse.h"

enum { SPINS = 2000 };

struct es_pool {
    size_t threads;             /* the caller's included */
    size_t started;
    pthread_t *workers;
    pthread_mutex_t lock;
    pthread_cond_t job_given, job_done;
    atomic_uint_fast64_t job;   /* counts jobs; a change is a new one */
    atomic_size_t next;         /* part of the job to be taken */
    atomic_size_t busy;         /* workers that have not finished the job */
    atomic_bool stop;
    void (*task)(void *, size_t);
    void *context;
    size_t count;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

static void take_parts(es_pool *pool)
{
    size_t index;
    while ((index = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < pool->count)
        pool->task(pool->context, index);
}

/* Returns the number of the next job after `seen`. */
static uint_fast64_t wait_for_job(es_pool *pool, uint_fast64_t seen)
{
    for (int i = 0; i < SPINS; ++i) {
        const uint_fast64_t job = atomic_load_explicit(&pool->job, memory_order_acquire);
        if (job != seen)
            return job;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    uint_fast64_t job;
    while ((job = atomic_load_explicit(&pool->job, memory_order_acquire)) == seen)
        pthread_cond_wait(&pool->job_given, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *work(void *argument)
{
    es_pool *pool = argument;
    uint_fast64_t seen = 0;
    for (;;) {
        seen = wait_for_job(pool, seen);
        if (atomic_load_explicit(&pool->stop, memory_order_acquire))
            return NULL;
        take_parts(pool);
        if (atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_acq_rel) == 1) {
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
    if (pool->workers == NULL) {
        free(pool);
        return ES_OUT_OF_MEMORY;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->job_given, NULL);
    pthread_cond_init(&pool->job_done, NULL);
    for (; pool->started + 1 < pool->threads; ++pool->started)
        if (pthread_create(&pool->workers[pool->started], NULL, work, pool) != 0) {
            es_pool_destroy(pool);
            return ES_THREADS;
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
        pthread_join(pool->workers[i], NULL);
    pthread_cond_destroy(&pool->job_done);
    pthread_cond_destroy(&pool->job_given);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

size_t es_pool_threads(const es_pool *pool)
{
    return pool == NULL ? 1 : pool->threads;
}

void es_pool_run(es_pool *pool, void (*task)(void *, size_t), void *context, size_t count)
{
    if (pool == NULL || pool->threads == 1 || count <= 1) {
        for (size_t i = 0; i < count; ++i)
            task(context, i);
        return;
    }
    pool->task = task;
    pool->context = context;
    pool->count = count;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->busy, pool->started, memory_order_relaxed);
    give_job(pool);
    take_parts(pool);
    for (int i = 0; i < SPINS; ++i) {
        if (atomic_load_explicit(&pool->busy, memory_order_acquire) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load_explicit(&pool->busy, memory_order_acquire) != 0)
        pthread_cond_wait(&pool->job_done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
