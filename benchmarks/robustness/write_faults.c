/* Lets the n-th write, fsync, rename, mkdir or new file of a process fail, below Python: loaded by LD_PRELOAD.

   Only calls on regular files are counted, not stdout and stderr, and only after arm_write_fault. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* The call alone; it and all later ones, as on a full disk; half of a write is done; half, then the next call fails;
   half, then the process is killed. */
enum { ONCE, FROM_THEN_ON, SHORT_WRITE, SHORT_THEN_FAILS, KILLED };

static long calls, nth;
static int armed, error_number, mode;

void arm_write_fault(long at_call, int error, int how) {
    calls = 0, nth = at_call, error_number = error, mode = how, armed = 1;
}

long counted_write_calls(void) { return calls; }

static int is_due(void) {
    if (!armed) return 0;
    calls++;
    return nth && (calls == nth || (mode == FROM_THEN_ON && calls > nth));
}

static int is_regular(int file) {
    struct stat about;
    return armed && file > 2 && fstat(file, &about) == 0 && S_ISREG(about.st_mode);
}

/* Whether a call that cannot be done by half is to fail. */
static int fails(void) {
    if (!is_due()) return 0;
    if (mode == KILLED) kill(getpid(), SIGKILL);
    if (mode == SHORT_WRITE) return 0;
    errno = error_number;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t count) {
    if (!is_regular(file) || !is_due()) return REAL(write)(file, bytes, count);
    if (mode == ONCE || mode == FROM_THEN_ON || count < 2) {
        errno = error_number;
        return -1;
    }
    ssize_t written = REAL(write)(file, bytes, count / 2);
    if (mode == KILLED) kill(getpid(), SIGKILL);
    if (mode == SHORT_THEN_FAILS) mode = ONCE, nth = calls + 1;
    return written;
}

int fsync(int file) { return is_regular(file) && fails() ? -1 : REAL(fsync)(file); }

int rename(const char *from, const char *to) { return fails() ? -1 : REAL(rename)(from, to); }

int mkdir(const char *path, mode_t permissions) { return fails() ? -1 : REAL(mkdir)(path, permissions); }

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t permissions = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (flags & O_CREAT && access(path, F_OK) != 0 && fails()) return -1;
    return REAL(open64)(path, flags, permissions);
}
