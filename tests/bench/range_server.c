/* A fast range server for benchmarks: every object is the same 4 MiB, nothing is signed. Prints its port and serves until killed.
 *
 *     cc -O2 -pthread -o range_server range_server.c && ./range_server [THREADS]
 *     cc -O2 -pthread -DTLS -o range_server range_server.c -lssl -lcrypto && ./range_server THREADS KEY_AND_CHAIN
 *
 * One epoll loop a thread, each with a listening socket of its own on the same port (SO_REUSEPORT), so that the server takes
 * little of what is measured: about 10 microseconds of CPU for 4 KiB. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/ssl.h>

static SSL_CTX *context;
#endif

enum { OBJECT = 1 << 22, HEAD = 16384, EVENTS = 64, CONNECTIONS = 65536 };

static char body[OBJECT];
static struct waiting {
    int count;
#ifdef TLS
    SSL *tls;
#endif
    char bytes[HEAD];
} *waiting[CONNECTIONS];

static int listening(uint16_t port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1024)) {
        perror("range_server");
        exit(1);
    }
    return fd;
}

#ifdef TLS
static ssize_t receive(int fd, char *into, int room)
{
    return SSL_read(waiting[fd]->tls, into, room);
}

static int send_all(int fd, struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++)
        if (parts[i].iov_len && SSL_write(waiting[fd]->tls, parts[i].iov_base, (int)parts[i].iov_len) <= 0)
            return -1;
    return 0;
}

static void begin(int fd)
{
    waiting[fd]->tls = SSL_new(context);
    SSL_set_fd(waiting[fd]->tls, fd);
    SSL_accept(waiting[fd]->tls);
}

static void end(int fd)
{
    SSL_free(waiting[fd]->tls);
}
#else
static ssize_t receive(int fd, char *into, int room)
{
    return read(fd, into, (size_t)room);
}

static void begin(int fd)
{
    (void)fd;
}

static void end(int fd)
{
    (void)fd;
}

static int send_all(int fd, struct iovec *parts, int count)
{
    while (count) {
        ssize_t sent = writev(fd, parts, count);
        if (sent < 0)
            return -1;
        while (count && (size_t)sent >= parts->iov_len) {
            sent -= (ssize_t)parts->iov_len;
            parts++, count--;
        }
        if (count) {
            parts->iov_base = (char *)parts->iov_base + sent;
            parts->iov_len -= (size_t)sent;
        }
    }
    return 0;
}
#endif

static int answer(int fd, const char *head, const char *end)
{
    static const char common[] = "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nETag: \"0\"\r\n";
    char text[512];
    long first = 0, last = OBJECT - 1;
    int ranged = 0, is_head = !strncmp(head, "HEAD", 4), length;
    for (const char *line = head; line && line < end; line = strstr(line, "\r\n")) {
        line += line == head ? 0 : 2;
        if (!strncasecmp(line, "range:", 6))
            ranged = sscanf(line + 6, " bytes=%ld-%ld", &first, &last) >= 1;
        else if (!strncasecmp(line, "x-ms-range:", 11))
            ranged = sscanf(line + 11, " bytes=%ld-%ld", &first, &last) >= 1;
    }
    if (last >= OBJECT)
        last = OBJECT - 1;
    if (ranged && first > last)
        length = sprintf(text, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n");
    else if (ranged)
        length = sprintf(text, "HTTP/1.1 206 Partial Content\r\nContent-Length: %ld\r\nContent-Range: bytes %ld-%ld/%d\r\n%s\r\n",
                         last - first + 1, first, last, OBJECT, common);
    else
        length = sprintf(text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n", OBJECT, common);
    int with_body = !is_head && first <= last;
    struct iovec parts[] = {{text, (size_t)length}, {body + first, with_body ? (size_t)(last - first + 1) : 0}};
    return send_all(fd, parts, with_body ? 2 : 1);
}

static int serve(int fd)
{
    struct waiting *mine = waiting[fd];
    ssize_t got = receive(fd, mine->bytes + mine->count, HEAD - 1 - mine->count);
    if (got <= 0)
        return -1;
    mine->count += (int)got;
    mine->bytes[mine->count] = 0;
    char *at = mine->bytes, *end;
    while ((end = strstr(at, "\r\n\r\n"))) {
        if (answer(fd, at, end))
            return -1;
        at = end + 4;
    }
    mine->count -= (int)(at - mine->bytes);
    memmove(mine->bytes, at, (size_t)mine->count);
    return 0;
}

static void *loop(void *listener)
{
    int door = *(int *)listener, one = 1, poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = door}, events[EVENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, door, &event);
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == door) {
                int client = accept4(door, NULL, NULL, SOCK_CLOEXEC);
                if (client < 0 || client >= CONNECTIONS)
                    continue;
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                waiting[client] = calloc(1, sizeof *waiting[client]);
                begin(client);
                event.data.fd = client;
                epoll_ctl(poll, EPOLL_CTL_ADD, client, &event);
            } else if (serve(fd)) {
                end(fd);
                free(waiting[fd]);
                close(fd);
            }
        }
    }
    return NULL;
}

int main(int count, char **words)
{
    int threads = count > 1 ? atoi(words[1]) : 1, doors[64];
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    for (int i = 0; i < OBJECT; i++)
        body[i] = (char)i;
#ifdef TLS
    context = SSL_CTX_new(TLS_server_method());
    if (count < 3 || SSL_CTX_use_certificate_chain_file(context, words[2]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, words[2], SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "range_server: no key and certificate\n");
        return 1;
    }
#endif
    doors[0] = listening(0);
    getsockname(doors[0], (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (int i = 1; i < threads && i < 64; i++) {
        pthread_t thread;
        doors[i] = listening(ntohs(at.sin_port));
        pthread_create(&thread, NULL, loop, &doors[i]);
    }
    loop(&doors[0]);
}
