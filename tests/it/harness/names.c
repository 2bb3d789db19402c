// Name servers: a name that ends in `.test` is this machine. As long as there is the file of the gate, the
// server of names that begin with `silent` does not answer. Each look-up of one is a line in the log.

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(const char *name) {
    char line[300];
    int length = snprintf(line, sizeof line, "%s\n", name);
    int log = open(getenv("NAMES_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (log < 0 || write(log, line, length) != length) abort();
    close(log);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = node ? strlen(node) : 0;
    if (length < 5 || strcmp(node + length - 5, ".test") != 0) return next(node, service, hints, found);
    if (strncmp(node, "silent", 6) == 0) {
        note(node);
        while (access(getenv("NAMES_GATE"), F_OK) == 0) usleep(10000);
    }
    return next("127.0.0.1", service, hints, found);
}
