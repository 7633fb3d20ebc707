/* One JSON object on standard output. Latencies in milliseconds, of accepted messages only. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_latency(const char *name, double *values, int count)
{
    if (count == 0) {
        printf(",\"%s\":null", name);
        return;
    }
    qsort(values, count, sizeof *values, by_size);
    printf(",\"%s\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f}", name, values[count / 2] * 1e3,
           values[(int)(count * .9)] * 1e3, values[(int)(count * .99)] * 1e3, values[count - 1] * 1e3);
}

static int print_latencies(void)
{
    double *reply = malloc(sizeof *reply * (options.count + 1));
    double *transaction = malloc(sizeof *transaction * (options.count + 1));
    double *arrival = malloc(sizeof *arrival * (options.count + 1));
    int accepted = 0, arrived = 0, lost = 0;
    for (int i = 0; i < options.count; i++) {
        const Record *record = &records[i];
        if (!record->accepted)
            continue;
        reply[accepted] = record->replied - record->dotted;
        transaction[accepted++] = record->replied - record->started;
        if (record->copies)
            arrival[arrived++] = record->arrived - record->dotted;
        lost += record->copies < options.recipients;
    }
    print_latency("dot250_ms", reply, accepted);
    print_latency("transaction_ms", transaction, accepted);
    print_latency("arrival_ms", arrival, arrived);
    return lost;
}

void print_report(int timed_out)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"sent\":%d,\"accepted\":%d,\"refused\":%d,\"deferred\":%d,\"failed_connections\":%d,\"timed_out\":%d",
           tally.next, tally.accepted, tally.refused, tally.deferred, tally.failed_connections, timed_out);
    printf(",\"delivered\":%d,\"sink_transactions\":%d,\"sink_recipients\":%d,\"sink_connections\":%d", tally.delivered,
           tally.sink_transactions, tally.sink_recipients, tally.sink_connections);
    printf(",\"doubled\":%d,\"exact\":%d,\"altered\":%d,\"foreign\":%d", tally.doubled, tally.exact, tally.altered,
           tally.foreign);
    int lost = print_latencies();
    printf(",\"lost\":%d", options.has_sink ? lost : 0);
    if (tally.last_reply > 0)
        printf(",\"accepted_per_s\":%.1f", tally.accepted / (tally.last_reply - tally.first_start));
    if (tally.last_arrival > 0)
        printf(",\"first_arrival_s\":%.3f,\"last_arrival_s\":%.3f,\"delivered_per_s\":%.1f",
               tally.first_arrival - tally.first_start, tally.last_arrival - tally.first_start,
               tally.delivered / (tally.last_arrival - tally.first_start));
    printf(",\"own_cpu_s\":%.3f", usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
                                      (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6);
    printf(",\"refusal\":\"%s\"}\n", tally.refusal);
}
