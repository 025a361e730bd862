#define _GNU_SOURCE
#include "strace_words.h"

#include <stdlib.h>

enum { MOST_DIGITS = 30 };

bool tk_has(tk_span span, const char *text)
{
    return memmem(span.begin, tk_length(span), text, strlen(text)) != NULL;
}

bool tk_text_add(tk_text *text, const char *bytes, size_t length)
{
    if (text->length + length + 1 > text->room) {
        size_t room = (text->length + length + 1) * 2;
        char *more = realloc(text->bytes, room);
        if (more == NULL)
            return false;
        text->bytes = more;
        text->room = room;
    }
    if (length)
        memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    return true;
}

void tk_text_close(tk_text *text)
{
    free(text->bytes);
    *text = (tk_text){0};
}

/* -- numbers ----------------------------------------------------------------------------------------------------------- */

static int digit_of(char byte, int base)
{
    int digit = tk_digit(byte) ? byte - '0' : (byte | 0x20) >= 'a' && (byte | 0x20) <= 'f' ? (byte | 0x20) - 'a' + 10 : 99;
    return digit < base ? digit : -1;
}

/* All of a text in some base; -1 for what is no such number, TK_UNKNOWN for one that is too large. */
static int64_t digits_of(const char *at, const char *end, int base)
{
    int64_t value = 0;
    bool beyond = false;
    if (at == end)
        return -1;
    for (; at < end; at++) {
        int digit = digit_of(*at, base);
        if (digit < 0)
            return -1;
        beyond |= value > (TK_MOST - digit) / base;
        value = beyond ? 0 : value * base + digit;
    }
    return beyond ? TK_UNKNOWN : value;
}

/* Digits, perhaps behind a minus. */
bool tk_number_of(tk_span digits, int64_t *value)
{
    if (tk_length(digits) > MOST_DIGITS)
        return false;
    bool below = digits.begin < digits.end && *digits.begin == '-';
    *value = digits_of(digits.begin + below, digits.end, 10);
    if (below && *value != TK_UNKNOWN)
        *value = -*value;
    return true;
}

/* A number in C's notation, between blanks. */
bool tk_integer_of(tk_span text, int64_t *value)
{
    while (text.begin < text.end && tk_blank(*text.begin))
        text.begin++;
    while (text.begin < text.end && tk_blank(text.end[-1]))
        text.end--;
    bool below = text.begin < text.end && *text.begin == '-';
    const char *at = text.begin + below;
    bool hex = text.end - at > 2 && at[0] == '0' && at[1] == 'x';
    bool octal = text.end - at > 1 && at[0] == '0' && !hex;
    *value = octal ? -1 : digits_of(at + 2 * hex, text.end, hex ? 16 : 10);
    bool none = *value == -1;
    if (none)
        *value = TK_UNKNOWN;
    else if (below && *value != TK_UNKNOWN)
        *value = -*value;
    return none || tk_length(text) <= MOST_DIGITS;
}

/* -- descriptors and strings ------------------------------------------------------------------------------------------- */

/* The end of a name within brackets: at the first `<` or `>` that is not escaped, or at the end. */
static const char *name_end(const char *at, const char *end)
{
    while (at < end && *at != '<' && *at != '>') {
        if (*at == '\\' && end - at < 2)
            return end;
        at += 1 + (*at == '\\');
    }
    return at;
}

static tk_span shown_by(const char *at, const char *end)
{
    const char *close = memchr(at, '>', (size_t)(end - at));
    if (close == NULL)
        return (tk_span){NULL, NULL};
    size_t length = (size_t)(close - at);
    if (!memchr(at, '\\', length) && !memchr(at, '<', length))
        return (tk_span){at, close};
    close = name_end(at, end);
    if (close < end && *close == '>')
        return (tk_span){at, close};
    /* The device's numbers behind a name, as -yy shows them: `<char 1:9>`. */
    const char *more = close < end ? memchr(close, '>', (size_t)(end - close)) : NULL;
    return more && more + 1 < end && more[1] == '>' ? (tk_span){at, close} : (tk_span){NULL, NULL};
}

/* The descriptor that a text begins with; false where it begins with none. */
bool tk_fd_at(tk_span args, tk_fd *found)
{
    const char *at = args.begin + (args.begin < args.end && *args.begin == '-');
    while (at < args.end && tk_digit(*at))
        at++;
    if (at == args.begin || !tk_digit(at[-1])) {
        if (!tk_starts(args, "AT_FDCWD"))
            return false;
        at = args.begin + strlen("AT_FDCWD");
    }
    found->number = (tk_span){args.begin, at};
    found->shown = at < args.end && *at == '<' ? shown_by(at + 1, args.end) : (tk_span){NULL, NULL};
    return true;
}

