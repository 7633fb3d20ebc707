/* smtpbench: an SMTP load generator and a counting sink in one process, on one epoll loop and one clock.
 *
 * Every message carries one unsigned trace line, `X-Bench-Id: NNNNNNNN`, in front. By it the sink tells loss, doubles
 * and alterations: all bytes after that line are compared with what was sent. Linux only. */
#ifndef BENCH_H
#define BENCH_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_SOURCES 64
#define TRACE_FIELD "X-Bench-Id: "

typedef struct { /* a message to send, read from a file in wire form: CRLF, dot-stuffed */
    char *wire;  /* with the final `.` CRLF */
    size_t wire_length;
    uint64_t digest; /* of all octets but the final dot */
    char sender[128];
} Mail;

typedef struct { /* what became of message number i; times in seconds of the monotonic clock */
    double started, dotted, replied, arrived;
    int accepted, copies;
} Record;

typedef struct {
    struct sockaddr_in target, sink, sources[MAX_SOURCES];
    int has_target, has_sink, source_count;
    int count, concurrency, per_connection, recipients, expect, dump_count, tls;
    double seconds, timeout, rate, sink_delay;
    const char *dump_directory, *recipient_domain;
} Options;

typedef struct {
    int next, finished, accepted, refused, deferred, failed_connections;
    int sink_connections, sink_transactions, sink_recipients, delivered, doubled, exact, altered, foreign;
    double first_start, last_reply, first_arrival, last_arrival;
    char refusal[200]; /* the first negative reply */
} Tally;

typedef enum { LISTENER, CLIENT, SINK } Role;
typedef enum { IDLE, CONNECTING, BANNER, HELLO, STARTTLS, READY, MAIL, RCPT, DATA, BODY, DOT, QUIT } State;

typedef struct Connection {
    Role role;
    int fd, waits_to_write;
    char *in, *out;
    size_t in_length, in_size, out_length, out_sent, out_size;
    const char *body; /* borrowed, goes out after `out` */
    size_t body_length, body_sent;
    SSL *tls;
    /* client */
    State state;
    int message, left, replies, pipelining, source;
    /* sink */
    int in_data, recipients;
    size_t scanned;
    double due; /* when the reply to the dot is to be sent; 0 when none waits */
    struct Connection *after;
} Connection;

extern Options options;
extern Tally tally;
extern Mail *mails;
extern int mail_count;
extern Record *records;

/* main.c */
double now(void);
void die(const char *what);
uint64_t digest(const char *octets, size_t length);

/* connection.c */
void watch(Connection *c, int fd);
int flush(Connection *c);                                    /* 1 all sent, 0 some left, -1 connection lost */
void queue(Connection *c, const char *octets, size_t length);
int receive(Connection *c, size_t room);                     /* as flush(); 0 nothing to read now */
void consume(Connection *c, size_t length);
void start_tls(Connection *c);
void end_connection(Connection *c);                          /* closes, and frees what TLS needs */

/* client.c */
void clients_start(void);
int clients_step(void); /* connects and sends what is due; returns how many are busy */
int sending_is_over(int busy);
void client_event(Connection *c, int events);

/* sink.c */
void sink_listen(void);
void sink_accept(Connection *listener);
void sink_event(Connection *c, int events);
int sink_step(void); /* sends the replies that are due; returns 1 while some wait */

/* report.c */
void print_report(int timed_out);

#endif
