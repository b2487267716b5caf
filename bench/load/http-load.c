/*
 * HTTP load in the style of webbench 1.5: the same options, closing lines and exit codes, but one epoll loop
 * instead of a process per client, 64-bit counters, keep-alive on request, and every answer is checked (status,
 * length, body). `--help` lists the options. Exit codes: 0 ok, 1 server not reachable, 2 bad option, 3 out of
 * system resources. As in webbench, failed requests do not change the exit code: read the closing lines.
 */
#include "http-answer.h"
#include <getopt.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct {
  const char *method, *proxy, *expect_file;
  int clients, version, force, reload, keep_alive, json, pid;
  double seconds, warmup, timeout;
} opt = {.method = "GET", .clients = 1, .version = 10, .seconds = 30, .timeout = 10};

static struct expectation want = {.status = 200, .learning = 1};

enum state { IDLE, SENDING, READING, ENDING }; /* ENDING: the answer is whole, the server has yet to close */

struct client {
  int fd;
  enum state state;
  uint32_t sent;
  uint64_t started;
  struct answer answer;
};

static struct {
  uint64_t good, bytes; /* inside the measured time */
  uint64_t connect, closed, status, body, syntax, timeout, unfinished, connections;
} sum;

static struct sockaddr_storage address;
static socklen_t address_length;
static char request[4096];
static uint32_t request_bytes;
static int epoll, measuring;
static struct histogram latency;
static struct client **idle; /* stack of clients that have to start a request */
static int idle_count;

/* ---- one client ---- */

static void hang_up(struct client *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

static void rest(struct client *c) {
  c->state = IDLE;
  idle[idle_count++] = c;
}

static void failed(struct client *c, uint64_t *counter) {
  ++*counter;
  hang_up(c);
  rest(c);
}

static void succeeded(struct client *c, int stay_connected) {
  if (measuring) {
    sum.good++;
    histogram_add(&latency, now_ns() - c->started, 1);
  }
  if (!stay_connected) hang_up(c);
  rest(c);
}

static void send_request(struct client *c) {
  ssize_t n = send(c->fd, request + c->sent, request_bytes - c->sent, MSG_NOSIGNAL);
  uint32_t events = EPOLLIN;
  if (n < 0 && errno != EAGAIN && errno != ENOTCONN) return failed(c, &sum.connect);
  if (n > 0) c->sent += (uint32_t)n;
  if (c->sent == request_bytes && opt.force) return succeeded(c, 0);
  if (c->sent < request_bytes) events |= EPOLLOUT;
  if (c->sent == request_bytes && c->state == SENDING && n == (ssize_t)request_bytes) {
    c->state = READING; /* went out at once: EPOLLOUT was never armed */
    return;
  }
  c->state = c->sent == request_bytes ? READING : SENDING;
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void start_request(struct client *c, uint64_t now) {
  c->started = now;
  c->sent = 0;
  c->state = SENDING;
  answer_reset(&c->answer, &want);
  if (c->fd < 0) {
    c->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail(3, "cannot open a socket: %s", strerror(errno));
    if (connect(c->fd, (struct sockaddr *)&address, address_length) != 0 && errno != EINPROGRESS)
      return failed(c, &sum.connect);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    sum.connections++;
  }
  send_request(c);
}

static void judge(struct client *c, enum verdict verdict, int at_end) {
  if (verdict == MORE) return;
  if (verdict == BAD) {
    enum fault fault = c->answer.fault;
    if (at_end && fault == BAD_SYNTAX) return failed(c, &sum.closed);
    return failed(c, fault == BAD_STATUS ? &sum.status : fault == BAD_BODY ? &sum.body : &sum.syntax);
  }
  if (opt.keep_alive) return succeeded(c, !c->answer.close && !at_end);
  if (at_end) return succeeded(c, 0);
  c->state = ENDING;
}

static void read_answer(struct client *c) {
  static char buffer[262144];
  ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return failed(c, c->state == SENDING ? &sum.connect : &sum.closed);
  if (n > 0) {
    if (measuring) sum.bytes += (uint64_t)n;
    return judge(c, answer_take(&c->answer, &want, buffer, (uint64_t)n), 0);
  }
  if (c->state == ENDING) return succeeded(c, 0);
  judge(c, answer_end(&c->answer, &want), 1);
}

/* ---- the run ---- */

/*
 * One request before the load, blocking: shows that the server is there and, when no body is given, what a right
 * answer is. A wrong answer is not an error here: the load will count it.
 */
static void probe(void) {
  struct answer answer;
  char buffer[65536];
  enum verdict verdict = MORE;
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, address_length) != 0)
    fail(1, "Connect to server failed (%s). Aborting benchmark.", strerror(errno));
  answer_reset(&answer, &want);
  for (ssize_t n = send(fd, request, request_bytes, MSG_NOSIGNAL); n > 0 && verdict == MORE && !opt.force;) {
    n = recv(fd, buffer, sizeof buffer, 0);
    if (n > 0) verdict = answer_take(&answer, &want, buffer, (uint64_t)n);
    if (n == 0) verdict = answer_end(&answer, &want);
  }
  close(fd);
  if (want.learning) want.any_body = 1; /* no right answer to learn from */
  want.learning = 0;
}

