/* A fuzz target's input, read as numbers: small ones in a byte, others behind a mark, so that a mutation of one byte is a
 * small change of the structure. Behind the end all is zero. */
#ifndef FUZZ_BYTES_H
#define FUZZ_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct bytes {
    const uint8_t *data;
    size_t left;
} bytes;

/* First bytes from MARK_INT32 on stand for more than themselves. */
enum { MARK_INT32 = 0xf0, MARK_SPECIAL };

static const int32_t special_numbers[] = {-1,       INT32_MAX, INT32_MIN, 255,     256,    4096,  65535,
                                          65536,    1 << 24,   1 << 30,   -65536,  -2,     46341, 1000};

static inline uint8_t take_byte(bytes *b)
{
    if (b->left == 0)
        return 0;
    --b->left;
    return *b->data++;
}

static inline size_t take_below(bytes *b, size_t bound)
{
    return take_byte(b) % bound;
}

static inline int32_t take_number(bytes *b)
{
    const uint8_t first = take_byte(b);
    if (first < MARK_INT32)
        return first;
    if (first > MARK_INT32)
        return special_numbers[(first - MARK_SPECIAL) % (sizeof special_numbers / sizeof *special_numbers)];
    uint8_t four[4];
    for (int i = 0; i < 4; ++i)
        four[i] = take_byte(b);
    int32_t number;
    memcpy(&number, four, sizeof number);
    return number;
}

/* Up to `most` numbers; returns how many. */
static inline size_t take_numbers(bytes *b, int32_t *numbers, size_t most)
{
    const size_t count = take_below(b, most + 1);
    for (size_t i = 0; i < count; ++i)
        numbers[i] = take_number(b);
    return count;
}

#endif
