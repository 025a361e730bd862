/* See ranged.h. Only what follows from an answer's own head is decided here: which status is a success is for who asks. */
#define _GNU_SOURCE
#include "ranged.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "pace.h"

enum { PIECE = 1 << 16, MOST_HEAD = 16384, PARTIAL = 206, LINE = 64 };

struct reader {
    int fd;
    int64_t deadline;
    int (*again)(void *);
    void *context;
    tk_answer *answer;
    size_t at, have; /* what of `bytes` was received and not taken yet */
    char bytes[PIECE];
};

/* Wait for an event; 0, or an errno. */
static int wait_for(struct reader *reader, short event)
{
    struct pollfd one = {.fd = reader->fd, .events = event};
    for (;;) {
        int64_t left = reader->deadline - tk_now_ns();
        if (left <= 0)
            return ETIMEDOUT;
        struct timespec time = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        int ready = ppoll(&one, 1, &time, NULL);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return errno;
        if (ready < 0 && reader->again(reader->context))
            return EINTR;
    }
}

static int send_all(struct reader *reader, const char *request, size_t size)
{
    while (size) {
        ssize_t sent = send(reader->fd, request, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            request += sent;
            size -= (size_t)sent;
            continue;
        }
        int error = errno == EAGAIN ? wait_for(reader, POLLOUT) : errno == EINTR ? 0 : errno;
        if (error)
            return error;
    }
    return 0;
}

/* Receive some bytes, at least one; how many, 0 at the end of the connection and where an error was noted. */
static size_t receive(struct reader *reader, char *into, size_t room)
{
    for (;;) {
        ssize_t got = recv(reader->fd, into, room, MSG_DONTWAIT);
        if (got > 0) {
            if (!reader->answer->first_byte)
                reader->answer->first_byte = tk_now_ns();
            return (size_t)got;
        }
        if (got == 0) {
            reader->answer->ended = 1;
            return 0;
        }
        int error = errno == EAGAIN ? wait_for(reader, POLLIN) : errno == EINTR ? 0 : errno;
        if (error) {
            reader->answer->error = error;
            return 0;
        }
    }
}

/* Whether there are bytes to take. */
static int filled(struct reader *reader)
{
    if (reader->at < reader->have)
        return 1;
    reader->at = 0;
    reader->have = receive(reader, reader->bytes, PIECE);
    return reader->have > 0;
}

/* Where the head ends in what was received; NULL where it does not come. */
static const char *head_end(struct reader *reader)
{
    size_t searched = 0;
    for (;;) {
        size_t from = searched > 3 ? searched - 3 : 0;
        const char *end = memmem(reader->bytes + from, reader->have - from, "\r\n\r\n", 4);
        if (end)
            return end + 4;
        searched = reader->have;
        if (searched >= MOST_HEAD) {
            reader->answer->error = EPROTO;
            return NULL;
        }
        size_t got = receive(reader, reader->bytes + reader->have, MOST_HEAD - reader->have);
        if (!got)
            return NULL;
        reader->have += got;
    }
}

/* What stands behind a header's name, up to the end of its line; NULL where it is another. */
static const char *value_of(const char *line, const char *end, const char *name)
{
    size_t size = strlen(name);
    if ((size_t)(end - line) <= size || strncasecmp(line, name, size) != 0 || line[size] != ':')
        return NULL;
    line += size + 1;
    while (line < end && (*line == ' ' || *line == '\t'))
        line++;
    return line;
}

/* A decimal number of up to 18 digits; -1 where there is none. */
static int64_t number_at(const char *text, const char *end)
{
    int64_t number = 0;
    int digits = 0;
    for (; text < end && *text >= '0' && *text <= '9' && digits < 18; text++, digits++)
        number = number * 10 + (*text - '0');
    return digits ? number : -1;
}

struct head {
    int64_t length; /* of the body; -1: it does not say */
    int chunked, closes;
};

/* 0 where it is no head of HTTP/1. */
static int parse(const char *text, const char *end, tk_answer *answer, struct head *head)
{
    if (end - text < 12 || strncmp(text, "HTTP/1.", 7) != 0)
        return 0;
    answer->status = (int)number_at(text + 9, text + 12);
    *head = (struct head){.length = -1, .closes = text[7] == '0'};
    const char *line = memmem(text, (size_t)(end - text), "\r\n", 2);
    while (line && (line += 2) < end - 2) {
        const char *value, *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        if ((value = value_of(line, stop, "Content-Length")))
            head->length = number_at(value, stop);
        else if ((value = value_of(line, stop, "Transfer-Encoding")))
            head->chunked = (size_t)(stop - value) >= 7 && strncasecmp(stop - 7, "chunked", 7) == 0;
        else if ((value = value_of(line, stop, "Connection")))
            head->closes = head->closes || strncasecmp(value, "close", 5) == 0;
        else if ((value = value_of(line, stop, "Content-Range")) && !strncasecmp(value, "bytes ", 6))
            answer->first = number_at(value + 6, stop);
        line = stop;
    }
    return answer->status >= 100;
}

