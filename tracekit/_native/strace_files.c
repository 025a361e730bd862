#define _GNU_SOURCE
#include "strace_files.h"

#include <stdlib.h>

const tk_beginning TK_AT_ONCE = {.moment = INT64_MAX};

/* -- who holds what ---------------------------------------------------------------------------------------------------- */

static void let_go(tk_opened *file)
{
    if (--file->holders == 0)
        free(file);
}

static void drop_table(tk_table *table)
{
    if (--table->holders)
        return;
    for (size_t i = 0; i < table->files.room; i++)
        if (table->files.slots[i].item)
            let_go(table->files.slots[i].item);
    tk_intmap_close(&table->files);
    free(table);
}

void tk_descriptors_close(tk_descriptors *all)
{
    for (size_t i = 0; i < all->tables.room; i++)
        if (all->tables.slots[i].item)
            drop_table(all->tables.slots[i].item);
    tk_intmap_close(&all->tables);
}

/* Make a table that of a process, in the place of the one it had. */
static void take_table(tk_descriptors *all, int64_t pid, tk_table *table)
{
    tk_slot *slot = tk_intmap_find(&all->tables, pid);
    tk_table *before = slot ? slot->item : NULL;
    table->holders++;
    if (tk_intmap_put(&all->tables, pid, table, 0)) {
        if (before)
            drop_table(before);
    } else {
        drop_table(table);
        all->no_memory = true;
    }
}

/* A process's table, made where there is none; NULL when there is no memory. */
static tk_table *table_of(tk_descriptors *all, int64_t pid)
{
    tk_slot *slot = tk_intmap_find(&all->tables, pid);
    if (slot)
        return slot->item;
    tk_table *table = calloc(1, sizeof *table);
    if (table == NULL || !tk_intmap_put(&all->tables, pid, table, 0)) {
        free(table);
        all->no_memory = true;
        return NULL;
    }
    table->holders = 1;
    return table;
}

static bool put(tk_table *table, int64_t fd, tk_opened *file, int64_t moment)
{
    tk_slot *slot = tk_intmap_find(&table->files, fd);
    tk_opened *before = slot ? slot->item : NULL;
    if (!tk_intmap_put(&table->files, fd, file, moment))
        return false;
    file->holders++;
    if (before)
        let_go(before);
    return true;
}

static void give(tk_descriptors *all, int64_t pid, int64_t fd, tk_opened *file)
{
    tk_table *table = table_of(all, pid);
    all->moment++;
    if (table && !put(table, fd, file, all->moment))
        all->no_memory = true;
}

/* A new open file behind a descriptor; NULL when there is no memory. */
static tk_opened *given(tk_descriptors *all, int64_t pid, int64_t fd, tk_opened as)
{
    tk_opened *file = malloc(sizeof *file);
    if (file == NULL) {
        all->no_memory = true;
        return NULL;
    }
    *file = as;
    file->holders = 1;
    give(all, pid, fd, file);
    bool kept = file->holders > 1;
    let_go(file);
    return kept ? file : NULL;
}

static tk_table *copy_of(tk_descriptors *all, const tk_table *table)
{
    tk_table *copy = calloc(1, sizeof *copy);
    bool good = copy != NULL;
    for (size_t i = 0; good && i < table->files.room; i++) {
        const tk_slot *slot = &table->files.slots[i];
        good = slot->item == NULL || put(copy, slot->key, slot->item, slot->moment);
    }
    all->no_memory |= !good;
    return copy;
}

/* -- calls that begin -------------------------------------------------------------------------------------------------- */

static void hold(tk_descriptors *all, tk_beginning *begun, int64_t fd, tk_opened *file)
{
    if (begun->count == begun->room) {
        size_t room = begun->room ? begun->room * 2 : 4;
        tk_held *held = realloc(begun->held, room * sizeof *held);
        if (held == NULL) {
            all->no_memory = true;
            return;
        }
        begun->held = held;
        begun->room = room;
    }
    begun->held[begun->count++] = (tk_held){fd, file};
    file->holders++;
}

static tk_opened *held(const tk_beginning *begun, int64_t fd)
{
    for (size_t i = 0; i < begun->count; i++)
        if (begun->held[i].fd == fd)
            return begun->held[i].file;
    return NULL;
}

/* Whatever number stands in a text may be a descriptor's: nothing else is looked up. */
static void hold_numbers(tk_descriptors *all, const tk_table *table, tk_span text, tk_beginning *begun)
{
    for (const char *at = text.begin; at < text.end;) {
        const char *from = at;
        bool digits = true;
        int64_t fd = 0;
        for (; at < text.end && tk_wordy(*at); at++) {
            digits = digits && tk_digit(*at) && at - from < 7;
            fd = digits ? fd * 10 + *at - '0' : 0;
        }
        tk_slot *slot = at > from && digits ? tk_intmap_find(&table->files, fd) : NULL;
        bool again = slot && begun->count && begun->held[begun->count - 1].fd == fd;
        if (slot && !again)
            hold(all, begun, fd, slot->item);
        at += at == from;
    }
}

