/* Where reads and writes began that do not say it: open files by descriptor within a thread or a process, or by name within a
   thread. A position belongs to the open file, so two keys may lead to one. */
#define _GNU_SOURCE
#include "positions.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_KEYS = 256, FIRST_FILES = 64 };
enum { BY_NAME = 1, BY_THREAD, BY_PROCESS };

int tk_positions_open(tk_positions *positions)
{
    *positions = (tk_positions){.mask = FIRST_KEYS - 1, .capacity = FIRST_FILES, .free = -1};
    positions->keys = calloc(FIRST_KEYS, sizeof(tk_open_key));
    positions->files = malloc(FIRST_FILES * sizeof(tk_open_file));
    return positions->keys && positions->files ? 0 : -1;
}

void tk_positions_close(tk_positions *positions)
{
    free(positions->keys);
    free(positions->files);
    *positions = (tk_positions){0};
}

static size_t hash_of(const tk_open_key *key)
{
    uint64_t hash = (uint64_t)key->owner * 0x9E3779B97F4A7C15ULL ^ (uint64_t)key->kind << 62;
    hash = (hash ^ hash >> 29 ^ (uint64_t)key->number) * 0xD6E8FEB86659FD93ULL;
    return (size_t)(hash ^ hash >> 32);
}

/* Where the key stands, or where it would. */
static tk_open_key *place_of(tk_open_key *keys, size_t mask, const tk_open_key *key)
{
    size_t at = hash_of(key) & mask;
    while (keys[at].kind && (keys[at].kind != key->kind || keys[at].owner != key->owner || keys[at].number != key->number))
        at = (at + 1) & mask;
    return &keys[at];
}

static int make_room(tk_positions *positions)
{
    if (positions->used * 2 < positions->mask)
        return 0;
    size_t mask = positions->mask * 2 + 1;
    tk_open_key *keys = calloc(mask + 1, sizeof(tk_open_key));
    if (keys == NULL)
        return -1;
    for (size_t i = 0; i <= positions->mask; i++)
        if (positions->keys[i].kind)
            *place_of(keys, mask, &positions->keys[i]) = positions->keys[i];
    free(positions->keys);
    positions->keys = keys;
    positions->mask = mask;
    return 0;
}

/* A new open file that no key leads to yet; -1 when there is no memory. */
static int32_t new_file(tk_positions *positions, int64_t path, int64_t position, int appending)
{
    int32_t file = positions->free;
    if (file >= 0) {
        positions->free = positions->files[file].next;
    } else {
        if (positions->count == positions->capacity) {
            tk_open_file *files = realloc(positions->files, 2 * (size_t)positions->capacity * sizeof(tk_open_file));
            if (files == NULL)
                return -1;
            positions->files = files;
            positions->capacity *= 2;
        }
        file = positions->count++;
    }
    positions->files[file] = (tk_open_file){.position = position, .path = path, .appending = appending};
    return file;
}

/* Let a key lead to a file; the one it led to is free when no other leads there. */
static int lead(tk_positions *positions, const tk_open_key *key, int32_t file)
{
    if (make_room(positions) < 0)
        return -1;
    tk_open_key *place = place_of(positions->keys, positions->mask, key);
    if (place->kind) {
        tk_open_file *before = &positions->files[place->file];
        if (--before->uses == 0) {
            before->next = positions->free;
            positions->free = place->file;
        }
    } else {
        positions->used++;
    }
    *place = *key;
    place->file = file;
    positions->files[file].uses++;
    return 0;
}

static tk_open_key key_of(const tk_moves *moves, size_t at)
{
    bool named = moves->fd[at] == TK_NO_DESCRIPTOR;
    return (tk_open_key){named ? BY_NAME : BY_THREAD, moves->tid[at], named ? moves->path[at] : moves->fd[at], -1};
}

/* Workers of one rank may all have its number for a process, with descriptors of their own. */
static tk_open_key process_key_of(const tk_moves *moves, size_t at)
{
    return (tk_open_key){BY_PROCESS, moves->pid[at], moves->fd[at], -1};
}

static int opened(tk_positions *positions, const tk_moves *moves, size_t at)
{
    tk_open_key key = key_of(moves, at), other = process_key_of(moves, at);
    int32_t file = new_file(positions, moves->path[at], 0, moves->step[at] == TK_STEP_OPEN_APPENDING);
    if (file < 0 || lead(positions, &key, file) < 0)
        return -1;
    return key.kind == BY_THREAD ? lead(positions, &other, file) : 0;
}

static int32_t known_file(const tk_positions *positions, const tk_open_key *key, int64_t path)
{
    const tk_open_key *place = place_of(positions->keys, positions->mask, key);
    return place->kind && positions->files[place->file].path == path ? place->file : -1;
}

/* The open file that a call is about, one with no known position where its opening was not seen; -1 when there is no memory. */
static int32_t file_of(tk_positions *positions, const tk_moves *moves, size_t at)
{
    tk_open_key key = key_of(moves, at), other = process_key_of(moves, at);
    int32_t file = known_file(positions, &key, moves->path[at]);
    if (file < 0 && key.kind == BY_THREAD)
        file = known_file(positions, &other, moves->path[at]);
    if (file >= 0)
        return file;
    file = new_file(positions, moves->path[at], TK_POSITION_UNKNOWN, 0);
    return file < 0 || lead(positions, &key, file) < 0 ? -1 : file;
}

static int64_t moved(int64_t position, int64_t amount)
{
    int64_t sum;
    if (position < 0)
        return position;
    if (__builtin_add_overflow(position, amount, &sum))
        return TK_POSITION_BEYOND;
    return sum < 0 ? TK_POSITION_UNKNOWN : sum;
}

/* Follow calls in their order; -1 when there is no memory. */
int tk_positions_follow(tk_positions *positions, const tk_moves *moves)
{
    for (size_t at = 0; at < moves->count; at++) {
        int64_t step = moves->step[at];
        moves->start[at] = TK_POSITION_UNKNOWN;
        if (step == TK_STEP_NONE)
            continue;
        if (step == TK_STEP_OPEN || step == TK_STEP_OPEN_APPENDING) {
            if (opened(positions, moves, at) < 0)
                return -1;
            continue;
        }
        int32_t number = file_of(positions, moves, at);
        if (number < 0)
            return -1;
        tk_open_file *file = &positions->files[number];
        if (step == TK_STEP_WRITE && file->appending)
            file->position = TK_POSITION_UNKNOWN; /* it goes to the end, wherever that is */
        if (step == TK_STEP_READ || step == TK_STEP_WRITE)
            moves->start[at] = file->position;
        if (step == TK_STEP_SET)
            file->position = moves->amount[at];
        else if (step != TK_STEP_TOUCH)
            file->position = moved(file->position, moves->amount[at]);
    }
    return 0;
}
