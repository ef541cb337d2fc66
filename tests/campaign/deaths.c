// Preloaded into a process, kills it at the n-th operation on files below a folder, as a kill or a crash may:
//   cc -shared -fPIC -O1 -o deaths.so deaths.c -ldl;  LD_PRELOAD=deaths.so python …;  campaign_die_at("/folder", n)
// Points are counted before each operation that changes something (open for writing, write, rename, unlink, mkdir,
// rmdir, truncate, fsync, chmod, link, close), and once more in the midst of each write, when half of it is done.
// Writes of the C library's own streams are seen as a whole (fwrite, fclose).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t length;
static long deadly, passed;

// The n-th point below the folder is the last; 0: none is. Points are counted from here on.
void campaign_die_at(const char* below, long n) {
  length = strlen(below);
  memcpy(folder, below, length + 1);
  passed = 0;
  deadly = n;
}

long campaign_points(void) { return passed; }

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static int reached(void) { return length && __atomic_add_fetch(&passed, 1, __ATOMIC_SEQ_CST) == deadly; }

static void point(void) {
  if (reached()) die();
}

static int inside(const char* path) { return length && strncmp(path, folder, length) == 0; }

static int descriptor_inside(int descriptor) {
  char link[64], path[PATH_MAX];
  if (!length || descriptor < 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return inside(path);
}

// Relative to an open folder, or to the working folder, or absolute.
static int path_inside(int at, const char* path) {
  char here[PATH_MAX];
  if (!length || !path) return 0;
  if (path[0] == '/') return inside(path);
  if (at != AT_FDCWD) return descriptor_inside(at);
  return getcwd(here, sizeof here) && inside(here);
}

#define REAL(name) \
  static __typeof__(name)* real; \
  if (!real) real = (__typeof__(name)*)dlsym(RTLD_NEXT, #name)

#define ON_PATH(result, name, parameters, arguments, condition) \
  result name parameters { \
    REAL(name); \
    if (condition) point(); \
    return real arguments; \
  }

static int changes(int flags) { return flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC); }

#define OPEN(name) \
  int name(const char* path, int flags, ...) { \
    REAL(name); \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = va_arg(rest, mode_t); \
    va_end(rest); \
    if (changes(flags) && path_inside(AT_FDCWD, path)) point(); \
    return real(path, flags, mode); \
  }
#define OPENAT(name) \
  int name(int at, const char* path, int flags, ...) { \
    REAL(name); \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = va_arg(rest, mode_t); \
    va_end(rest); \
    if (changes(flags) && path_inside(at, path)) point(); \
    return real(at, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int descriptor, const void* data, size_t size) {
  REAL(write);
  if (descriptor_inside(descriptor)) {
    point();
    if (size > 1 && reached()) {
      real(descriptor, data, size / 2);
      die();
    }
  }
  return real(descriptor, data, size);
}

#define PWRITE(name, offset_type) \
  ssize_t name(int descriptor, const void* data, size_t size, offset_type offset) { \
    REAL(name); \
    if (descriptor_inside(descriptor)) { \
      point(); \
      if (size > 1 && reached()) { \
        real(descriptor, data, size / 2, offset); \
        die(); \
      } \
    } \
    return real(descriptor, data, size, offset); \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec* parts, int count) {
  REAL(writev);
  if (descriptor_inside(descriptor)) {
    point();
    if (count > 0 && reached()) {
      if (write(descriptor, parts[0].iov_base, parts[0].iov_len / 2) < 0) abort();
      die();
    }
  }
  return real(descriptor, parts, count);
}

size_t fwrite(const void* data, size_t size, size_t count, FILE* stream) {
  REAL(fwrite);
  if (descriptor_inside(fileno(stream))) {
    point();
    if (count > 1 && reached()) {
      real(data, size, count / 2, stream);
      fflush(stream);
      die();
    }
  }
  return real(data, size, count, stream);
}

ON_PATH(int, fclose, (FILE * stream), (stream), descriptor_inside(fileno(stream)))
ON_PATH(int, close, (int descriptor), (descriptor), descriptor_inside(descriptor))
ON_PATH(int, fsync, (int descriptor), (descriptor), descriptor_inside(descriptor))
ON_PATH(int, fdatasync, (int descriptor), (descriptor), descriptor_inside(descriptor))
ON_PATH(int, ftruncate, (int descriptor, off_t size), (descriptor, size), descriptor_inside(descriptor))
ON_PATH(int, ftruncate64, (int descriptor, off64_t size), (descriptor, size), descriptor_inside(descriptor))
ON_PATH(int, fchmod, (int descriptor, mode_t mode), (descriptor, mode), descriptor_inside(descriptor))
ON_PATH(int, chmod, (const char* path, mode_t mode), (path, mode), path_inside(AT_FDCWD, path))
ON_PATH(int, mkdir, (const char* path, mode_t mode), (path, mode), path_inside(AT_FDCWD, path))
ON_PATH(int, mkdirat, (int at, const char* path, mode_t mode), (at, path, mode), path_inside(at, path))
ON_PATH(int, rmdir, (const char* path), (path), path_inside(AT_FDCWD, path))
ON_PATH(int, unlink, (const char* path), (path), path_inside(AT_FDCWD, path))
ON_PATH(int, unlinkat, (int at, const char* path, int flags), (at, path, flags), path_inside(at, path))
ON_PATH(int, rename, (const char* from, const char* to), (from, to), path_inside(AT_FDCWD, to))
ON_PATH(int, renameat, (int at, const char* from, int other, const char* to), (at, from, other, to),
        path_inside(other, to))
ON_PATH(int, link, (const char* from, const char* to), (from, to), path_inside(AT_FDCWD, to))
ON_PATH(int, symlink, (const char* from, const char* to), (from, to), path_inside(AT_FDCWD, to))
