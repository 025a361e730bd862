/* Strings by small integer code, in order of first appearance: the counterpart of tracekit.trace.StringTable. */
#ifndef TRACEKIT_STRINGS_H
#define TRACEKIT_STRINGS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t hash;
    size_t at; /* in `bytes` */
    uint32_t length;
} tk_string;

typedef struct {
    char *bytes;
    size_t used, room;
    tk_string *strings;
    int32_t count, capacity;
    int32_t *slots; /* code + 1, 0: empty; a power of two of them */
    uint32_t mask;
    int32_t last;   /* the code found last: the next one is often the same */
    int32_t told;   /* how many of them the caller knows */
} tk_strings;

int tk_strings_open(tk_strings *table);
void tk_strings_close(tk_strings *table);
int32_t tk_strings_code(tk_strings *table, const char *text, size_t length);

#endif
