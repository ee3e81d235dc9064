/* The pool: each part once, many short jobs, idle workers that sleep, destruction at any time. */
#define _GNU_SOURCE     /* getrusage, nanosleep */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "check.h"
#include "edgesparse.h"

enum { PARTS = 1000 };

typedef struct counted {
    atomic_int times[PARTS];
    size_t plain[PARTS];        /* written without atomics: a race with the caller's reading would be one */
} counted;

static void count_part(void *context, size_t index, size_t thread)
{
    (void)thread;
    counted *c = context;
    atomic_fetch_add_explicit(&c->times[index], 1, memory_order_relaxed);
    c->plain[index] = index + 1;
}

static void nap(long microseconds)
{
    nanosleep(&(struct timespec){.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000}, NULL);
}

static void test_once_each(size_t threads)
{
    es_pool *pool;
    if (!CHECK(es_pool_create(threads, &pool) == ES_OK))
        return;
    CHECK(es_pool_threads(pool) == (threads > 1 ? threads : 1));
    static const size_t counts[] = {0, 1, 2, 3, 7, 64, PARTS};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; ++i) {
        counted *c = calloc(1, sizeof *c);
        es_pool_run(pool, count_part, c, counts[i]);
        size_t wrong = 0;
        for (size_t p = 0; p < PARTS; ++p)
            wrong += atomic_load(&c->times[p]) != (p < counts[i]) || c->plain[p] != (p < counts[i] ? p + 1 : 0);
        CHECK(wrong == 0, "%zu threads, %zu parts: %zu not done once", threads, counts[i], wrong);
        free(c);
    }
    es_pool_destroy(pool);
}

static void add_one(void *context, size_t index, size_t thread)
{
    (void)thread;
    ((size_t *)context)[index * 16] += 1;
}

/* Jobs behind one another, with pauses that let workers fall asleep now and then. */
static void test_many_jobs(size_t threads, size_t jobs)
{
    es_pool *pool;
    if (!CHECK(es_pool_create(threads, &pool) == ES_OK))
        return;
    enum { MOST = 8 };
    size_t sums[MOST * 16] = {0}, expected[MOST] = {0};
    for (size_t n = 0; n < jobs; ++n) {
        const size_t parts = n % (MOST + 1);
        es_pool_run(pool, add_one, sums, parts);
        for (size_t p = 0; p < parts; ++p)
            ++expected[p];
        if (n % 97 == 0)
            nap((long)(n % 5) * 100);
    }
    for (size_t p = 0; p < MOST; ++p)
        CHECK(sums[p * 16] == expected[p], "%zu threads, part %zu: %zu times, expected %zu", threads, p, sums[p * 16],
              expected[p]);
    es_pool_destroy(pool);
}

static void sleep_part(void *context, size_t index, size_t thread)
{
    (void)thread;
    (void)context;
    nap(index % 2 ? 300 : 10);
}

static void test_uneven_parts(void)
{
    es_pool *pool;
    if (!CHECK(es_pool_create(3, &pool) == ES_OK))
        return;
    for (int n = 0; n < 20; ++n)
        es_pool_run(pool, sleep_part, NULL, 5);
    es_pool_destroy(pool);
    CHECK(true);
}

static void test_destroy(void)
{
    for (int n = 0; n < 60; ++n) {
        es_pool *pool;
        if (!CHECK(es_pool_create(4, &pool) == ES_OK))
            return;
        size_t sums[64] = {0};
        if (n % 3 > 0)
            es_pool_run(pool, add_one, sums, 4);
        if (n % 2 > 0)
            nap(2000);          /* the workers are asleep by now */
        es_pool_destroy(pool);
        CHECK(sums[0] == (n % 3 > 0));
    }
    es_pool_destroy(NULL);
    CHECK(es_pool_threads(NULL) == 1);
    size_t sum = 0;
    es_pool_run(NULL, add_one, &sum, 1);
    CHECK(sum == 1);
}

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
}

static void test_idle(void)
{
    es_pool *pool;
    if (!CHECK(es_pool_create(4, &pool) == ES_OK))
        return;
    size_t sums[64] = {0};
    es_pool_run(pool, add_one, sums, 4);
    nap(50000);                 /* time to look for a job and fall asleep, on a busy machine too */
    const double before = cpu_seconds();
    nap(400000);
    const double used = cpu_seconds() - before;
    CHECK(used < 0.02, "three idle workers used %.3f s of CPU in 0.4 s", used);
    es_pool_destroy(pool);
}

int main(void)
{
    for (size_t threads = 0; threads <= 5; ++threads)
        test_once_each(threads);
    test_many_jobs(2, 20000);
    test_many_jobs(4, 4000);
    test_uneven_parts();
    test_destroy();
    test_idle();
    return check_report("pool: parts, short jobs, idling, destruction");
}
