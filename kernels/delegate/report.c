#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_text(FILE *file, const char *text)
{
    if (text == NULL) {
        fputs("null", file);
        return;
    }
    fputc('"', file);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; ++c) {
        if (*c == '"' || *c == '\\')
            fprintf(file, "\\%c", *c);
        else if (*c < 0x20 || *c >= 0x7f)       /* a name may hold any bytes: as Latin-1, so that the JSON is valid */
            fprintf(file, "\\u%04x", *c);
        else
            fputc(*c, file);
    }
    fputc('"', file);
}

static void write_choice(FILE *file, const es_choice *c)
{
    fprintf(file, "{\"node\": %d, \"op\": \"%s\", \"output\": ", c->node, c->name);
    write_text(file, c->output);
    fprintf(file, ", \"claimed\": %s, \"neighbour\": %s, \"kernel\": ", c->claimed ? "true" : "false",
            c->neighbour ? "true" : "false");
    write_text(file, c->kernel[0] != '\0' ? c->kernel : NULL);
    if (c->decision.format != ES_FORMAT_NONE)
        fprintf(file, ", \"format\": \"%s\", \"density\": %.6f, \"sparse_us\": %.3f, \"dense_us\": %.3f",
                es_format_name(c->decision.format), c->density, c->decision.sparse_us, c->decision.dense_us);
    else
        fputs(", \"format\": null, \"density\": null, \"sparse_us\": null, \"dense_us\": null", file);
    fputs(", \"reason\": ", file);
    write_text(file, c->reason);
    fputc('}', file);
}

static void write_document(FILE *file, const es_options *options, const es_choices *choices, int threads)
{
    fprintf(file, "{\"format\": 1, \"version\": \"%s\", \"isa\": \"%s\", \"isa_forced\": %s, \"claim\": \"%s\", "
                  "\"threads\": %d, \"plan_for\": ",
            ES_VERSION, es_isa_name(options->isa), options->isa_forced ? "true" : "false",
            es_claim_name(options->claim), threads);
    write_text(file, options->plan);
    fprintf(file, ", \"packing_ms\": %.3f, \"packed_bytes\": %zu, \"nodes\": [", choices->packing_ms,
            choices->packed_bytes);
    const char *separator = "\n  ";
    for (size_t i = 0; i < choices->count; ++i) {
        if (choices->all[i].neighbour && !choices->all[i].claimed)
            continue;
        fputs(separator, file);
        write_choice(file, &choices->all[i]);
        separator = ",\n  ";
    }
    fputs("\n]}\n", file);
}

bool es_report_write(const es_options *options, const es_choices *choices, int threads, char *sentence,
                     size_t length)
{
    static const char suffix[] = ".part";
    const size_t path_length = strlen(options->report);
    char *aside = malloc(path_length + sizeof suffix);
    if (aside == NULL) {
        snprintf(sentence, length, "%s", es_status_message(ES_OUT_OF_MEMORY));
        return false;
    }
    memcpy(aside, options->report, path_length);
    memcpy(aside + path_length, suffix, sizeof suffix);
    FILE *file = fopen(aside, "w");
    bool written = file != NULL;
    if (written) {
        write_document(file, options, choices, threads);
        written = ferror(file) == 0;
        written = fclose(file) == 0 && written;
        written = written && rename(aside, options->report) == 0;
        if (!written)
            remove(aside);
    }
    if (!written)
        snprintf(sentence, length, "the report cannot be written to %.300s: %s", options->report, strerror(errno));
    free(aside);
    return written;
}
