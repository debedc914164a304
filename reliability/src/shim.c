/* Makes calls of the operating system fail, in a process that is started with LD_PRELOAD: those of one kind, on files below
 * a folder, once a file says so. What the process is told is in its environment:
 *
 *   FAULT_CALL   sync, write, read or open
 *   FAULT_ERRNO  the error, as a number
 *   FAULT_TIMES  how many calls fail; 0 is all of them
 *   FAULT_UNDER  the folder
 *   FAULT_ARMED  calls fail while this file is there
 *   FAULT_MET    gets a byte for each call that failed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(result, name, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static int failed;

static int is_under(const char *path) {
    const char *under = getenv("FAULT_UNDER");
    return under && strncmp(path, under, strlen(under)) == 0;
}

/* Whether the call fails; errno is set then. */
static int fails(const char *call, const char *path) {
    const char *wanted = getenv("FAULT_CALL"), *armed = getenv("FAULT_ARMED");
    if (!wanted || !armed || strcmp(wanted, call) != 0 || !is_under(path)) return 0;
    if (access(armed, F_OK) != 0) return 0;
    int times = atoi(getenv("FAULT_TIMES"));
    if (__sync_add_and_fetch(&failed, 1) > times && times > 0) return 0;
    /* By the calls themselves, below what is interposed. */
    REAL(int, open, const char *, int, ...);
    REAL(ssize_t, write, int, const void *, size_t);
    int met = real_open(getenv("FAULT_MET"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (met >= 0) {
        if (real_write(met, "x", 1) < 0) abort();
        close(met);
    }
    errno = atoi(getenv("FAULT_ERRNO"));
    return 1;
}

static int fails_on(const char *call, int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define ON_FILE(call, result, name, parameters, arguments, ...) \
    result name parameters { \
        REAL(result, name, __VA_ARGS__); \
        return fails_on(call, file) ? -1 : real_##name arguments; \
    }

ON_FILE("sync", int, fsync, (int file), (file), int)
ON_FILE("sync", int, fdatasync, (int file), (file), int)
ON_FILE("sync", int, sync_file_range, (int file, off64_t from, off64_t bytes, unsigned flags), (file, from, bytes, flags),
        int, off64_t, off64_t, unsigned)
ON_FILE("write", ssize_t, write, (int file, const void *data, size_t bytes), (file, data, bytes), int, const void *, size_t)
ON_FILE("write", ssize_t, writev, (int file, const struct iovec *data, int count), (file, data, count), int,
        const struct iovec *, int)
ON_FILE("write", ssize_t, pwrite, (int file, const void *data, size_t bytes, off_t at), (file, data, bytes, at), int,
        const void *, size_t, off_t)
ON_FILE("write", ssize_t, pwrite64, (int file, const void *data, size_t bytes, off64_t at), (file, data, bytes, at), int,
        const void *, size_t, off64_t)
ON_FILE("write", ssize_t, pwritev, (int file, const struct iovec *data, int count, off_t at), (file, data, count, at), int,
        const struct iovec *, int, off_t)
ON_FILE("read", ssize_t, read, (int file, void *data, size_t bytes), (file, data, bytes), int, void *, size_t)
ON_FILE("read", ssize_t, pread, (int file, void *data, size_t bytes, off_t at), (file, data, bytes, at), int, void *, size_t,
        off_t)
ON_FILE("read", ssize_t, pread64, (int file, void *data, size_t bytes, off64_t at), (file, data, bytes, at), int, void *,
        size_t, off64_t)

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return fails("open", path) ? -1 : real_##name(path, flags, mode); \
    }

OPENING(open)
OPENING(open64)