static void expire(struct client *all, uint64_t now) {
  for (int i = 0; i < opt.clients; i++)
    if (all[i].state != IDLE && now - all[i].started > (uint64_t)(opt.timeout * SECOND)) failed(&all[i], &sum.timeout);
}

static void run(struct process_cpu *server_from, struct process_cpu *server_to, double cpu[2]) {
  struct client *all = calloc((size_t)opt.clients, sizeof *all);
  struct epoll_event events[1024];
  uint64_t now = now_ns(), from = now + (uint64_t)(opt.warmup * SECOND);
  uint64_t to = from + (uint64_t)(opt.seconds * SECOND), check = now;
  idle = calloc(2 * (size_t)opt.clients, sizeof *idle); /* during a turn it holds those taken and those back */
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (!all || !idle || epoll < 0) fail(3, "no memory for %d clients", opt.clients);
  for (int i = 0; i < opt.clients; i++) {
    all[i].fd = -1;
    rest(&all[i]);
  }
  while ((now = now_ns()) < to) {
    if (!measuring && now >= from) {
      measuring = 1;
      own_cpu(&cpu[0], &cpu[1]);
      process_cpu_read(opt.pid, server_from);
    }
    /* A client that fails at once comes back to the stack, and is taken again only in the next turn. */
    for (int i = 0, turn = idle_count; i < turn; i++) {
      struct client *c = idle[i];
      idle[i] = NULL;
      start_request(c, now);
    }
    int kept = 0;
    for (int i = 0; i < idle_count; i++)
      if (idle[i]) idle[kept++] = idle[i];
    idle_count = kept;
    int n = epoll_wait(epoll, events, 1024, kept > 0 ? 0 : 20);
    for (int i = 0; i < n; i++) {
      struct client *c = events[i].data.ptr;
      if (c->state == SENDING && events[i].events & EPOLLOUT) send_request(c);
      if (c->state != IDLE && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_answer(c);
    }
    if (now - check > SECOND / 10) {
      expire(all, now);
      check = now;
    }
  }
  double user, system;
  own_cpu(&user, &system);
  cpu[0] = user - cpu[0];
  cpu[1] = system - cpu[1];
  process_cpu_read(opt.pid, server_to);
  sum.unfinished = (uint64_t)(opt.clients - idle_count);
}

static void print(const struct process_cpu *from, const struct process_cpu *to, const double cpu[2]) {
  uint64_t bad = sum.connect + sum.closed + sum.status + sum.body + sum.syntax + sum.timeout;
  printf("\nSpeed=%llu pages/min, %llu bytes/sec.\nRequests: %llu susceed, %llu failed.\n",
         (unsigned long long)((double)(sum.good + bad) * 60 / opt.seconds),
         (unsigned long long)((double)sum.bytes / opt.seconds), (unsigned long long)sum.good, (unsigned long long)bad);
  if (!opt.json) return;
  printf("{\"tool\":\"http-load\",\"clients\":%d,\"keepAlive\":%s,\"httpVersion\":%d,\"seconds\":%g,\"warmup\":%g,"
         "\"succeeded\":%llu,\"failed\":%llu,\"unfinished\":%llu,\"connections\":%llu,\"perSecond\":%.0f,"
         "\"bytesPerSecond\":%.0f,\"latencyUs\":",
         opt.clients, opt.keep_alive ? "true" : "false", opt.version, opt.seconds, opt.warmup,
         (unsigned long long)sum.good, (unsigned long long)bad, (unsigned long long)sum.unfinished,
         (unsigned long long)sum.connections, (double)sum.good / opt.seconds, (double)sum.bytes / opt.seconds);
  histogram_print(stdout, &latency);
  printf(",\"failures\":{\"connect\":%llu,\"closed\":%llu,\"status\":%llu,\"body\":%llu,\"syntax\":%llu,\"timeout\":%llu}"
         ",\"cpu\":{\"generator\":{\"user\":%.2f,\"system\":%.2f},\"server\":",
         (unsigned long long)sum.connect, (unsigned long long)sum.closed, (unsigned long long)sum.status,
         (unsigned long long)sum.body, (unsigned long long)sum.syntax, (unsigned long long)sum.timeout, cpu[0], cpu[1]);
  process_cpu_print(stdout, from, to);
  puts("}}");
}

/* ---- options ---- */

static const char usage[] =
    "http-load [options] URL: HTTP load in the style of webbench\n"
    "  -c, --clients N   clients at once, default 1          -t, --time S   seconds, default 30\n"
    "  -9 -1 -2          HTTP 0.9, 1.0 (default), 1.1 (--http09 --http10 --http11)\n"
    "  --get --head --options --trace   method, default get\n"
    "  -f, --force       do not wait for the answer          -r, --reload   send Pragma: no-cache (with a proxy)\n"
    "  -p, --proxy H:P   send the requests to a proxy        -V, --version  -?, -h, --help\n"
    "and beyond webbench:\n"
    "  -k, --keep-alive  HTTP/1.1, many requests on one connection; otherwise a new connection for each\n"
    "  --status N        status a right answer has, default 200; 0: any\n"
    "  --body FILE       body a right answer has; default: that of one request before the load\n"
    "  --any-body        do not compare bodies               --timeout S    of one request, default 10\n"
    "  --warmup S        load before the measured time, default 0\n"
    "  --json            one line of JSON after the closing lines\n"
    "  --pid P           report the CPU seconds of this (server) process and of its threads";

static void read_body(const char *path) {
  struct stat info;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &info) != 0) fail(2, "--body %s: %s", path, strerror(errno));
  want.body = malloc((size_t)info.st_size + 1);
  if (!want.body || read(fd, want.body, (size_t)info.st_size) != info.st_size) fail(2, "--body %s: cannot read it", path);
  want.body_bytes = (uint64_t)info.st_size;
  want.learning = 0;
  close(fd);
}