/* Its number; -1 for AT_FDCWD. */
bool tk_fd_number(const tk_fd *fd, int64_t *value)
{
    *value = -1;
    if (*fd->number.begin == 'A')
        return true;
    bool good = tk_number_of(fd->number, value);
    if (*value == TK_UNKNOWN)
        *value = -1;
    return good;
}

/* The absolute name that a text begins with in brackets, as behind the result of an open; `begin` is NULL for none. */
tk_span tk_shown_at(tk_span text)
{
    if (!tk_starts(text, "</"))
        return (tk_span){NULL, NULL};
    const char *end = name_end(text.begin + 1, text.end);
    /* Half an escape at the end is none of the name. */
    if (end == text.end && text.end[-1] == '\\') {
        const char *last = text.end;
        while (last[-1] == '\\')
            last--;
        end -= (text.end - last) & 1;
    }
    return (tk_span){text.begin + 1, end};
}

/* Behind the quote that closes a string, whose first byte is at `at`; NULL where none does. */
static const char *closed(const char *at, const char *end)
{
    for (; at < end; at++) {
        if (*at == '"')
            return at + 1;
        at += *at == '\\';
    }
    return NULL;
}

/* What is in the first string of some arguments, as it stands there; `begin` is NULL where there is none. */
tk_span tk_string_in(tk_span args)
{
    const char *open = memchr(args.begin, '"', tk_length(args));
    const char *close = open ? closed(open + 1, args.end) : NULL;
    return close ? (tk_span){open + 1, close - 1} : (tk_span){NULL, NULL};
}

static char plain_of(char code)
{
    static const char CODES[] = "ntrvfabe", BYTES[] = "\n\t\r\v\f\a\b\x1b";
    const char *at = code ? strchr(CODES, code) : NULL;
    return at ? BYTES[at - CODES] : code;
}

/* The byte that an escape stands for; `at` is behind the backslash, and is moved behind the escape. */
static char escaped(const char **at, const char *end)
{
    const char *code = *at;
    int value = 0, digits = 0;
    while (digits < 3 && code + digits < end && digit_of(code[digits], 8) >= 0)
        value = value * 8 + digit_of(code[digits++], 8);
    if (digits) {
        *at += digits;
        return (char)(value & 0xFF);
    }
    bool hex = *code == 'x' && end - code > 2 && digit_of(code[1], 16) >= 0 && digit_of(code[2], 16) >= 0;
    hex = hex && !(code[1] >= 'A' && code[1] <= 'F') && !(code[2] >= 'A' && code[2] <= 'F');
    *at += hex ? 3 : 1;
    return hex ? (char)(digit_of(code[1], 16) * 16 + digit_of(code[2], 16)) : plain_of(*code);
}

/* Put a string that strace shows, without its quotes, behind a text. */
bool tk_unescape(tk_span text, tk_text *plain)
{
    while (text.begin < text.end) {
        const char *next = memchr(text.begin, '\\', tk_length(text));
        if (next == NULL || next + 1 == text.end)
            next = text.end;
        if (!tk_text_add(plain, text.begin, (size_t)(next - text.begin)))
            return false;
        text.begin = next;
        if (next < text.end) {
            text.begin++;
            char byte = escaped(&text.begin, text.end);
            if (!tk_text_add(plain, &byte, 1))
                return false;
        }
    }
    return true;
}

/* -- arguments --------------------------------------------------------------------------------------------------------- */

static const char *next_bracket(const char *at, const char *end)
{
    while (at < end && *at != '[' && *at != ']')
        at++;
    return at;
}

/* The first arguments one by one, how many there are of them; brackets hold together. */
int tk_fields(tk_span args, tk_span *fields, int most)
{
    int count = 0;
    const char *begin = args.begin, *bracket = args.begin;
    for (const char *at = begin; count < most && (at = memmem(at, (size_t)(args.end - at), ", ", 2)) != NULL; at += 1) {
        if (bracket < at + 2)
            bracket = next_bracket(at + 2, args.end);
        if (bracket < args.end && *bracket == ']')
            continue;
        fields[count++] = (tk_span){begin, at};
        begin = at + 2;
        at++;
    }
    if (count < most)
        fields[count++] = (tk_span){begin, args.end};
    return count;
}

static const char *last_comma(const char *begin, const char *end)
{
    for (const char *at = end; (at = memrchr(begin, ',', (size_t)(at - begin))) != NULL;)
        if (end - at > 1 && at[1] == ' ')
            return at;
    return NULL;
}

