/* Descriptors. Reads go through handles that each stream has for itself, because the kernel keeps its readahead state per
   open file, unless all of the file is in memory: what the kernel knows of a thousand open files is not in the processor's caches. They
   are opened ahead of time and kept in a small set-associative cache, so that a trace of a million files
   needs no million descriptors. Recorded opens are kept apart, until their close. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { WAYS = 8, BUCKETS = 1 << 12 };

/* Room for at most `capacity` descriptors; where all of the `keys` that are ever asked for fit, no two of them compete for a
   place. The number of sets is a power of two. Where each of `files` can have a set, it has: then a file's handle is found at
   the first look. */
int tk_handles_open(tk_handles *handles, int32_t capacity, int64_t keys, int32_t files)
{
    int32_t ways = capacity < 1 ? 1 : capacity < WAYS ? capacity : WAYS, sets = 1;
    if (capacity >= keys && keys <= 2 * (int64_t)files && ways > 2)
        ways = 2; /* one to read and one to change it */
    while (sets * ways < capacity || (ways == 2 && sets < files))
        sets *= 2;
    if (capacity < keys && sets * ways > capacity)
        sets /= 2;
    *handles = (tk_handles){.ways = ways, .sets = sets};
    size_t count = (size_t)handles->sets * (size_t)ways;
    handles->slots = calloc(count, sizeof(tk_handle));
    if (handles->slots == NULL)
        return ENOMEM;
    for (size_t i = 0; i < count; i++)
        handles->slots[i].key = -1;
    return 0;
}

static void close_handle(tk_handle *handle)
{
    if (handle->key >= 0)
        close(handle->fd);
    handle->key = -1;
}

void tk_handles_close(tk_handles *handles)
{
    for (int32_t i = 0; handles->slots && i < handles->sets * handles->ways; i++)
        close_handle(&handles->slots[i]);
    free(handles->slots);
    handles->slots = NULL;
}

static int open_for(const tk_file *file, bool change, int *error)
{
    bool scratch = change || (file->flags & TK_IN_SCRATCH);
    const char *path = scratch ? file->scratch : file->path;
    int flags = change ? O_RDWR | O_CREAT : O_RDONLY | (file->align ? O_DIRECT : 0);
    int fd = path ? open(path, flags | O_CLOEXEC | O_NOATIME, 0600) : -1;
    if (fd < 0 && path && errno == EPERM) /* not our file: then its access time is kept as the file system does */
        fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        *error = path ? errno : EINVAL;
    else if (!change && file->advice >= 0)
        posix_fadvise(fd, 0, 0, file->advice);
    return fd;
}

static tk_handle *set_of(const tk_handles *handles, int64_t key)
{
    /* Files of one owner are numbered in sequence and so spread evenly. */
    uint32_t place = (uint32_t)key + (uint32_t)(key >> 31) * 2654435761u;
    return &handles->slots[(place & (uint32_t)(handles->sets - 1)) * (uint32_t)handles->ways];
}

/* The handle will be looked up soon. */
void tk_handle_prefetch(const tk_handles *handles, int64_t key)
{
    __builtin_prefetch(set_of(handles, key));
}

/* A handle for each file that is in memory as a whole. NULL when there is no memory for them. */
tk_handle *tk_common_open(const tk_file *files, int32_t count)
{
    tk_handle *common = calloc(count > 0 ? (size_t)count : 1, sizeof *common);
    int error;
    for (int32_t i = 0; common && i < count; i++)
        common[i] = (tk_handle){.key = i, .fd = files[i].flags & TK_RESIDENT ? open_for(&files[i], false, &error) : -1};
    return common;
}

void tk_common_close(tk_handle *common, int32_t count)
{
    for (int32_t i = 0; common && i < count; i++)
        if (common[i].fd >= 0)
            close(common[i].fd);
    free(common);
}

/* The handle with this key, opened if it is not; NULL and an errno when that fails, TK_PINNED when all
   of its set have ops in flight. The one that was used longest ago gives way. */
tk_handle *tk_handle_for(tk_handles *handles, int64_t key, const tk_file *file, bool change, int *error)
{
    tk_handle *set = set_of(handles, key), *oldest = NULL;
    for (int way = 0; way < handles->ways; way++) {
        tk_handle *handle = &set[way];
        if (handle->key == key) {
            handle->used = ++handles->clock;
            return handle;
        }
        if (handle->users == 0 && (oldest == NULL || handle->key < 0 || handle->used < oldest->used))
            oldest = oldest && oldest->key < 0 ? oldest : handle;
    }
    if (oldest == NULL) {
        *error = TK_PINNED;
        return NULL;
    }
    int fd = open_for(file, change, error);
    if (fd < 0)
        return NULL;
    handles->opened++;
    close_handle(oldest);
    *oldest = (tk_handle){.key = key, .fd = fd, .used = ++handles->clock};
    return oldest;
}

void tk_handle_drop(tk_handles *handles, int64_t key)
{
    tk_handle *set = set_of(handles, key);
    for (int way = 0; way < handles->ways; way++)
        if (set[way].key == key)
            close_handle(&set[way]);
}

/* -- recorded opens: threads of one process may close for each other -- */

struct tk_opened {
    tk_opened *next;
    int32_t group, file, fd;
};

int tk_recorded_open(tk_recorded *recorded)
{
    recorded->unmatched = 0;
    recorded->buckets = calloc(BUCKETS, sizeof(tk_opened *));
    return recorded->buckets ? tk_mutex_open(&recorded->lock) : ENOMEM;
}

void tk_recorded_free(tk_recorded *recorded)
{
    for (int i = 0; i < BUCKETS; i++) {
        while (recorded->buckets[i]) {
            tk_opened *opened = recorded->buckets[i];
            recorded->buckets[i] = opened->next;
            close(opened->fd);
            free(opened);
        }
    }
    free(recorded->buckets);
    pthread_mutex_destroy(&recorded->lock);
}

static tk_opened **bucket_of(tk_recorded *recorded, int32_t group, int32_t file)
{
    return &recorded->buckets[((uint32_t)file * 31u + (uint32_t)group) % BUCKETS];
}

int tk_recorded_put(tk_recorded *recorded, int32_t group, int32_t file, int fd)
{
    tk_opened *opened = malloc(sizeof *opened);
    if (opened == NULL)
        return ENOMEM;
    *opened = (tk_opened){.group = group, .file = file, .fd = fd};
    pthread_mutex_lock(&recorded->lock);
    tk_opened **bucket = bucket_of(recorded, group, file);
    opened->next = *bucket;
    *bucket = opened;
    pthread_mutex_unlock(&recorded->lock);
    return 0;
}

/* The descriptor opened last; -1 where no open came before, as with descriptors a process inherited. */
int tk_recorded_take(tk_recorded *recorded, int32_t group, int32_t file)
{
    int fd = -1;
    pthread_mutex_lock(&recorded->lock);
    tk_opened **link = bucket_of(recorded, group, file);
    while (*link && ((*link)->group != group || (*link)->file != file))
        link = &(*link)->next;
    tk_opened *opened = *link;
    if (opened) {
        *link = opened->next;
        fd = opened->fd;
    } else {
        recorded->unmatched++;
    }
    pthread_mutex_unlock(&recorded->lock);
    free(opened);
    return fd;
}