/* Splits "host:port", "[v6]:port" or "host" in place. */
static int split_port(char *host, int otherwise) {
  char *bracket = *host == '[' ? strchr(host, ']') : NULL, *colon = strchr(bracket ? bracket : host, ':');
  int port = colon ? (int)number_option("port", colon + 1, 1, 65535) : otherwise;
  if (colon) *colon = 0;
  if (bracket) {
    *bracket = 0;
    memmove(host, host + 1, strlen(host));
  }
  return port;
}

static void build_request(const char *url) {
  char name[256], target[256];
  if (strncasecmp(url, "http://", 7) != 0) fail(2, "%s: the URL must start with http://", url);
  const char *path = url + 7 + strcspn(url + 7, "/");
  snprintf(name, sizeof name, "%.*s", (int)(path - url - 7), url + 7);
  if (strlen(url) > 1500 || *name == 0 || strpbrk(url, " \r\n")) fail(2, "%s: not a URL this tool can send", url);
  snprintf(target, sizeof target, "%s", opt.proxy ? opt.proxy : name);
  int port = split_port(target, 80), n;
  address_length = resolve(target, port, &address);
  n = snprintf(request, sizeof request, "%s %s%s", opt.method, opt.proxy ? url : *path ? path : "/",
               opt.proxy && !*path ? "/" : "");
  if (opt.version == 9) n += snprintf(request + n, sizeof request - (size_t)n, "\r\n");
  else
    n += snprintf(request + n, sizeof request - (size_t)n,
                  " HTTP/1.%d\r\nHost: %s\r\nUser-Agent: switchyard-bench\r\n%s%s\r\n", opt.version - 10, name,
                  opt.reload && opt.proxy ? "Pragma: no-cache\r\n" : "",
                  opt.version == 11 && !opt.keep_alive ? "Connection: close\r\n" : "");
  request_bytes = (uint32_t)n;
}

