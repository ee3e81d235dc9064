/* Checks that count themselves. A program ends with `return check_report("what it ran")`. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* CHECK(condition) or CHECK(condition, "format", ...): what was tried, for the message. */
#define CHECK(...) CHECK_PICK(__VA_ARGS__, CHECK_SAID, CHECK_SAID, CHECK_SAID, CHECK_SAID, CHECK_SAID, CHECK_SAID,    \
                              CHECK_SAID, CHECK_SAID, CHECK_SAID, CHECK_SAID, CHECK_BARE, )(__VA_ARGS__)
#define CHECK_PICK(a, b, c, d, e, f, g, h, i, j, k, chosen, ...) chosen
#define CHECK_BARE(condition) check(condition, __FILE__, __LINE__, #condition, "%s", "")
#define CHECK_SAID(condition, ...) check(condition, __FILE__, __LINE__, #condition, __VA_ARGS__)

/* Counts; prints the first few that fail. Returns `condition`. */
bool check(bool condition, const char *file, int line, const char *text, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Several threads must not check at a time. Returns the program's exit code. */
int check_report(const char *what);

#endif
