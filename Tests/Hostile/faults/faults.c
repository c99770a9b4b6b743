/* System calls that fail when a test says so; loaded into the frontend with LD_PRELOAD.
 *
 * The file that GATEPOST_FAULT names holds one line:
 *
 *     NUMBER CALL PART ERRNO TIMES
 *
 * The next TIMES calls of CALL on a path that holds PART fail with ERRNO; of `write`, ERRNO 0 writes one octet. NUMBER
 * is new with each line. An empty file: nothing fails. Of `accept4` and `bind` the path is that of a Unix socket, or `tcp`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int last_number = -1, times_left;

/* The errno to fail with, 0 for a short write, -1 if the call is to be made. */
static int fault(const char *call, const char *path) {
    const char *order = getenv("GATEPOST_FAULT");
    char line[512], wanted[64], part[256];
    int number, code, times, found = -1;
    if (!order || !path) return -1;
    int file = syscall(SYS_openat, AT_FDCWD, order, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    long count = syscall(SYS_read, file, line, sizeof line - 1);
    syscall(SYS_close, file);
    if (count <= 0) return -1;
    line[count] = 0;
    if (sscanf(line, "%d %63s %255s %d %d", &number, wanted, part, &code, &times) != 5) return -1;
    if (strcmp(call, wanted) || !strstr(path, part)) return -1;
    pthread_mutex_lock(&lock);
    if (number != last_number) {
        last_number = number;
        times_left = times;
    }
    if (times_left > 0) {
        times_left--;
        found = code;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static int fault_at(const char *call, int descriptor) {
    char name[64], path[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    long count = syscall(SYS_readlinkat, AT_FDCWD, name, path, sizeof path - 1);
    if (count <= 0 || path[0] != '/') return -1;
    path[count] = 0;
    return fault(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(code)      \
    do {                \
        errno = (code); \
        return -1;      \
    } while (0)

#define OPEN(name)                                                  \
    int name(const char *path, int flags, ...) {                    \
        va_list more;                                               \
        va_start(more, flags);                                      \
        mode_t mode = va_arg(more, mode_t);                         \
        va_end(more);                                               \
        int code = fault(flags &O_CREAT ? "create" : "open", path); \
        if (code > 0) FAIL(code);                                   \
        return REAL(name)(path, flags, mode);                       \
    }

#define OPENAT(name)                                        \
    int name(int folder, const char *path, int flags, ...) { \
        va_list more;                                       \
        va_start(more, flags);                              \
        mode_t mode = va_arg(more, mode_t);                 \
        va_end(more);                                       \
        int code = fault("openat", path);                   \
        if (code > 0) FAIL(code);                           \
        return REAL(name)(folder, path, flags, mode);       \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int descriptor, const void *octets, size_t count) {
    int code = fault_at("write", descriptor);
    if (code > 0) FAIL(code);
    return REAL(write)(descriptor, octets, code == 0 && count > 1 ? 1 : count);
}

ssize_t read(int descriptor, void *octets, size_t count) {
    int code = fault_at("read", descriptor);
    if (code > 0) FAIL(code);
    return REAL(read)(descriptor, octets, count);
}

int fstat(int descriptor, struct stat *facts) {
    int code = fault_at("fstat", descriptor);
    if (code > 0) FAIL(code);
    return REAL(fstat)(descriptor, facts);
}

int unlink(const char *path) {
    int code = fault("unlink", path);
    if (code > 0) FAIL(code);
    return REAL(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags) {
    int code = fault("unlinkat", path);
    if (code > 0) FAIL(code);
    return REAL(unlinkat)(folder, path, flags);
}

static int fault_of(const char *call, const struct sockaddr *address) {
    if (address->sa_family != AF_UNIX) return fault(call, "tcp");
    return fault(call, ((const struct sockaddr_un *)address)->sun_path);
}

/* Called when a client waits in the backlog, and once more after each client that was accepted. */
int accept4(int descriptor, struct sockaddr *client, socklen_t *size, int flags) {
    struct sockaddr_storage own = {0};
    socklen_t own_size = sizeof own - 1;
    getsockname(descriptor, (struct sockaddr *)&own, &own_size);
    int code = fault_of("accept4", (struct sockaddr *)&own);
    if (code > 0) FAIL(code);
    return REAL(accept4)(descriptor, client, size, flags);
}

int bind(int descriptor, const struct sockaddr *address, socklen_t size) {
    int code = fault_of("bind", address);
    if (code > 0) FAIL(code);
    return REAL(bind)(descriptor, address, size);
}
