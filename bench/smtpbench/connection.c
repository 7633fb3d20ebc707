/* Buffers of a non-blocking connection. */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

extern int epoll_fd;

static void ask_for(Connection *c, int writable, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event))
        die("epoll_ctl");
    c->waits_to_write = writable;
}

void watch(Connection *c, int fd)
{
    int one = 1;
    c->fd = fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    ask_for(c, c->role == CLIENT, EPOLL_CTL_ADD);
}

void start_tls(Connection *c)
{ /* the handshake is made by the first reads and writes */
    static SSL_CTX *context;
    if (!context) {
        if (!(context = SSL_CTX_new(TLS_client_method())))
            die("TLS");
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    if (!(c->tls = SSL_new(context)) || !SSL_set_fd(c->tls, c->fd))
        die("TLS");
    SSL_set_connect_state(c->tls);
}

void end_connection(Connection *c)
{
    SSL_free(c->tls);
    c->tls = NULL;
    close(c->fd);
    c->fd = -1;
}

/* As send and recv; -1 with EAGAIN while the peer's part of TLS is awaited. */
static ssize_t tls_result(Connection *c, int n)
{
    if (n > 0)
        return n;
    int error = SSL_get_error(c->tls, n);
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return -1;
}

void queue(Connection *c, const char *octets, size_t length)
{
    if (c->out_length + length > c->out_size) {
        c->out_size = c->out_length + length + 4096;
        c->out = realloc(c->out, c->out_size);
    }
    memcpy(c->out + c->out_length, octets, length);
    c->out_length += length;
}

static int push(Connection *c, const char *octets, size_t length, size_t *sent, int flags)
{
    while (*sent < length) {
        ssize_t n = c->tls ? tls_result(c, SSL_write(c->tls, octets + *sent, length - *sent))
                           : send(c->fd, octets + *sent, length - *sent, MSG_NOSIGNAL | flags);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        *sent += n;
    }
    return 1;
}

int flush(Connection *c)
{
    int state = push(c, c->out, c->out_length, &c->out_sent, c->body ? MSG_MORE : 0);
    if (state == 1)
        state = push(c, c->body, c->body_length, &c->body_sent, 0);
    if (state == 1) {
        c->out_length = c->out_sent = 0;
        c->body = NULL;
        c->body_length = c->body_sent = 0;
    }
    int waits_to_write = state == 0 && !(c->tls && SSL_want_read(c->tls));
    if (state >= 0 && c->waits_to_write != waits_to_write)
        ask_for(c, waits_to_write, EPOLL_CTL_MOD);
    return state;
}

int receive(Connection *c, size_t room)
{
    if (c->in_size - c->in_length < room) {
        c->in_size = c->in_size * 2 + room;
        c->in = realloc(c->in, c->in_size);
    }
    ssize_t n = c->tls ? tls_result(c, SSL_read(c->tls, c->in + c->in_length, c->in_size - c->in_length))
                       : recv(c->fd, c->in + c->in_length, c->in_size - c->in_length, 0);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return -1;
    c->in_length += n;
    return 1;
}

void consume(Connection *c, size_t length)
{
    if (length == 0)
        return;
    memmove(c->in, c->in + length, c->in_length - length);
    c->in_length -= length;
    c->scanned = c->scanned > length ? c->scanned - length : 0;
}
