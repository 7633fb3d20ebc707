/* Options, messages, and the loop.
 *
 * smtpbench [--target HOST:PORT] [--sink HOST:PORT] [options] MESSAGE...
 * The paths of messages may also stand in a file, one a line: --messages FILE.
 * Without --target it is a sink only and leaves after --expect different messages. */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define SILENCE 30.0 /* seconds without any progress, after which a run is over */

Options options = {.count = 1000, .concurrency = 1, .per_connection = 10, .recipients = 1, .timeout = 120,
                   .recipient_domain = "rcpt.example.net"};
Tally tally;
Mail *mails;
int mail_count, epoll_fd;
Record *records;

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

void die(const char *what)
{
    perror(what);
    exit(2);
}

uint64_t digest(const char *octets, size_t length)
{ /* eight octets a step; strong enough to notice any alteration that is not made on purpose */
    uint64_t sum = length, word;
    for (; length >= sizeof word; octets += sizeof word, length -= sizeof word) {
        memcpy(&word, octets, sizeof word);
        sum = (sum ^ word) * 0xff51afd7ed558ccdULL;
        sum ^= sum >> 32;
    }
    for (; length; octets++, length--)
        sum = (sum ^ (unsigned char)*octets) * 0xc4ceb9fe1a85ec53ULL;
    return sum ^ (sum >> 29);
}

static void load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        die(path);
    size_t length = ftell(file);
    rewind(file);
    char *wire = malloc(length + 3);
    if (fread(wire, 1, length, file) != length)
        die(path);
    fclose(file);
    mails = realloc(mails, sizeof *mails * (mail_count + 1));
    Mail *mail = &mails[mail_count++];
    *mail = (Mail){.wire = wire, .wire_length = length + 3, .digest = digest(wire, length)};
    memcpy(wire + length, ".\r\n", 3);
    char *from = memmem(wire, length, "\r\nFrom: ", 8);
    char *open = from ? memchr(from, '<', wire + length - from) : NULL;
    char *close = open ? memchr(open, '>', sizeof mail->sender) : NULL;
    if (!close) {
        fprintf(stderr, "%s: no From with an address in angle brackets\n", path);
        exit(2);
    }
    memcpy(mail->sender, open + 1, close - open - 1);
}

static void load_listed(const char *path)
{
    char line[1024];
    FILE *file = fopen(path, "r");
    if (!file)
        die(path);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        load(line);
    }
    fclose(file);
}

static struct sockaddr_in address(const char *text)
{
    char host[64];
    int port = 0;
    struct sockaddr_in parsed = {.sin_family = AF_INET};
    if (sscanf(text, "%63[^:]:%d", host, &port) < 1 || inet_pton(AF_INET, host, &parsed.sin_addr) != 1) {
        fprintf(stderr, "%s: not an IPv4 address with a port\n", text);
        exit(2);
    }
    parsed.sin_port = htons(port);
    return parsed;
}

static void read_sources(char *list)
{
    for (char *word = strtok(list, ","); word && options.source_count < MAX_SOURCES; word = strtok(NULL, ","))
        options.sources[options.source_count++] = address(word);
}

static int read_option(const char *name, char *value)
{
    struct { const char *name; int *number; double *seconds; const char **text; } known[] = {
        {"--count", &options.count, NULL, NULL},
        {"--concurrency", &options.concurrency, NULL, NULL},
        {"--per-connection", &options.per_connection, NULL, NULL},
        {"--recipients", &options.recipients, NULL, NULL},
        {"--expect", &options.expect, NULL, NULL},
        {"--dump-count", &options.dump_count, NULL, NULL},
        {"--tls", &options.tls, NULL, NULL},
        {"--seconds", NULL, &options.seconds, NULL},
        {"--timeout", NULL, &options.timeout, NULL},
        {"--rate", NULL, &options.rate, NULL},
        {"--sink-delay", NULL, &options.sink_delay, NULL},
        {"--dump", NULL, NULL, &options.dump_directory},
        {"--recipient-domain", NULL, NULL, &options.recipient_domain},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name))
            continue;
        if (known[i].number)
            *known[i].number = atoi(value);
        else if (known[i].seconds)
            *known[i].seconds = atof(value);
        else
            *known[i].text = value;
        return 1;
    }
    return 0;
}

static void read_arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (argv[i][0] != '-') {
            load(argv[i]);
            continue;
        }
        if (value && !strcmp(argv[i], "--target")) {
            options.target = address(value);
            options.has_target = 1;
        } else if (value && !strcmp(argv[i], "--sink")) {
            options.sink = address(value);
            options.has_sink = 1;
        } else if (value && !strcmp(argv[i], "--sources")) {
            read_sources(value);
        } else if (value && !strcmp(argv[i], "--messages")) {
            load_listed(value);
        } else if (!value || !read_option(argv[i], value)) {
            fprintf(stderr, "unknown option %s\n", argv[i]);
            exit(2);
        }
        i++;
    }
    if ((!options.has_target && !options.has_sink) || !mail_count) {
        fprintf(stderr, "need --target or --sink, and messages\n");
        exit(2);
    }
    if (!options.has_target)
        options.concurrency = 0;
}

static int is_over(int busy, int due, double last_progress, int *timed_out)
{
    if (options.expect && tally.delivered >= options.expect)
        return 1;
    if (options.has_target && sending_is_over(busy) && !due) {
        int wanted = tally.accepted * options.recipients;
        if (!options.has_sink || tally.sink_recipients - tally.foreign >= wanted)
            return 1;
    }
    double t = now();
    *timed_out = t - tally.first_start > options.timeout || (options.has_target && t - last_progress > SILENCE);
    return *timed_out;
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN); /* TLS writes without MSG_NOSIGNAL */
    records = calloc(options.count + 1, sizeof *records);
    epoll_fd = epoll_create1(0);
    if (options.has_sink)
        sink_listen();
    clients_start();
    tally.first_start = now();
    double last_progress = tally.first_start;
    int timed_out = 0, progress = 0, busy, due;
    struct epoll_event events[512];
    while (busy = clients_step(), due = sink_step(), !is_over(busy, due, last_progress, &timed_out)) {
        int wait_ms = options.rate > 0 || due ? 1 : busy ? 200 : 20;
        int n = epoll_wait(epoll_fd, events, 512, wait_ms);
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (c->role == LISTENER)
                sink_accept(c);
            else if (c->role == SINK)
                sink_event(c, events[i].events);
            else if (c->fd >= 0)
                client_event(c, events[i].events);
        }
        if (tally.finished + tally.sink_recipients != progress) {
            progress = tally.finished + tally.sink_recipients;
            last_progress = now();
        }
    }
    print_report(timed_out);
    return 0;
}
