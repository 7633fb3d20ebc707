/* The sink: a backend that takes everything, counts it and compares it with what was sent. */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY_TO_DOT "250 2.0.0 counted\r\n"

static void answer(Connection *c, const char *line)
{
    queue(c, line, strlen(line));
}

static Connection *first_due, *last_due; /* in the order of time: the delay is the same for all */

static void drop(Connection *c)
{
    close(c->fd);
    c->fd = -1;
    if (c->due > 0) /* freed when its reply would be due */
        return;
    free(c->in);
    free(c->out);
    free(c);
}

static void dump(const char *message, size_t length)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%05d.eml", options.dump_directory, tally.sink_transactions);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(message, 1, length, file) != length || fclose(file))
        die(path);
}

static void count_message(const char *message, size_t length, int recipients)
{
    tally.sink_transactions++;
    tally.sink_recipients += recipients;
    if (tally.sink_transactions <= options.dump_count)
        dump(message, length);
    const char *header_end = memmem(message, length, "\r\n\r\n", 4);
    const char *trace = memmem(message, length, TRACE_FIELD, strlen(TRACE_FIELD));
    int id = trace && header_end && trace < header_end ? atoi(trace + strlen(TRACE_FIELD)) : -1;
    if (id < 0 || id >= options.count) {
        tally.foreign++;
        return;
    }
    double arrived = now();
    tally.last_arrival = arrived;
    if (tally.first_arrival == 0)
        tally.first_arrival = arrived;
    Record *record = &records[id];
    if (record->copies == 0) {
        tally.delivered++;
        record->arrived = arrived;
    }
    record->copies += recipients;
    tally.doubled += record->copies > options.recipients;
    const char *original = (char *)memchr(trace, '\n', message + length - trace) + 1;
    if (digest(original, message + length - original) == mails[id % mail_count].digest)
        tally.exact++;
    else
        tally.altered++;
}

/* Takes one message if it is complete; returns the octets used up. */
static size_t take_data(Connection *c, size_t start)
{
    char *message = c->in + start;
    size_t length = c->in_length - start;
    char *dot;
    if (length >= 3 && !memcmp(message, ".\r\n", 3)) {
        dot = message;
    } else {
        size_t from = c->scanned > start + 4 ? c->scanned - 4 : start;
        char *end = memmem(c->in + from, c->in_length - from, "\r\n.\r\n", 5);
        if (!end) {
            c->scanned = c->in_length;
            return 0;
        }
        dot = end + 2;
    }
    count_message(message, dot - message, c->recipients);
    c->in_data = c->recipients = 0;
    if (options.sink_delay > 0) {
        c->due = now() + options.sink_delay;
        c->after = NULL;
        if (first_due)
            last_due->after = c;
        else
            first_due = c;
        last_due = c;
    } else {
        answer(c, REPLY_TO_DOT);
    }
    return dot + 3 - message;
}

/* Answers one command; returns 1 after QUIT. */
static int take_command(Connection *c, const char *line)
{
    switch (line[0] & ~32) {
    case 'E':
        answer(c, "250-sink\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n"
                  "250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8\r\n");
        return 0;
    case 'D':
        answer(c, "354 go\r\n");
        c->in_data = 1;
        return 0;
    case 'Q':
        answer(c, "221 2.0.0 bye\r\n");
        return 1;
    case 'R': /* RCPT or RSET */
        c->recipients = (line[1] & ~32) == 'C' ? c->recipients + 1 : 0;
        break;
    case 'M':
        c->recipients = 0;
        break;
    }
    answer(c, "250 2.0.0 Ok\r\n");
    return 0;
}

static void take_input(Connection *c)
{
    size_t used = 0;
    int quit = 0;
    while (used < c->in_length && !quit && c->due == 0) {
        size_t step;
        if (c->in_data) {
            step = take_data(c, used);
        } else {
            char *end = memchr(c->in + used, '\n', c->in_length - used);
            step = end ? end + 1 - (c->in + used) : 0;
            if (end) {
                quit = take_command(c, c->in + used);
                c->scanned = used + step;
            }
        }
        if (step == 0)
            break;
        used += step;
    }
    consume(c, used);
    flush(c);
    if (quit)
        drop(c);
}

void sink_event(Connection *c, int events)
{
    if (events & EPOLLOUT)
        flush(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    int state = receive(c, 65536);
    if (state < 0)
        drop(c);
    if (state == 1)
        take_input(c);
}

int sink_step(void)
{
    while (first_due && first_due->due <= now()) {
        Connection *c = first_due;
        first_due = c->after;
        c->due = 0;
        if (c->fd < 0) {
            free(c->in);
            free(c->out);
            free(c);
            continue;
        }
        answer(c, REPLY_TO_DOT);
        take_input(c);
    }
    return first_due != NULL;
}

void sink_accept(Connection *listener)
{
    int fd;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        Connection *c = calloc(1, sizeof *c);
        c->role = SINK;
        tally.sink_connections++;
        watch(c, fd);
        answer(c, "220 sink ESMTP\r\n");
        flush(c);
    }
}

void sink_listen(void)
{
    static Connection listener = {.role = LISTENER};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&options.sink, sizeof options.sink) || listen(fd, 4096))
        die("bind the sink");
    watch(&listener, fd);
}
