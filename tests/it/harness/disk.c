// A disk that takes what is written and never has it for good.

#include <unistd.h>

static int wait_for_ever(void) {
    for (;;) pause();
}

int fsync(int file) { return wait_for_ever(); }
int fdatasync(int file) { return wait_for_ever(); }
