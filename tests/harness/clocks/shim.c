/* Moves the clocks of one process: a library that LD_PRELOAD puts before libc.
 *
 * MILLRACE_TEST_PRELOAD names a file with two numbers of 64 bits: the seconds by which the wall clock and
 * CLOCK_BOOTTIME are ahead of the machine's. A test writes them while the process runs. CLOCK_MONOTONIC,
 * which timers go by, is left alone, as a machine that is suspended leaves it. Nothing here allocates memory:
 * the allocator asks for the time too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct ahead {
    volatile int64_t wall;
    volatile int64_t boot;
};

static const struct ahead none;
static const struct ahead *ahead = &none;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MILLRACE_TEST_PRELOAD");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return;
    }
    void *shared = mmap(NULL, sizeof(struct ahead), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (shared != MAP_FAILED) {
        ahead = shared;
    }
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int outcome = (int)syscall(SYS_clock_gettime, clock, now);
    if (outcome == 0) {
        switch (clock) {
        case CLOCK_REALTIME:
        case CLOCK_REALTIME_COARSE:
            now->tv_sec += ahead->wall;
            break;
        case CLOCK_BOOTTIME:
            now->tv_sec += ahead->boot;
            break;
        default:
            break;
        }
    }
    return outcome;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME_COARSE, &time);
    if (now != NULL) {
        *now = time.tv_sec;
    }
    return time.tv_sec;
}
