/* The recorder in programs that are no Python, where it was asked for (--native-children preload): a library of its own,
   without anything of Python's, that the loader puts into what a recorded program starts. It does for them what native.py
   does for interpreters, which it leaves alone: they have their own way in. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recorder.h"
#include "spool.h"

enum { LINE = 1 << 16, MOST_WORDS = 64, MOST_LETTERS = 1000 };

static char line[LINE];
static size_t used;

static void put(const char *format, ...)
{
    va_list values;
    int bytes;
    va_start(values, format);
    bytes = vsnprintf(line + used, LINE - used, format, values);
    va_end(values);
    used = bytes < 0 || used + (size_t)bytes >= LINE ? LINE : used + (size_t)bytes;
}

/* Bytes beyond ASCII as Python keeps those of a name that is no text: the reader puts them together again. */
static void put_text(const char *text)
{
    put("\"");
    for (int i = 0; text[i] && i < MOST_LETTERS; i++) {
        unsigned char letter = (unsigned char)text[i];
        if (letter >= 0x80)
            put("\\udc%02x", letter);
        else if (letter < 0x20 || letter == '"' || letter == '\\' || letter == 0x7f)
            put("\\u%04x", letter);
        else
            put("%c", letter);
    }
    put("\"");
}

static void introduce(int count, char **words, const struct tk_interposed *state, int64_t startup)
{
    static const char *const ways[] = {"none", "detour", "got"};
    put("\n{\"process\":%d,\"ppid\":%d,\"rank\":-1,\"engine\":\"native\",\"preloaded\":true,\"way\":\"%s\",\"native\":%llu,"
        "\"startup\":%lld,\"argv\":[", (int)getpid(), (int)getppid(), ways[state->method],
        (unsigned long long)tk_recorder_process(NULL), (long long)(startup > 0 ? startup : 0));
    for (int i = 0; i < count && i < MOST_WORDS; i++) {
        put(i ? "," : "");
        put_text(words[i]);
    }
    put("],\"left\":[");
    for (size_t i = 0; i < state->left_count; i++)
        put("%s[\"%s\",\"%s\"]", i ? "," : "", state->left[i].name, state->left[i].reason);
    put("]}\n");
    if (used < LINE)
        tk_append_line("", line, used);
}

/* "tsc:0 or 1:path of this library" */
static const char *settings(int *tsc)
{
    const char *text = getenv("TRACEKIT_PRELOAD");
    if (text == NULL || strncmp(text, "tsc:", 4) != 0 || (text[4] != '0' && text[4] != '1') || text[5] != ':')
        return NULL;
    *tsc = text[4] == '1';
    return text + 6;
}

static char *variable(const char *name, const char *value)
{
    size_t bytes = strlen(name) + strlen(value) + 2;
    char *text = malloc(bytes);
    if (text)
        snprintf(text, bytes, "%s=%s", name, value);
    return text;
}

static void hand_on(const char *directory, const char *library)
{
    static char *ours[3];
    size_t bytes = strlen(directory) + 8;
    char *home = malloc(bytes);
    ours[0] = variable("TRACEKIT_RECORD", directory);
    ours[1] = variable("TRACEKIT_PRELOAD", getenv("TRACEKIT_PRELOAD"));
    if (home == NULL || ours[0] == NULL || ours[1] == NULL)
        return;
    snprintf(home, bytes, "%s/start", directory);
    tk_exec_environment(ours, home, strdup(library));
}

__attribute__((constructor)) static void begin(int count, char **words, char **environment)
{
    static struct tk_interposed state;
    const char *directory = getenv("TRACEKIT_RECORD"), *library;
    int tsc;
    int64_t startup;

    (void)environment;
#if !defined(__GLIBC__)
    count = 0; /* only the GNU C library gives constructors what it gives main */
#endif
    if (directory == NULL || (library = settings(&tsc)) == NULL || access(directory, W_OK) != 0)
        return;
    if (dlsym(RTLD_DEFAULT, "Py_BytesMain") != NULL) /* an interpreter, or a program with one inside */
        return;
    startup = tk_bytes_read("/proc/thread-self/io", NULL);
    tk_recorder_start(directory, tsc, 1, 1, &state);
    if (state.method == TK_NONE)
        return;
    hand_on(directory, library);
    tk_recorder_children(1);
    introduce(count, words, &state, startup);
}
