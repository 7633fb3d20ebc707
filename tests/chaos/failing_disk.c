/* Preloaded under a process: a disk that fails on demand, and one that keeps only what was synced.

   DISK_ROOT    the directory this is about; everything else is left alone
   $DISK_ROOT.eio   while this file exists, fsync below the root fails with EIO
   $DISK_ROOT.full  while this file exists, writes below the root fail with ENOSPC
   DISK_SHADOW  if set: after each sync of a file a copy of it is kept here, after each sync of a directory
                the list of its names in `.names`: what would be left after the power fails */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int below_root(int fd, char *path) {
    const char *root = getenv("DISK_ROOT");
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (root == NULL || size < 0) return 0;
    path[size] = 0;
    size_t length = strlen(root);
    return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int flagged(const char *flag) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s", getenv("DISK_ROOT"), flag);
    return access(path, F_OK) == 0;
}

static void make_parents(char *path) {
    for (char *at = path + 1; *at; at++)
        if (*at == '/') { *at = 0; mkdir(path, 0700); *at = '/'; }
}

static void save(int fd, const char *path, const char *shadow) {
    char target[PATH_MAX * 2 + 16], draft[PATH_MAX * 2 + 32];
    static char block[1 << 16];
    struct stat state;
    if (fstat(fd, &state) != 0) return;
    snprintf(target, sizeof target, "%s%s%s", shadow, path + strlen(getenv("DISK_ROOT")),
             S_ISDIR(state.st_mode) ? "/.names" : "");
    make_parents(target);
    snprintf(draft, sizeof draft, "%s.draft", target);
    int out = open(draft, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (S_ISDIR(state.st_mode)) {
        DIR *directory = opendir(path);
        for (struct dirent *entry; directory && (entry = readdir(directory));)
            if (entry->d_name[0] != '.') dprintf(out, "%s\n", entry->d_name);
        if (directory) closedir(directory);
    } else {
        /* A database is read by its own descriptor: closing another one would drop SQLite's locks on it. */
        int writable_only = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY, in = fd;
        off_t at = 0;
        if (writable_only) in = open(path, O_RDONLY);
        for (ssize_t size; (size = syscall(SYS_pread64, in, block, sizeof block, at)) > 0; at += size)
            if (syscall(SYS_write, out, block, size) != size) abort();
        if (writable_only && in >= 0) close(in);
    }
    close(out);
    rename(draft, target);
}

static int sync_with(long call, int fd) {
    char path[PATH_MAX];
    const char *shadow = getenv("DISK_SHADOW");
    int ours = below_root(fd, path);
    if (ours && flagged(".eio")) { errno = EIO; return -1; }
    if (shadow != NULL && ours) {
        /* Copied before the sync returns and by one thread at a time: the order of syncs is the order of copies. */
        pthread_mutex_lock(&lock);
        save(fd, path, shadow);
        pthread_mutex_unlock(&lock);
        return 0;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd) { return sync_with(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_with(SYS_fdatasync, fd); }

static int full(int fd) {
    char path[PATH_MAX];
    if (getenv("DISK_ROOT") == NULL || !flagged(".full") || !below_root(fd, path)) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return full(fd) ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }
ssize_t write(int fd, const void *data, size_t size) { return full(fd) ? -1 : syscall(SYS_write, fd, data, size); }
