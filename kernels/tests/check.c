#include "check.h"

#include <stdarg.h>
#include <stdio.h>

enum { SHOWN = 20 };

static size_t checks, failures;

bool check(bool condition, const char *file, int line, const char *text, const char *format, ...)
{
    ++checks;
    if (condition)
        return true;
    if (++failures <= SHOWN) {
        va_list arguments;
        va_start(arguments, format);
        fprintf(stderr, "%s:%d: %s is false. ", file, line, text);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
    return false;
}

int check_report(const char *what)
{
    printf("%-72s %10zu checks%s\n", what, checks, failures == 0 ? "" : ", FAILED");
    fflush(stdout);
    if (failures > 0)
        fprintf(stderr, "%zu of %zu checks failed\n", failures, checks);
    return failures > 0 || checks == 0;
}
