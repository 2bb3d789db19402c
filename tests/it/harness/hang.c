// A file system that does not answer: a file cannot be opened as long as another one, the gate, is there.

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int opened(const char *name, const char *path, int flags, int mode) {
    const char *file = getenv("HANGING_FILE");
    while (file && strcmp(path, file) == 0 && access(getenv("HANGING_GATE"), F_OK) == 0) usleep(10000);
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
    return next(path, flags, mode);
}

#define OPEN(name)                                   \
    int name(const char *path, int flags, ...) {     \
        va_list rest;                                \
        va_start(rest, flags);                       \
        int mode = va_arg(rest, int);                \
        va_end(rest);                                \
        return opened(#name, path, flags, mode);     \
    }

OPEN(open)
OPEN(open64)
