/* Programs started by the program. A new image knows only its environment, so what leads it back to us is put there again
   when the caller left it out. All of this may run in a child of vfork: nothing is allocated, nothing of the parent's is
   changed but one slot of the (suspended) parent thread's own chunk, where the start is noted. */
#define _GNU_SOURCE
#include <alloca.h>
#include <errno.h>
#include <string.h>

#include "attach.h"
#include "hooks.h"
#include "spool.h"

enum { MOST_VARIABLES = 2048, MOST_TEXT = 2048 };

static char **ours;

/* Lists of paths in which an entry of ours stands first; none where `entry` is NULL. */
static struct list {
    const char *start, *entry;
} lists[] = {{"PYTHONPATH=", NULL}, {"LD_PRELOAD=", NULL}};
enum { LISTS = sizeof lists / sizeof *lists };

void tk_exec_environment(char **variables, const char *path_entry, const char *preload_entry)
{
    ours = variables;
    lists[0].entry = path_entry;
    lists[1].entry = preload_entry;
}

/* -- the environment ---------------------------------------------------------------------------------------------- */

static size_t name_bytes(const char *variable)
{
    const char *equals = strchr(variable, '=');
    return equals ? (size_t)(equals - variable) + 1 : strlen(variable);
}

static size_t find(char *const *environment, const char *variable, size_t bytes)
{
    size_t at = 0;
    while (environment[at] && strncmp(environment[at], variable, bytes) != 0)
        at++;
    return at;
}

static size_t count(char *const *environment)
{
    size_t number = 0;
    while (environment && environment[number])
        number++;
    return number;
}

static int has_entry(const char *value, const char *entry)
{
    size_t bytes = strlen(entry);
    for (const char *at = value; at; at = strchr(at, ':')) {
        at += *at == ':';
        if (strncmp(at, entry, bytes) == 0 && (at[bytes] == 0 || at[bytes] == ':'))
            return 1;
    }
    return 0;
}

/* Bytes needed for a list with our entry; 0 when the one there has it, or there is no entry to add. */
static size_t list_bytes(const struct list *list, char *const *environment)
{
    size_t at, name = strlen(list->start);
    if (list->entry == NULL)
        return 0;
    at = find(environment, list->start, name);
    if (environment[at] && has_entry(environment[at] + name, list->entry))
        return 0;
    return name + strlen(list->entry) + 2 + (environment[at] ? strlen(environment[at]) : 0);
}

static size_t lists_bytes(char *const *environment)
{
    size_t bytes = 0;
    for (int i = 0; i < LISTS; i++)
        bytes += list_bytes(&lists[i], environment);
    return bytes;
}

/* Our entry before what is in `old` (may be NULL); returns the text's end. */
static char *list_text(char *to, const struct list *list, const char *old)
{
    strcpy(to, list->start);
    strcat(to, list->entry);
    if (old && *old) {
        strcat(to, ":");
        strcat(to, old);
    }
    return to + strlen(to) + 1;
}

/* `to` has room for all of `environment`, all of ours, the lists and an end; `text` for the lists. */
static void add_ours(char **to, char *const *environment, char *text)
{
    size_t end = count(environment);
    memcpy(to, environment, end * sizeof *to);
    to[end] = NULL;
    for (size_t i = 0; ours[i]; i++)
        if (to[find(to, ours[i], name_bytes(ours[i]))] == NULL) {
            to[end++] = ours[i];
            to[end] = NULL;
        }
    for (int i = 0; i < LISTS; i++) {
        size_t at, name = strlen(lists[i].start);
        char *value = text;
        if (list_bytes(&lists[i], environment) == 0)
            continue;
        at = find(to, lists[i].start, name);
        text = list_text(text, &lists[i], to[at] ? to[at] + name : NULL);
        to[at] = value;
        if (at == end)
            to[++end] = NULL;
    }
}

static char *const empty[] = {NULL};

/* Whether the environment lacks something of ours (and is not absurdly large); `bytes` for the new lists. */
static int lacks(char *const *environment, size_t *bytes)
{
    if (!tk_on || ours == NULL || count(environment) > MOST_VARIABLES)
        return 0;
    *bytes = lists_bytes(environment);
    for (size_t i = 0; ours[i]; i++)
        if (environment[find(environment, ours[i], name_bytes(ours[i]))] == NULL)
            return 1;
    return *bytes > 0;
}

/* Must be a macro: alloca's memory lives in the frame that makes the call. */
#define COMPLETE(environment) \
    do { \
        size_t bytes_ = 0; \
        if ((environment) == NULL) \
            (environment) = empty; \
        if (lacks(environment, &bytes_)) { \
            char **all_ = alloca((count(environment) + count(ours) + LISTS + 1) * sizeof *all_); \
            add_ours(all_, environment, bytes_ ? alloca(bytes_) : NULL); \
            (environment) = all_; \
        } \
    } while (0)

/* -- env(1), which wipes the environment by itself -------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Where in the words of `env -i COMMAND` assignments of ours belong; 0 when it wipes nothing, starts nothing, or is not
   understood. */
