/* The generator: `concurrency` SMTP clients, each sending `per_connection` messages on a connection. */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define GIVE_UP_CONNECTING 1000

static Connection *clients;

static int time_is_up(void)
{
    return options.seconds > 0 && now() - tally.first_start >= options.seconds;
}

static int may_send(void)
{
    if (tally.next >= options.count || time_is_up())
        return 0;
    return options.rate <= 0 || now() >= tally.first_start + tally.next / options.rate;
}

static void end_message(Connection *c, int accepted)
{
    if (c->message < 0)
        return;
    tally.finished++;
    tally.accepted += accepted;
    records[c->message].accepted = accepted;
    c->message = -1;
}

static void hang_up(Connection *c)
{
    end_connection(c);
    c->state = IDLE;
    c->in_length = c->out_length = c->out_sent = 0;
    c->body = NULL;
    c->body_length = c->body_sent = 0;
    end_message(c, 0);
}

static void send_all(Connection *c)
{
    int state = flush(c);
    if (state < 0) {
        tally.failed_connections++;
        hang_up(c);
    } else if (state == 1 && c->state == BODY) {
        records[c->message].dotted = now();
        c->state = DOT;
    }
}

static void say(Connection *c, const char *line)
{
    queue(c, line, strlen(line));
    send_all(c);
}

static void open_connection(Connection *c)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("socket");
    if (options.source_count) {
        struct sockaddr_in *source = &options.sources[c->source++ % options.source_count];
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)source, sizeof *source))
            die("bind to a source address");
    }
    if (connect(fd, (struct sockaddr *)&options.target, sizeof options.target) && errno != EINPROGRESS) {
        tally.failed_connections++;
        close(fd);
        return;
    }
    c->left = options.per_connection;
    c->pipelining = 0;
    c->state = CONNECTING;
    watch(c, fd);
}

static void queue_recipient(Connection *c, int number)
{
    char line[256];
    int n = snprintf(line, sizeof line, "RCPT TO:<u%d.%d@%s>\r\n", c->message % 100, number, options.recipient_domain);
    queue(c, line, n);
}

static void start_message(Connection *c)
{
    if (c->left <= 0 || !may_send()) {
        int waits_for_its_turn = c->left > 0 && options.rate > 0 && tally.next < options.count && !time_is_up();
        c->state = waits_for_its_turn ? READY : QUIT;
        if (c->state == QUIT)
            say(c, "QUIT\r\n");
        return;
    }
    c->message = tally.next++;
    c->left--;
    c->replies = 0;
    c->state = MAIL;
    records[c->message].started = now();
    char line[256];
    int n = snprintf(line, sizeof line, "MAIL FROM:<%s>\r\n", mails[c->message % mail_count].sender);
    queue(c, line, n);
    if (c->pipelining) {
        for (int i = 0; i < options.recipients; i++)
            queue_recipient(c, i);
        queue(c, "DATA\r\n", 6);
    }
    send_all(c);
}

static void start_body(Connection *c)
{
    const Mail *mail = &mails[c->message % mail_count];
    char line[64];
    int n = snprintf(line, sizeof line, TRACE_FIELD "%08d\r\n", c->message);
    queue(c, line, n);
    c->body = mail->wire;
    c->body_length = mail->wire_length;
    c->state = BODY;
    send_all(c);
}

static void note_refusal(const char *line, size_t length)
{
    *(line[0] == '4' ? &tally.deferred : &tally.refused) += 1;
    if (tally.refusal[0])
        return;
    size_t kept = 0;
    for (size_t i = 0; i < length && kept < sizeof tally.refusal - 1; i++)
        if (line[i] >= ' ' && line[i] < 127 && line[i] != '"' && line[i] != '\\')
            tally.refusal[kept++] = line[i];
}

static void on_reply(Connection *c, const char *line, size_t length)
{
    int positive = line[0] == '2' || line[0] == '3';
    if (!positive && c->state != QUIT)
        note_refusal(line, length);
    if (c->state == DOT) {
        if (positive)
            records[c->message].replied = tally.last_reply = now();
        end_message(c, positive);
        start_message(c);
        return;
    }
    if (!positive || c->state == QUIT) {
        hang_up(c);
        return;
    }
    switch (c->state) {
    case BANNER:
        c->state = HELLO;
        say(c, "EHLO mail.s00.example.com\r\n");
        break;
    case HELLO:
        if (options.tls && !c->tls) {
            c->state = STARTTLS;
            say(c, "STARTTLS\r\n");
        } else {
            start_message(c);
        }
        break;
    case STARTTLS:
        start_tls(c);
        c->pipelining = 0;
        c->state = HELLO;
        say(c, "EHLO mail.s00.example.com\r\n");
        break;
    case MAIL:
        c->state = RCPT;
        if (!c->pipelining) {
            queue_recipient(c, 0);
            send_all(c);
        }
        break;
    case RCPT:
        if (++c->replies == options.recipients)
            c->state = DATA;
        if (!c->pipelining) {
            if (c->state == DATA)
                queue(c, "DATA\r\n", 6);
            else
                queue_recipient(c, c->replies);
            send_all(c);
        }
        break;
    case DATA:
        start_body(c);
        break;
    default:
        break;
    }
}

void client_event(Connection *c, int events)
{
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error) {
            tally.failed_connections++;
            hang_up(c);
            return;
        }
        if (!(events & EPOLLOUT))
            return;
        c->state = BANNER;
    }
    if (events & EPOLLOUT || c->tls)
        send_all(c);
    if (c->fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    int state = receive(c, 65536);
    if (state < 0) {
        tally.failed_connections += c->state != QUIT;
        hang_up(c);
    }
    size_t read = 0;
    char *end;
    while (state == 1 && c->fd >= 0 && (end = memchr(c->in + read, '\n', c->in_length - read))) {
        char *line = c->in + read;
        size_t length = end - line;
        read += length + 1;
        if (c->state == HELLO && length >= 14 && !strncasecmp(line + 4, "PIPELINING", 10))
            c->pipelining = 1;
        if (length < 4 || line[3] != '-')
            on_reply(c, line, length);
    }
    if (c->fd >= 0)
        consume(c, read);
}

void clients_start(void)
{
    clients = calloc(options.concurrency ? options.concurrency : 1, sizeof *clients);
    for (int i = 0; i < options.concurrency; i++)
        clients[i] = (Connection){.role = CLIENT, .fd = -1, .message = -1, .source = i};
}

int clients_step(void)
{
    int busy = 0;
    for (int i = 0; i < options.concurrency; i++) {
        Connection *c = &clients[i];
        if (c->state == IDLE && tally.failed_connections < GIVE_UP_CONNECTING && may_send())
            open_connection(c);
        else if (c->state == READY && (may_send() || tally.next >= options.count || time_is_up()))
            start_message(c);
        busy += c->state != IDLE;
    }
    return busy;
}

int sending_is_over(int busy)
{
    return !busy && (tally.next >= options.count || time_is_up() || tally.failed_connections >= GIVE_UP_CONNECTING);
}