/* The argument that is `place`th from the right, or the last but the first where there are not so many; false for one alone. */
bool tk_from_right(tk_span args, int place, tk_span *field)
{
    const char *comma = last_comma(args.begin, args.end), *earlier;
    if (comma == NULL)
        return false;
    *field = (tk_span){comma + 2, args.end};
    for (; place > 1 && (earlier = last_comma(args.begin, comma)) != NULL; place--, comma = earlier)
        *field = (tk_span){earlier + 2, comma};
    return true;
}

/* -- names and flags --------------------------------------------------------------------------------------------------- */

/* Take `.`, `..` and doubled slashes out of a path, as os.path.normpath does. It never grows but from nothing to `.`. */
static bool normalize(tk_text *path)
{
    char *bytes = path->bytes, *end = bytes + path->length, *from = bytes, *to;
    size_t slashes = 0;
    while (from < end && *from == '/')
        from++, slashes++;
    slashes = slashes > 2 ? 1 : slashes;
    char *root = bytes + slashes;
    to = root;
    while (from < end) {
        char *next = memchr(from, '/', (size_t)(end - from));
        size_t length = (size_t)((next ? next : end) - from);
        bool up = length == 2 && from[0] == '.' && from[1] == '.';
        char *last = to > root ? memrchr(root, '/', (size_t)(to - root)) : NULL;
        char *part = last ? last + 1 : root;
        bool above = to - part == 2 && part[0] == '.' && part[1] == '.';
        if (up && to > root && !above) {
            to = last ? last : root;
        } else if (length && !(length == 1 && *from == '.') && !(up && to == root && slashes)) {
            if (to > root)
                *to++ = '/';
            memmove(to, from, length);
            to += length;
        }
        from = next ? next + 1 : end;
    }
    path->length = (size_t)(to - bytes);
    return path->length || tk_text_add(path, ".", 1);
}

/* The path that some arguments name, absolute where strace says what it is relative to; empty where they name none. */
bool tk_path_named(tk_span args, tk_text *path, tk_text *spare)
{
    tk_fd base;
    tk_span string = tk_string_in(args);
    path->length = 0;
    if (string.begin == NULL)
        return true;
    if (!tk_unescape(string, path))
        return false;
    bool relative = path->length && path->bytes[0] != '/' && tk_fd_at(args, &base) && base.shown.begin != NULL;
    if (!relative || tk_length(base.shown) == 0)
        return true;
    spare->length = 0;
    if (!tk_text_add(spare, path->bytes, path->length))
        return false;
    path->length = 0;
    return tk_unescape(base.shown, path) && tk_text_add(path, "/", 1) && tk_text_add(path, spare->bytes, spare->length) &&
           normalize(path);
}

static int flag_of(const char *word, size_t length)
{
    static const struct {
        const char *name;
        int flag;
    } FLAGS[] = {{"O_DIRECT", TK_DIRECT}, {"O_APPEND", TK_APPEND}, {"O_CREAT", TK_CREATE}, {"O_TRUNC", TK_TRUNCATE},
                 {"O_SYNC", TK_SYNC}};
    for (size_t i = 0; i < sizeof FLAGS / sizeof FLAGS[0]; i++)
        if (strlen(FLAGS[i].name) == length && memcmp(FLAGS[i].name, word, length) == 0)
            return FLAGS[i].flag;
    return 0;
}

/* Arguments without their strings. */
static bool without_strings(tk_span args, tk_text *out)
{
    out->length = 0;
    while (args.begin < args.end) {
        const char *open = memchr(args.begin, '"', tk_length(args));
        const char *close = open ? closed(open + 1, args.end) : NULL;
        if (!tk_text_add(out, args.begin, (size_t)((close ? open : args.end) - args.begin)))
            return false;
        args.begin = close ? close : args.end;
    }
    return true;
}

/* The flags of an open that a trace has a word for. */
bool tk_flags_in(tk_span args, tk_text *spare, int *flags)
{
    *flags = 0;
    if (!without_strings(args, spare))
        return false;
    const char *end = spare->bytes + spare->length;
    for (const char *at = spare->bytes; at && end - at > 2; at++) {
        if (at[0] != 'O' || at[1] != '_' || (at > spare->bytes && tk_wordy(at[-1])))
            continue;
        const char *last = at + 2;
        while (last < end && ((*last >= 'A' && *last <= 'Z') || *last == '_'))
            last++;
        *flags |= flag_of(at, (size_t)(last - at));
    }
    return true;
}