static void parse_options(int argc, char **argv) {
  enum { GET = 256, HEADM, OPTIONSM, TRACEM, STATUS, FILEB, ANYBODY, TIMEOUT, WARMUP, JSON, PIDO };
  static const struct option names[] = {
      {"clients", 1, 0, 'c'}, {"time", 1, 0, 't'},         {"http09", 0, 0, '9'},      {"http10", 0, 0, '1'},
      {"http11", 0, 0, '2'},  {"get", 0, 0, GET},          {"head", 0, 0, HEADM},      {"options", 0, 0, OPTIONSM},
      {"trace", 0, 0, TRACEM}, {"force", 0, 0, 'f'},       {"reload", 0, 0, 'r'},      {"proxy", 1, 0, 'p'},
      {"version", 0, 0, 'V'}, {"help", 0, 0, 'h'},         {"keep-alive", 0, 0, 'k'},  {"status", 1, 0, STATUS},
      {"body", 1, 0, FILEB},  {"any-body", 0, 0, ANYBODY}, {"timeout", 1, 0, TIMEOUT}, {"warmup", 1, 0, WARMUP},
      {"json", 0, 0, JSON},   {"pid", 1, 0, PIDO},         {0, 0, 0, 0}};
  for (int o; (o = getopt_long(argc, argv, "912Vfrt:p:c:k?h", names, NULL)) != -1;) switch (o) {
      case 'c': opt.clients = (int)number_option("-c", optarg, 1, 1000000); break;
      case 't': opt.seconds = seconds_option("-t", optarg, 0.1); break;
      case '9': opt.version = 9; break;
      case '1': opt.version = 10; break;
      case '2': opt.version = 11; break;
      case GET: opt.method = "GET"; break;
      case HEADM: opt.method = "HEAD"; break;
      case OPTIONSM: opt.method = "OPTIONS"; break;
      case TRACEM: opt.method = "TRACE"; break;
      case 'f': opt.force = 1; break;
      case 'r': opt.reload = 1; break;
      case 'p': opt.proxy = optarg; break;
      case 'k': opt.keep_alive = 1; break;
      case STATUS: want.status = (int)number_option("--status", optarg, 0, 599); break;
      case FILEB: opt.expect_file = optarg; break;
      case ANYBODY: want.any_body = 1; break;
      case TIMEOUT: opt.timeout = seconds_option("--timeout", optarg, 0.1); break;
      case WARMUP: opt.warmup = seconds_option("--warmup", optarg, 0); break;
      case JSON: opt.json = 1; break;
      case PIDO: opt.pid = (int)number_option("--pid", optarg, 1, INT32_MAX); break;
      case 'V': puts("http-load of Switchyard, options and closing lines of webbench 1.5"); exit(0);
      case 'h': puts(usage); exit(0);
      default:
        if (strcmp(argv[optind - 1], "-?") != 0) fail(2, "%s", usage);
        puts(usage);
        exit(0);
    }
  if (optind != argc - 1) fail(2, "one URL is needed\n%s", usage);
  /* The version a method needs, as webbench raises it. */
  want.method_is_head = strcmp(opt.method, "HEAD") == 0;
  if (want.method_is_head && opt.version < 10) opt.version = 10;
  if (opt.reload && opt.proxy && opt.version < 10) opt.version = 10;
  if (*opt.method == 'O' || *opt.method == 'T' || opt.keep_alive) opt.version = 11;
  want.http09 = opt.version == 9;
  if (opt.expect_file) read_body(opt.expect_file);
}

int main(int argc, char **argv) {
  static struct process_cpu from, to;
  double cpu[2] = {0, 0};
  parse_options(argc, argv);
  need_files(opt.clients + 32);
  build_request(argv[argc - 1]);
  probe();
  run(&from, &to, cpu);
  print(&from, &to, cpu);
  return 0;
}
