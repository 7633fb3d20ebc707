/* Preloaded under a process: a wall clock that jumps. CLOCK_OFFSET names a file of 8 octets, seconds to add as an int64;
   the monotonic clock is left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void open_offset(void) {
    const char *name = getenv("CLOCK_OFFSET");
    int fd = name ? open(name, O_RDONLY) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) offset = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && offset != NULL && clock == CLOCK_REALTIME) now->tv_sec += *offset;
    return result;
}
