/* What stands in a call as strace shows it: numbers, descriptors with their files, strings, flags, arguments. The counterpart
   of tracekit.formats.strace_words. */
#ifndef TRACEKIT_STRACE_WORDS_H
#define TRACEKIT_STRACE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TK_MOST ((int64_t)1 << 62) /* no offset, size or time is larger */
#define TK_UNKNOWN INT64_MIN       /* a number that is larger, or none */

/* Bytes of somebody else's. */
typedef struct {
    const char *begin, *end;
} tk_span;

/* Bytes that grow. All zero is an empty one. */
typedef struct {
    char *bytes;
    size_t length, room;
} tk_text;

/* A descriptor: its number or AT_FDCWD, and the name that -y shows; `begin` is NULL where there is none. */
typedef struct {
    tk_span number, shown;
} tk_fd;

enum { TK_DIRECT = 1, TK_APPEND = 2, TK_CREATE = 4, TK_TRUNCATE = 8, TK_SYNC = 16 };

static inline size_t tk_length(tk_span span)
{
    return (size_t)(span.end - span.begin);
}

static inline bool tk_digit(char byte)
{
    return (unsigned char)(byte - '0') <= 9;
}

static inline bool tk_blank(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static inline bool tk_wordy(char byte)
{
    return tk_digit(byte) || byte == '_' || (unsigned char)((byte | 0x20) - 'a') < 26;
}

static inline bool tk_is(tk_span span, const char *text)
{
    size_t length = strlen(text);
    return tk_length(span) == length && memcmp(span.begin, text, length) == 0;
}

static inline bool tk_starts(tk_span span, const char *text)
{
    size_t length = strlen(text);
    return tk_length(span) >= length && memcmp(span.begin, text, length) == 0;
}

bool tk_has(tk_span span, const char *text);

bool tk_text_add(tk_text *text, const char *bytes, size_t length);
void tk_text_close(tk_text *text);

/* These give false for what has more digits than any number, TK_UNKNOWN for what is beyond TK_MOST or is no number. */
bool tk_number_of(tk_span digits, int64_t *value);
bool tk_integer_of(tk_span text, int64_t *value);

bool tk_fd_at(tk_span args, tk_fd *found);
bool tk_fd_number(const tk_fd *fd, int64_t *value);
tk_span tk_shown_at(tk_span text);
tk_span tk_string_in(tk_span args);
int tk_fields(tk_span args, tk_span *fields, int most);
bool tk_from_right(tk_span args, int place, tk_span *field);

/* These give false when there is no memory. */
bool tk_unescape(tk_span text, tk_text *plain);
bool tk_path_named(tk_span args, tk_text *path, tk_text *spare);
bool tk_flags_in(tk_span args, tk_text *spare, int *flags);

#endif
