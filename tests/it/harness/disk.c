// A disk between a process and its own. The file $DISK_MODE says what it does when it is asked to have
// for good what is written: `works`, `fails`, or `stalls` until the file says something else. What it has
// then, by path and size, is a line each in the file $DISK_LOG.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char mode(void) {
    char word[2] = "w";
    int file = open(getenv("DISK_MODE"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, word, 1) != 1) word[0] = 's';
        close(file);
    }
    return word[0];
}

static void note(int file, off_t size) {
    char name[64], path[PATH_MAX], line[PATH_MAX + 32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    int written = snprintf(line, sizeof line, "%lld %s\n", (long long)size, path);
    int log = open(getenv("DISK_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (log < 0 || write(log, line, written) != written) abort();
    close(log);
}

static int have(int file, const char *name) {
    // What is written meanwhile it need not have.
    struct stat before;
    if (fstat(file, &before) != 0) return -1;
    while (mode() == 's') usleep(10000);
    if (mode() == 'f') {
        errno = EIO;
        return -1;
    }
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    int failed = real(file);
    if (!failed) note(file, before.st_size);
    return failed;
}

int fsync(int file) { return have(file, "fsync"); }
int fdatasync(int file) { return have(file, "fdatasync"); }
