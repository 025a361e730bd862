#define _GNU_SOURCE
#include "compile.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"

enum { FIRST_PEOPLE = 64, UNKNOWN = 9 };
static const int64_t MAX_READ = 0x7FFFF000; /* tracekit.storage.base.MAX_READ_BYTES */

/* -- who -- */

int tk_people_open(tk_people *people)
{
    *people = (tk_people){.capacity = FIRST_PEOPLE, .mask = 4 * FIRST_PEOPLE - 1};
    people->known = malloc(FIRST_PEOPLE * sizeof *people->known);
    people->slots = calloc(4 * FIRST_PEOPLE, sizeof *people->slots);
    return people->known && people->slots ? 0 : ENOMEM;
}

void tk_people_close(tk_people *people)
{
    free(people->known);
    free(people->slots);
    *people = (tk_people){0};
}

static uint32_t place_of(const tk_people *people, const int32_t *who)
{
    uint64_t hash = 0x9E3779B97F4A7C15ULL;
    for (int i = 0; i < TK_IDENTITIES; i++) {
        hash = (hash ^ (uint32_t)who[i]) * 0xD6E8FEB86659FD93ULL;
        hash ^= hash >> 32;
    }
    uint32_t at = (uint32_t)hash & people->mask;
    while (people->slots[at] && memcmp(people->known[people->slots[at] - 1], who, sizeof people->known[0]) != 0)
        at = (at + 1) & people->mask;
    return at;
}

static int grow(tk_people *people)
{
    int32_t (*known)[TK_IDENTITIES] = realloc(people->known, 2 * (size_t)people->capacity * sizeof *known);
    int32_t *slots = calloc(2 * ((size_t)people->mask + 1), sizeof *slots);
    if (known)
        people->known = known;
    if (!known || !slots) {
        free(slots);
        return ENOMEM;
    }
    free(people->slots);
    people->slots = slots;
    people->mask = 2 * people->mask + 1;
    people->capacity *= 2;
    for (int32_t i = 0; i < people->count; i++)
        people->slots[place_of(people, people->known[i])] = i + 1;
    return 0;
}

/* The number of a combination, which is added if it is new; -1 when there is no memory. */
static int32_t number_of(tk_people *people, const int32_t *who, int32_t last)
{
    if (last >= 0 && memcmp(people->known[last], who, sizeof people->known[0]) == 0)
        return last;
    uint32_t at = place_of(people, who);
    if (people->slots[at])
        return people->slots[at] - 1;
    if (people->count == people->capacity) {
        if (grow(people))
            return -1;
        at = place_of(people, who);
    }
    memcpy(people->known[people->count], who, sizeof people->known[0]);
    people->slots[at] = ++people->count;
    return people->count - 1;
}

/* -- columns to rows -- */

static inline int64_t wide(const int64_t *column, int64_t i)
{
    return column ? column[i] : -1;
}

static inline int32_t narrow(const int32_t *column, int64_t i)
{
    return column ? column[i] : -1;
}

/* 0, or ENOMEM. */
int tk_compile_rows(tk_people *people, const tk_piece *piece)
{
    int32_t last = -1;
    for (int64_t i = 0; i < piece->count; i++) {
        tk_row *row = &piece->rows[i];
        int32_t who[TK_IDENTITIES];
        for (int k = 0; k < TK_IDENTITIES; k++)
            who[k] = narrow(piece->identity[k], i);
        last = number_of(people, who, last);
        if (last < 0)
            return ENOMEM;
        *row = (tk_row){.t_submit = piece->t_submit[i], .t_complete = wide(piece->t_complete, i), .offset = wide(piece->offset, i),
                        .len = piece->len[i], .ret = wide(piece->ret, i), .sample_id = wide(piece->sample_id, i),
                        .uri = piece->uri[i], .who = last, .epoch = narrow(piece->epoch, i), .step = narrow(piece->step, i),
                        .op = piece->op[i], .kind = (uint8_t)piece->kinds[piece->op[i]], .failed = narrow(piece->err, i) != -1};
    }
    return 0;
}

/* -- what the rows want -- */

