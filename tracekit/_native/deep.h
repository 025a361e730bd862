/* Many direct reads under way at once. */
#ifndef TRACEKIT_DEEP_H
#define TRACEKIT_DEEP_H

#include <stdbool.h>

#include "fetch.h"

bool tk_fetch_deep(const char *names, tk_range *ranges, int64_t count, int depth);

#endif