/* A call begins that is about the descriptors in some text; without it, about all its process has. */
void tk_begin_call(tk_descriptors *all, int64_t pid, const tk_span *numbers, tk_beginning *begun)
{
    const tk_table *table = table_of(all, pid);
    tk_end_call(begun);
    begun->moment = all->moment;
    if (table && numbers)
        hold_numbers(all, table, *numbers, begun);
    for (size_t i = 0; table && !numbers && i < table->files.room; i++)
        if (table->files.slots[i].item)
            hold(all, begun, table->files.slots[i].key, table->files.slots[i].item);
}

void tk_end_call(tk_beginning *begun)
{
    for (size_t i = 0; i < begun->count; i++)
        let_go(begun->held[i].file);
    free(begun->held);
    *begun = (tk_beginning){0};
}

/* -- what calls do ----------------------------------------------------------------------------------------------------- */

/* A descriptor was opened; it stands at the beginning. */
void tk_file_opened(tk_descriptors *all, int64_t pid, int64_t fd, int32_t path, bool appending)
{
    given(all, pid, fd, (tk_opened){.path = path, .appending = appending});
}

void tk_file_copied(tk_descriptors *all, int64_t pid, int64_t from, int64_t to, const tk_beginning *begun)
{
    tk_opened *file = tk_file_of(all, pid, from, begun);
    if (file)
        give(all, pid, to, file);
}

static void close_one(tk_table *table, tk_slot *slot)
{
    tk_opened *file = slot->item;
    tk_intmap_remove(&table->files, slot);
    let_go(file);
}

/* Descriptors are gone, but for those that were handed out again since the closing began. */
void tk_file_closed(tk_descriptors *all, int64_t pid, int64_t first, int64_t last, const tk_beginning *begun)
{
    tk_table *table = table_of(all, pid);
    if (table && first == last) {
        tk_slot *slot = tk_intmap_find(&table->files, first);
        if (slot && slot->moment <= begun->moment)
            close_one(table, slot);
        return;
    }
    for (size_t i = 0; table && i < table->files.room;) {
        tk_slot *slot = &table->files.slots[i];
        if (slot->item && slot->key >= first && slot->key <= last && slot->moment <= begun->moment)
            close_one(table, slot); /* another may stand here now */
        else
            i++;
    }
}

/* A child has the descriptors its parent had, or shares the table itself. */
void tk_process_forked(tk_descriptors *all, int64_t pid, int64_t child, bool shared, const tk_beginning *begun)
{
    tk_table *table = table_of(all, pid), *copy = table && !shared ? copy_of(all, table) : table;
    if (copy == NULL)
        return;
    table->holders++; /* a damaged source may say that a process made itself */
    take_table(all, child, copy);
    for (size_t i = 0; !shared && i < begun->count; i++) {
        tk_slot *slot = tk_intmap_find(&table->files, begun->held[i].fd);
        if (slot == NULL || slot->item == begun->held[i].file)
            give(all, child, begun->held[i].fd, begun->held[i].file);
        else /* another file's when the fork began: which of the two the child has is not known */
            given(all, child, begun->held[i].fd, (tk_opened){.path = -1, .position = TK_UNKNOWN});
    }
    drop_table(table);
}

/* A process shares its table with nobody any more. */
void tk_process_unshared(tk_descriptors *all, int64_t pid)
{
    tk_table *table = table_of(all, pid), *copy = table && table->holders > 1 ? copy_of(all, table) : NULL;
    if (copy)
        take_table(all, pid, copy);
}

/* -- what a descriptor stands for -------------------------------------------------------------------------------------- */

/* The open file behind a descriptor, with no name and no known place where its opening was not seen; NULL when there is no
   memory. */
tk_opened *tk_file_of(tk_descriptors *all, int64_t pid, int64_t fd, const tk_beginning *begun)
{
    tk_opened *known = held(begun, fd);
    const tk_table *table = known ? NULL : table_of(all, pid);
    tk_slot *slot = table ? tk_intmap_find(&table->files, fd) : NULL;
    if (known || slot)
        return known ? known : slot->item;
    return given(all, pid, fd, (tk_opened){.path = -1, .position = TK_UNKNOWN});
}

/* The number of the name that a descriptor was opened by; -1 where that was not seen. */
int32_t tk_path_of(tk_descriptors *all, int64_t pid, int64_t fd, const tk_beginning *begun)
{
    const tk_opened *known = held(begun, fd);
    const tk_table *table = known ? NULL : table_of(all, pid);
    tk_slot *slot = table ? tk_intmap_find(&table->files, fd) : NULL;
    known = slot ? slot->item : known;
    return known ? known->path : -1;
}

/* Where a read of so many bytes began; the next one begins behind it. */
int64_t tk_advanced(tk_opened *file, int64_t count)
{
    int64_t start = file->position;
    if (start != TK_UNKNOWN)
        file->position = start <= TK_MOST - count ? start + count : TK_UNKNOWN;
    return start;
}

/* Where a write of so many bytes began; not known when it went to the end of the file. */
int64_t tk_written(tk_opened *file, int64_t count)
{
    if (file->appending)
        file->position = TK_UNKNOWN;
    return tk_advanced(file, count);
}