struct target {
    char *into;
    size_t room;
};

/* Hand on bytes of the body; 0 where there is no room for them. */
static int deliver(struct reader *reader, struct target *target, const char *bytes, size_t size)
{
    tk_answer *answer = reader->answer;
    answer->count += (int64_t)size;
    if (answer->status != PARTIAL) {
        size_t fits = TK_TEXT - answer->kept < size ? TK_TEXT - answer->kept : size;
        memcpy(answer->text + answer->kept, bytes, fits);
        answer->kept += fits;
        return 1;
    }
    if (!target->into)
        return 1;
    if (size > target->room) {
        answer->error = EMSGSIZE;
        return 0;
    }
    memcpy(target->into, bytes, size);
    target->into += size;
    target->room -= size;
    return 1;
}

/* Take `left` bytes of the body; whether all came. Where they have a place of their own they are received there. */
static int take(struct reader *reader, struct target *target, uint64_t left)
{
    while (left) {
        if (reader->at == reader->have && reader->answer->status == PARTIAL && target->into && left <= target->room) {
            size_t got = receive(reader, target->into, left);
            if (!got)
                return 0;
            reader->answer->count += (int64_t)got;
            target->into += got;
            target->room -= got;
            left -= got;
            continue;
        }
        if (!filled(reader))
            return 0;
        size_t size = reader->have - reader->at < left ? reader->have - reader->at : left;
        if (!deliver(reader, target, reader->bytes + reader->at, size))
            return 0;
        reader->at += size;
        left -= size;
    }
    return 1;
}

/* A line up to its LF, without either end; its length, -1 where it does not come or is too long. */
static int line_of(struct reader *reader, char *line)
{
    for (int size = 0; size < LINE;) {
        if (!filled(reader))
            return -1;
        char byte = reader->bytes[reader->at++];
        if (byte == '\n') {
            line[size] = 0;
            return size;
        }
        if (byte != '\r')
            line[size++] = byte;
    }
    reader->answer->error = EPROTO;
    return -1;
}

/* A body in chunks (RFC 9112, 7.1); whether it was whole. */
static int take_chunks(struct reader *reader, struct target *target)
{
    char line[LINE], *end;
    for (;;) {
        if (line_of(reader, line) < 0)
            return 0;
        unsigned long long size = strtoull(line, &end, 16);
        if (end == line) {
            reader->answer->error = EPROTO;
            return 0;
        }
        if (size == 0)
            break;
        if (!take(reader, target, size) || line_of(reader, line) != 0)
            return 0;
    }
    for (int size = 1; size > 0;)
        if ((size = line_of(reader, line)) < 0)
            return 0;
    return 1;
}

/* The answer to a request that was sent. */
static void read_answer(struct reader *reader, struct target *target)
{
    tk_answer *answer = reader->answer;
    struct head head;
    const char *end = head_end(reader);
    if (!end)
        return;
    reader->at = (size_t)(end - reader->bytes);
    if (!parse(reader->bytes, end, answer, &head)) {
        answer->error = EPROTO;
        return;
    }
    if (answer->status != PARTIAL) {
        answer->kept = reader->at < TK_TEXT ? reader->at : TK_TEXT;
        memcpy(answer->text, reader->bytes, answer->kept);
        if (answer->status < 300)
            return; /* the whole object, which nobody asked for */
    }
    int whole;
    if (head.chunked)
        whole = take_chunks(reader, target);
    else if (head.length >= 0)
        whole = take(reader, target, (uint64_t)head.length);
    else {
        take(reader, target, UINT64_MAX); /* to the end of the connection */
        answer->ended = 0;
        return;
    }
    answer->keep = whole && !head.closes && reader->at == reader->have;
}

void tk_ranged_get(int fd, const char *request, size_t size, int64_t deadline, char *into, size_t room,
                   int (*again)(void *), void *context, tk_answer *answer)
{
    struct reader reader; /* its 64 KiB are not cleared */
    struct target target = {into, room};
    char byte;
    reader.fd = fd;
    reader.deadline = deadline;
    reader.again = again;
    reader.context = context;
    reader.answer = answer;
    reader.at = reader.have = 0;
    memset(answer, 0, offsetof(tk_answer, text));
    answer->first = -1;
    ssize_t waiting = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    answer->submitted = tk_now_ns();
    if (waiting >= 0 || (errno != EAGAIN && errno != EINTR)) {
        answer->stale = 1;
        answer->completed = answer->submitted;
        return;
    }
    answer->error = send_all(&reader, request, size);
    if (!answer->error)
        read_answer(&reader, &target);
    answer->completed = tk_now_ns();
}
