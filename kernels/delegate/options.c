#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const claim_names[] = {"auto", "all", "none"};

enum { MOST_THREADS = 256 };

const char *es_claim_name(es_claim claim)
{
    return claim_names[claim];
}

static bool read_claim(const char *value, es_options *options, char sentence[ES_SENTENCE])
{
    for (size_t i = 0; i < sizeof claim_names / sizeof *claim_names; ++i)
        if (strcmp(value, claim_names[i]) == 0) {
            options->claim = (es_claim)i;
            return true;
        }
    snprintf(sentence, ES_SENTENCE, "Delegate option claim is '%.40s': expected auto, all or none.", value);
    return false;
}

static bool read_rounding(const char *value, es_options *options, char sentence[ES_SENTENCE])
{
    static const char *const names[] = {"auto", "float", "fixed"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        if (strcmp(value, names[i]) == 0) {
            options->rounding = (es_rounding)i;
            return true;
        }
    snprintf(sentence, ES_SENTENCE, "Delegate option rounding is '%.40s': expected auto, float or fixed.", value);
    return false;
}

static bool read_threads(const char *value, es_options *options, char sentence[ES_SENTENCE])
{
    char *end;
    errno = 0;
    const long threads = strtol(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || threads < 1 || threads > MOST_THREADS) {
        snprintf(sentence, ES_SENTENCE, "Delegate option threads is '%.40s': expected a number from 1 to %d.", value,
                 (int)MOST_THREADS);
        return false;
    }
    options->threads = (int)threads;
    return true;
}

static bool read_isa(const char *value, const char *source, es_options *options, char sentence[ES_SENTENCE])
{
    const es_status status = es_isa_select(value, &options->isa);
    if (status == ES_OK) {
        options->isa_forced = value != NULL && *value != '\0';
        return true;
    }
    size_t count;
    const es_isa *const *all = es_isa_list(&count);
    int used = snprintf(sentence, ES_SENTENCE, "%s is '%.40s': %s. This CPU can run:", source, value,
                        es_status_message(status));
    for (size_t i = 0; i < count && used > 0 && used < ES_SENTENCE; ++i)
        if (es_isa_usable(all[i]))
            used += snprintf(sentence + used, (size_t)(ES_SENTENCE - used), " %s", es_isa_name(all[i]));
    return false;
}

static bool copy_text(const char *name, const char *value, char **copy, char sentence[ES_SENTENCE])
{
    if (*value == '\0') {
        snprintf(sentence, ES_SENTENCE, "Delegate option %s is empty.", name);
        return false;
    }
    const size_t bytes = strlen(value) + 1;
    free(*copy);
    *copy = malloc(bytes);
    if (*copy == NULL) {
        snprintf(sentence, ES_SENTENCE, "Delegate option %s: memory is exhausted.", name);
        return false;
    }
    memcpy(*copy, value, bytes);
    return true;
}

static bool read_plan(const char *value, es_options *options, char sentence[ES_SENTENCE])
{
    const char *target;
    for (size_t i = 0; (target = es_cost_target(i)) != NULL; ++i)
        if (strcmp(value, target) == 0)
            return copy_text("plan", value, &options->plan, sentence);
    int used = snprintf(sentence, ES_SENTENCE, "Delegate option plan is '%.40s': expected one of", value);
    for (size_t i = 0; (target = es_cost_target(i)) != NULL && used > 0 && used < ES_SENTENCE; ++i)
        used += snprintf(sentence + used, (size_t)(ES_SENTENCE - used), " %s", target);
    return false;
}

bool es_options_read(const char *const *keys, const char *const *values, size_t count, es_options *options,
                     char sentence[ES_SENTENCE])
{
    *options = (es_options){.claim = ES_CLAIM_AUTO};
    bool isa_given = false, ok = true;
    for (size_t i = 0; i < count && ok; ++i) {
        const char *key = keys[i], *value = values[i];
        if (strcmp(key, "claim") == 0) {
            ok = read_claim(value, options, sentence);
        } else if (strcmp(key, "isa") == 0) {
            ok = read_isa(value, "Delegate option isa", options, sentence);
            isa_given = true;
        } else if (strcmp(key, "threads") == 0) {
            ok = read_threads(value, options, sentence);
        } else if (strcmp(key, "rounding") == 0) {
            ok = read_rounding(value, options, sentence);
        } else if (strcmp(key, "report") == 0) {
            ok = copy_text("report", value, &options->report, sentence);
        } else if (strcmp(key, "plan") == 0) {
            ok = read_plan(value, options, sentence);
        } else {
            snprintf(sentence, ES_SENTENCE,
                     "Delegate option '%.40s' does not exist: there are claim, isa, threads, rounding, report and plan.", key);
            ok = false;
        }
    }
    if (ok && !isa_given)
        ok = read_isa(getenv("EDGESPARSE_ISA"), "EDGESPARSE_ISA", options, sentence);
    if (!ok)
        es_options_free(options);
    return ok;
}

void es_options_free(es_options *options)
{
    free(options->report);
    free(options->plan);
    options->report = options->plan = NULL;
}
