/* Lets one process make no connection: a library that LD_PRELOAD puts before libc.
 *
 * MILLRACE_TEST_PRELOAD names a file with one number of 32 bits: the error that connect(2) fails with, or 0.
 * A test writes it while the process runs. Connections that are open, and those that come in, are left alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const volatile int32_t none;
static const volatile int32_t *told = &none;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MILLRACE_TEST_PRELOAD");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return;
    }
    void *shared = mmap(NULL, sizeof(int32_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (shared != MAP_FAILED) {
        told = shared;
    }
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    int error = *told;
    if (error != 0) {
        errno = error;
        return -1;
    }
    return (int)syscall(SYS_connect, socket, address, length);
}