static size_t place_in_env(const char *path, char *const *words)
{
    size_t at = 1, command;
    int wipes = 0;
    if (!tk_on || ours == NULL || path == NULL || words == NULL || words[0] == NULL || strcmp(base_name(path), "env") != 0)
        return 0;
    for (; words[at] && words[at][0] == '-'; at++) {
        if (strcmp(words[at], "--") == 0) {
            at++;
            break;
        }
        if (strcmp(words[at], "-") == 0 || strcmp(words[at], "-i") == 0 || strcmp(words[at], "--ignore-environment") == 0)
            wipes = 1;
        else if (strcmp(words[at], "-u") == 0 && words[at + 1])
            at++;
        else if (strncmp(words[at], "--unset=", 8) != 0)
            return 0;
    }
    for (command = at; words[command] && strchr(words[command], '=');)
        command++;
    return wipes && words[command] ? at : 0;
}

/* `to` has room for the words, all of ours, the lists and an end; `text` for the lists. */
static void add_assignments(char **to, char *const *words, size_t at, char *text)
{
    size_t end = at;
    memcpy(to, words, at * sizeof *to);
    for (size_t i = 0; ours[i]; i++)
        to[end++] = ours[i];
    for (int i = 0; i < LISTS; i++)
        if (lists[i].entry) {
            to[end++] = text;
            text = list_text(text, &lists[i], NULL);
        }
    memcpy(to + end, words + at, (count(words + at) + 1) * sizeof *to);
}

#define COMPLETE_ENV(path, words) \
    do { \
        size_t at_ = place_in_env(path, words); \
        if (at_ && count(words) <= MOST_VARIABLES) { \
            char **all_ = alloca((count(words) + count(ours) + LISTS + 1) * sizeof *all_); \
            add_assignments(all_, words, at_, alloca(lists_bytes(empty) + 1)); \
            (words) = all_; \
        } \
    } while (0)

/* -- noting the start --------------------------------------------------------------------------------------------- */

static struct tk_record *note_start(const char *path, char *const *arguments)
{
    struct tk_thread *thread;
    struct tk_record *record;
    uint64_t at = 0, bytes = 0, now = tk_ticks();
    char *text;

    if (!tk_on || path == NULL)
        return NULL;
    thread = tk_local.thread;
    if (thread == NULL || tk_local.generation != *tk_live) /* a forked child has its own spool from here on */
        thread = tk_self();
    if (thread == NULL)
        return NULL;
    bytes = strnlen(path, MOST_TEXT) + 1;
    for (size_t i = 0; arguments && arguments[i] && bytes < MOST_TEXT; i++)
        bytes += strnlen(arguments[i], MOST_TEXT) + 1;
    record = tk_take(&thread, (uint32_t)((bytes + 7) & ~UINT64_C(7)), &at);
    if (record == NULL)
        return NULL;
    text = (char *)thread + at;
    size_t used = strnlen(path, MOST_TEXT) + 1;
    memcpy(text, path, used - 1);
    text[used - 1] = 0;
    for (size_t i = 0; arguments && arguments[i] && used < MOST_TEXT; i++) {
        size_t more = strnlen(arguments[i], MOST_TEXT);
        memcpy(text + used, arguments[i], more);
        text[used + more] = 0;
        used += more + 1;
    }
    tk_fill(record, TK_EXEC, (int64_t)(at << 32 | bytes), 0, TK_RAW0(SYS_getpid), now, now);
    return record;
}

static void note_failure(struct tk_record *record)
{
    if (record)
        record->len = (uint32_t)errno;
}

int hook_execve(const char *path, char *const *arguments, char *const *environment)
{
    struct tk_record *record = note_start(path, arguments);
    if (tk_on)
        tk_attach_before(path);
    COMPLETE(environment);
    COMPLETE_ENV(path, arguments);
    int result = tk_original.execve(path, arguments, environment);
    note_failure(record);
    return result;
}

int hook_execveat(int directory, const char *path, char *const *arguments, char *const *environment, int flags)
{
    struct tk_record *record = note_start(path, arguments);
    COMPLETE(environment);
    int result = tk_original.execveat(directory, path, arguments, environment, flags);
    note_failure(record);
    return result;
}

int hook_fexecve(int fd, char *const *arguments, char *const *environment)
{
    COMPLETE(environment);
    return tk_original.fexecve(fd, arguments, environment);
}

/* -- posix_spawn: a child on borrowed memory, like vfork's -------------------------------------------------------- */

static void borrow(void)
{
    struct tk_thread *thread;
    if (!tk_on || (thread = tk_self()) == NULL)
        return;
    thread->vforked = 1;
    atomic_fetch_add_explicit(&tk_process->forks, 1, memory_order_relaxed);
}

int hook_posix_spawn(pid_t *pid, const char *path, const void *actions, const void *attributes, char *const *arguments,
                     char *const *environment)
{
    borrow();
    COMPLETE(environment);
    return tk_original.posix_spawn(pid, path, actions, attributes, arguments, environment);
}

int hook_posix_spawnp(pid_t *pid, const char *file, const void *actions, const void *attributes, char *const *arguments,
                      char *const *environment)
{
    borrow();
    COMPLETE(environment);
    return tk_original.posix_spawnp(pid, file, actions, attributes, arguments, environment);
}
