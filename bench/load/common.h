/* Shared by the load generators: clock, latency histogram, CPU seconds of a process, address look-up. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull /* nanoseconds */

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* 64 buckets per power of two: a quantile is at most 1.6 % above the true value. */
#define BUCKETS 3776

struct histogram {
  uint64_t count[BUCKETS];
  uint64_t total, sum, max;
};

static inline void histogram_add(struct histogram *h, uint64_t ns, uint64_t times) {
  unsigned i = (unsigned)ns;
  if (ns >= 64) {
    unsigned e = 63u - (unsigned)__builtin_clzll(ns);
    i = 64 * (e - 5) + (unsigned)(ns >> (e - 6)) - 64;
  }
  h->count[i] += times;
  h->total += times;
  h->sum += ns * times;
  if (ns > h->max) h->max = ns;
}

static inline void histogram_merge(struct histogram *into, const struct histogram *from) {
  for (unsigned i = 0; i < BUCKETS; i++) into->count[i] += from->count[i];
  into->total += from->total;
  into->sum += from->sum;
  if (from->max > into->max) into->max = from->max;
}

/* Upper edge, in microseconds, of the bucket that holds the q-th part of all samples. */
static inline double histogram_us(const struct histogram *h, double q) {
  uint64_t rank = (uint64_t)((double)h->total * q), seen = 0;
  if (h->total == 0) return 0;
  if (rank >= h->total) rank = h->total - 1;
  for (unsigned i = 0; i < BUCKETS; i++) {
    seen += h->count[i];
    if (seen <= rank) continue;
    uint64_t edge = i < 64 ? i : ((uint64_t)(i % 64 + 65) << (i / 64 - 1)) - 1;
    return (double)(edge < h->max ? edge : h->max) / 1000;
  }
  return (double)h->max / 1000;
}

static inline void histogram_print(FILE *out, const struct histogram *h) {
  fprintf(out,
          "{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f,\"mean\":%.1f}",
          histogram_us(h, 0.5), histogram_us(h, 0.9), histogram_us(h, 0.99), histogram_us(h, 0.999),
          (double)h->max / 1000, h->total ? (double)h->sum / (double)h->total / 1000 : 0);
}

/* ---- CPU seconds of this process and of another one, threads apart ---- */

#define MAX_THREADS 64

struct thread_cpu {
  int tid;
  char name[20];
  double seconds;
};

struct process_cpu {
  double user, system; /* whole process, ended threads included */
  int threads;
  struct thread_cpu thread[MAX_THREADS];
};

/* Reads one /proc stat file: the name stands in brackets and may hold blanks, so look for the last bracket. */
static inline int read_stat(const char *path, char *name, double *user, double *system) {
  char line[1024];
  FILE *f = fopen(path, "r");
  if (!f) return -1;
  size_t n = fread(line, 1, sizeof line - 1, f);
  fclose(f);
  line[n] = 0;
  char *open = strchr(line, '('), *close = strrchr(line, ')');
  unsigned long long u, s;
  if (!open || !close) return -1;
  if (sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &u, &s) != 2) return -1;
  *close = 0;
  if (name) snprintf(name, 20, "%.19s", open + 1);
  double tick = (double)sysconf(_SC_CLK_TCK);
  *user = (double)u / tick;
  *system = (double)s / tick;
  return 0;
}

/* Fills `cpu` from /proc; a process that is gone (or pid 0) gives zeros. */
static inline void process_cpu_read(int pid, struct process_cpu *cpu) {
  char path[300];
  memset(cpu, 0, sizeof *cpu);
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  if (pid <= 0 || read_stat(path, NULL, &cpu->user, &cpu->system) != 0) return;
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *dir = opendir(path);
  struct dirent *entry;
  while (dir && (entry = readdir(dir)) != NULL && cpu->threads < MAX_THREADS) {
    struct thread_cpu *t = &cpu->thread[cpu->threads];
    double user, system;
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%d/task/%s/stat", pid, entry->d_name);
    if (read_stat(path, t->name, &user, &system) != 0) continue;
    t->tid = atoi(entry->d_name);
    t->seconds = user + system;
    cpu->threads++;
  }
  if (dir) closedir(dir);
}

/* JSON of the difference of two readings; threads that used nothing are left out. */
static inline void process_cpu_print(FILE *out, const struct process_cpu *from, const struct process_cpu *to) {
  const char *comma = "";
  fprintf(out, "{\"user\":%.2f,\"system\":%.2f,\"threads\":[", to->user - from->user, to->system - from->system);
  for (int i = 0; i < to->threads; i++) {
    double seconds = to->thread[i].seconds;
    for (int j = 0; j < from->threads; j++)
      if (from->thread[j].tid == to->thread[i].tid) seconds -= from->thread[j].seconds;
    if (seconds < 0.005) continue;
    fprintf(out, "%s{\"tid\":%d,\"name\":\"", comma, to->thread[i].tid);
    for (const char *c = to->thread[i].name; *c; c++)
      if (*c >= ' ' && *c != '"' && *c != '\\') fputc(*c, out);
    fprintf(out, "\",\"seconds\":%.2f}", seconds);
    comma = ",";
  }
  fprintf(out, "]}");
}

static inline void own_cpu(double *user, double *system) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  *user = (double)r.ru_utime.tv_sec + (double)r.ru_utime.tv_usec / 1e6;
  *system = (double)r.ru_stime.tv_sec + (double)r.ru_stime.tv_usec / 1e6;
}

/* ---- small helpers ---- */

static inline void fail(int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(code);
}

/* A whole number in [low, high], or exit code 2 naming the option. */
static inline long number_option(const char *name, const char *text, long low, long high) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || end == text || *end || value < low || value > high)
    fail(2, "%s: \"%s\" is not a whole number from %ld to %ld", name, text, low, high);
  return value;
}

static inline double seconds_option(const char *name, const char *text, double low) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !(value >= low && value <= 86400))
    fail(2, "%s: \"%s\" is not a number of seconds from %g to 86400", name, text, low);
  return value;
}

static inline socklen_t resolve(const char *host, int port, struct sockaddr_storage *address) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
  char service[16];
  snprintf(service, sizeof service, "%d", port);
  int error = getaddrinfo(host, service, &hints, &found);
  if (error) fail(1, "cannot resolve host %s: %s", host, gai_strerror(error));
  socklen_t length = found->ai_addrlen;
  memcpy(address, found->ai_addr, length);
  freeaddrinfo(found);
  return length;
}

/* Raises the soft limit of open files to the hard one and says clearly when that is not enough. */
static inline void need_files(long wanted) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur != RLIM_INFINITY && (long)limit.rlim_cur < wanted)
    fail(2, "%ld open files are needed, the limit is %ld: raise it with ulimit -n", wanted, (long)limit.rlim_cur);
}

#endif
