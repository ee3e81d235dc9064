/* What was claimed with which kernel, and what was left and why: one JSON document. */
#ifndef ES_REPORT_H
#define ES_REPORT_H

#include "choose.h"

/* Written aside and renamed. False: `sentence` says why not. */
bool es_report_write(const es_options *options, const es_choices *choices, int threads, char *sentence,
                     size_t length);

#endif