static inline int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* A sum of two sizes or places; what is more than a number can say is the largest one. */
static inline int64_t sum_of(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static inline int64_t end_of(const tk_row *row)
{
    return most(row->t_submit, row->t_complete);
}

static inline bool changes(int kind)
{
    return kind == TK_FSYNC || kind == TK_WRITE || kind == TK_DELETE;
}

static inline bool looks(int kind)
{
    return kind == TK_READ || kind == TK_MMAP;
}

/* tracekit.histogram.bucket_of. */
static inline int64_t bucket_of(int64_t value)
{
    int bits = value ? 64 - __builtin_clzll((uint64_t)value) : 0, shift = bits > 8 ? bits - 8 : 0;
    return shift * 128 + (value >> shift);
}

static void add_to_stream(tk_survey *all, const tk_row *row, int32_t stream)
{
    int64_t end = end_of(row);
    all->overlaps += row->t_submit < all->last_end[stream];
    all->last_end[stream] = end;
    all->ops[stream]++;
    all->start[stream] = least(all->start[stream], row->t_submit);
    all->end[stream] = most(all->end[stream], end);
    if (row->kind == TK_READ || row->kind == TK_WRITE) {
        all->largest[stream] = most(all->largest[stream], least(row->len, MAX_READ));
        all->touched[stream] = most(all->touched[stream], row->ret >= 0 ? row->ret : row->len);
    }
    if (all->who[stream] == -1)
        all->who[stream] = row->who;
}

static void add_to_file(tk_survey *all, const tk_row *row, int64_t number)
{
    int32_t file = row->uri;
    if (changes(row->kind)) {
        all->first_change[file] = least(all->first_change[file], number);
    } else if (!row->failed) {
        all->used[file] = 1;
    }
    if (looks(row->kind) && !row->failed) {
        int64_t ret = row->kind == TK_READ ? row->ret : -1, moved = ret == -1 ? row->len : ret;
        all->first_use[file] = least(all->first_use[file], number);
        if (row->offset != -1 && moved > 0)
            all->extent[file] = most(all->extent[file], sum_of(row->offset, moved));
    }
    if (row->kind == TK_LIST)
        all->listed[file] = 1;
    if (row->kind == TK_WRITE && row->offset == -1)
        all->appended = sum_of(all->appended, row->len);
    else if (row->kind == TK_WRITE)
        all->written[file] = most(all->written[file], sum_of(row->offset, row->len));
}

/* -- ops in flight: a heap of when they end -- */

static void push(int64_t *heap, int64_t count, int64_t end)
{
    int64_t at = count;
    for (; at > 0 && heap[(at - 1) / 2] > end; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = end;
}

static void pop(int64_t *heap, int64_t count)
{
    int64_t last = heap[count - 1], at = 0, child;
    for (; (child = 2 * at + 1) < count - 1; at = child) {
        child += child + 1 < count - 1 && heap[child + 1] < heap[child];
        if (heap[child] >= last)
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
}

/* An op that ends as the next begins does not overlap it, and one that took no time overlaps nothing. */
static void add_in_flight(tk_survey *all, const tk_row *row)
{
    int64_t end = end_of(row);
    while (all->in_flight && all->running[0] <= row->t_submit)
        pop(all->running, all->in_flight--);
    all->busy += end - row->t_submit;
    if (end > row->t_submit)
        push(all->running, all->in_flight++, end);
    all->most_in_flight = most(all->most_in_flight, all->in_flight);
}

/* Count a block of rows, in the order of time. */
void tk_compile_survey(tk_survey *all)
{
    for (int64_t i = 0; i < all->count; i++) {
        const tk_row *row = &all->rows[i];
        add_to_stream(all, row, all->streams[i]);
        add_to_file(all, row, all->first + i);
        add_in_flight(all, row);
        if (all->last >= 0)
            all->gaps[bucket_of(row->t_submit - all->last)]++;
        all->last = row->t_submit;
        all->held += (row->kind == TK_OPEN) - (row->kind == TK_CLOSE);
        all->most_held = most(all->most_held, all->held);
        all->kinds |= 1LL << row->kind;
        all->untimed += row->t_complete == -1;
        all->without_offset += looks(row->kind) && row->offset == -1;
        if (row->kind == TK_MMAP) {
            all->mappings++;
            all->mapped = sum_of(all->mapped, row->len);
        }
    }
}

/* -- stream by stream -- */

static int64_t time_of(tk_deal *deal, const tk_row *row, int32_t stream)
{
    int64_t ahead = deal->ended[stream], pause = ahead ? most(row->t_submit - (ahead - 1), 0) : deal->leads[stream];
    deal->ended[stream] = end_of(row) + 1;
    if (deal->pace == TK_ASAP)
        return 0;
    int64_t time = deal->pace == TK_THINK ? pause : row->t_submit - deal->origin;
    return deal->speed == 1.0 ? time : (int64_t)nearbyint((double)time / deal->speed);
}

static int put(int fd, const tk_op *ops, int64_t count, int64_t place)
{
    const char *data = (const char *)ops;
    size_t left = (size_t)count * sizeof *ops;
    off_t at = (off_t)(place * (int64_t)sizeof *ops);
    while (left) {
        ssize_t written = pwrite(fd, data, left, at);
        if (written < 0 && errno != EINTR)
            return errno;
        if (written > 0) {
            data += written;
            left -= (size_t)written;
            at += written;
        }
    }
    return 0;
}

/* Put a block of rows behind the ops that their streams have so far; the errno when the file cannot be written. */
int tk_compile_deal(tk_deal *deal)
{
    int64_t *begin = calloc((size_t)deal->stream_count + 1, sizeof *begin);
    tk_op *ops = malloc((size_t)(deal->count > 0 ? deal->count : 1) * sizeof *ops);
    int error = begin && ops ? 0 : ENOMEM;
    for (int64_t i = 0; !error && i < deal->count; i++)
        begin[deal->streams[i] + 1]++;
    for (int64_t s = 0; !error && s < deal->stream_count; s++)
        begin[s + 1] += begin[s];
    for (int64_t i = 0; !error && i < deal->count; i++) {
        const tk_row *row = &deal->rows[i];
        int32_t stream = deal->streams[i];
        /* Behind this loop each begins where the next one did. */
        ops[begin[stream]++] = (tk_op){.time = time_of(deal, row, stream), .offset = row->offset,
                                       .length = (uint32_t)least(row->len, MAX_READ), .file = row->uri,
                                       .order = (uint32_t)(deal->first + i), .kind = row->kind,
                                       .flags = row->failed ? TK_EXPECTED : 0};
    }
    for (int64_t s = 0, from = 0; !error && s < deal->stream_count; from = begin[s++]) {
        error = begin[s] > from ? put(deal->fd, &ops[from], begin[s] - from, deal->next[s]) : 0;
        deal->next[s] += begin[s] - from;
    }
    free(begin);
    free(ops);
    return error;
}
