/*
 * Load generator for the packet protocol: keeps `window` requests in flight on each connection, checks every
 * reply (length, code in the order of the requests, CRC) and prints one line of JSON.
 * One thread and one epoll per process, so that it leaves the server a core. `--help` lists the options.
 * Exit codes: 0 every reply right, 1 server not reachable, 2 bad option, 3 some replies wrong or missing.
 */
#include "packet-wire.h"
#include <getopt.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct shared {
  volatile int ready;
  volatile uint64_t start; /* monotonic ns at which every process begins; 0 until all are connected */
  struct result result[];
};

static struct shared *shared;

static void drop(struct connection *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

/* Sends what is owed; what the socket does not take waits for EPOLLOUT (the only time it is armed). */
static void flush_owed(int epoll, struct connection *c) {
  static uint8_t scratch[65536 + LARGEST];
  while (c->owed > 0) {
    uint8_t *bytes = request_stream;
    uint32_t length = 0, number = 0;
    if (opt.fixed) {
      length = c->owed * request_size;
    } else {
      for (bytes = scratch; number < c->owed && length < 65536; number++)
        length += build_request(scratch + length, c, c->sent - c->owed + number);
    }
    ssize_t n = send(c->fd, bytes + c->owed_bytes_sent, length - c->owed_bytes_sent, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EAGAIN) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
      }
      return; /* a broken connection shows itself at the next read */
    }
    c->owed_bytes_sent += (uint32_t)n;
    for (;;) {
      uint32_t size = opt.fixed ? request_size
                                : packet_length(opt.codes[(c->sent - c->owed) % (uint64_t)opt.code_count]);
      if (c->owed == 0 || c->owed_bytes_sent < size) break;
      c->owed_bytes_sent -= size;
      c->owed--;
    }
  }
}

static void request(int epoll, struct connection *c, uint32_t count, uint64_t now) {
  struct batch *b = &c->ring[(c->head + c->batches++) % (uint32_t)opt.window];
  b->sent_at = now;
  b->count = count;
  c->sent += count;
  c->owed += count;
  flush_owed(epoll, c);
}

/* Reads what is there and returns how many replies came; the connection is dropped after the first fault. */
static uint32_t receive(struct connection *c, uint64_t *now, int measuring) {
  static uint8_t buffer[READ_BYTES];
  ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  *now = now_ns();
  if (n <= 0) {
    mine->closed++;
    drop(c);
    return 0;
  }
  int64_t replies = opt.fixed ? check_fixed(c, buffer, (uint32_t)n) : check_packets(c, buffer, (uint32_t)n);
  if (replies < 0 || c->received + (uint64_t)replies > c->sent - c->owed) {
    if (replies >= 0) mine->bad_length++; /* more replies than requests */
    drop(c);
    return 0;
  }
  c->received += (uint64_t)replies;
  mine->received += (uint64_t)replies;
  for (uint32_t left = (uint32_t)replies; left > 0;) {
    struct batch *b = &c->ring[c->head];
    uint32_t take = b->count < left ? b->count : left;
    if (measuring) histogram_add(&mine->latency, *now - b->sent_at, take);
    b->count -= take;
    left -= take;
    if (b->count == 0) {
      c->head = (c->head + 1) % (uint32_t)opt.window;
      c->batches--;
    }
  }
  if (measuring) mine->measured += (uint64_t)replies;
  return (uint32_t)replies;
}

/* One request and its reply, waited for: shows that the server has accepted everybody connected so far. */
static int probe(int fd) {
  char reply[16];
  uint32_t have = 0;
  if (send(fd, fixed_request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) return -1;
  while (have < reply_size) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t n = poll(&p, 1, 10000) == 1 ? recv(fd, reply + have, reply_size - have, 0) : -1;
    if (n <= 0) return -1;
    have += (uint32_t)n;
  }
  return memcmp(reply, fixed_reply, reply_size);
}

static void connect_all(struct connection *all, int count, int epoll) {
  struct sockaddr_storage address;
  socklen_t length = resolve(opt.host, opt.port, &address);
  for (int i = 0; i < count; i++) {
    struct connection *c = &all[i];
    int one = 1;
    c->fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, length) != 0)
      fail(1, "cannot connect to %s port %d (connection %d): %s", opt.host, opt.port, i + 1, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* In step with the server, or the rest would overflow its backlog and wait a second each. */
    if ((i % 128 == 127 || i == count - 1) && probe(c->fd) != 0)
      fail(1, "%s port %d does not answer a ping (connection %d)", opt.host, opt.port, i + 1);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
  }
}

/* The idle mode: says when all are connected, waits for a line on stdin, then asks each one for a ping. */
static int hold(struct connection *all, int count) {
  int alive = 0;
  char line[16];
  printf("{\"connected\":%d}\n", count);
  fflush(stdout);
  if (!fgets(line, sizeof line, stdin)) return 0;
  for (int i = 0; i < count; i++) {
    fcntl(all[i].fd, F_SETFL, 0);
    alive += probe(all[i].fd) == 0;
  }
  printf("{\"alive\":%d}\n", alive);
  return alive == count ? 0 : 3;
}

static int nobody_owes(const struct connection *all, int count) {
  for (int i = 0; i < count; i++)
    if (all[i].fd >= 0 && all[i].received < all[i].sent) return 0;
  return 1;
}

static void run(int process) {
  int count = opt.connections / opt.processes + (process < opt.connections % opt.processes);
  int epoll = epoll_create1(EPOLL_CLOEXEC), measuring = 0;
  struct connection *all = calloc((size_t)count, sizeof *all);
  struct epoll_event events[1024];
  double user = 0, system = 0;
  mine = &shared->result[process];
  for (int i = 0; i < count; i++) {
    all[i].number = (uint32_t)(i * opt.processes + process);
    all[i].ring = calloc((size_t)opt.window, sizeof(struct batch));
  }
  connect_all(all, count, epoll);
  if (opt.hold) exit(hold(all, count));
  if (__sync_add_and_fetch(&shared->ready, 1) == opt.processes) shared->start = now_ns();
  for (int i = 0; shared->start == 0; i++, usleep(200))
    if (i > 300000) fail(1, "the other generator processes did not connect within a minute");
  uint64_t now = now_ns(), from = shared->start + (uint64_t)(opt.warmup * SECOND);
  uint64_t to = from + (uint64_t)(opt.seconds * SECOND);
  for (int i = 0; i < count; i++) request(epoll, &all[i], (uint32_t)opt.window, now);
  while ((now = now_ns()) < to) {
    if (!measuring && now >= from) {
      measuring = 1;
      own_cpu(&user, &system);
      process_cpu_read(process == 0 ? opt.pid : 0, &mine->server_from);
    }
    int n = epoll_wait(epoll, events, 1024, 100);
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (c->fd < 0) continue;
      if (events[i].events & EPOLLOUT) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
        flush_owed(epoll, c);
      }
      uint32_t replies = receive(c, &now, measuring);
      if (replies > 0) request(epoll, c, replies, now);
    }
  }
  own_cpu(&mine->user, &mine->system);
  mine->user -= user;
  mine->system -= system;
  process_cpu_read(process == 0 ? opt.pid : 0, &mine->server_to);
  for (int i = 0; i < count; i++) mine->sent += all[i].sent;
  /* Nothing new is sent now: every reply still due must come within ten seconds of the last one. */
  for (uint64_t deadline = now + 10 * SECOND; now < deadline && mine->received < mine->sent; now = now_ns()) {
    int n = epoll_wait(epoll, events, 1024, 100);
    if (n == 0 && nobody_owes(all, count)) break;
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (c->fd < 0) continue;
      if (c->owed > 0) flush_owed(epoll, c);
      if (receive(c, &now, 0) > 0) deadline = now + 10 * SECOND;
    }
  }
  mine->missing = mine->sent - mine->received;
}

static int print(void) {
  struct result all = {0};
  for (int i = 0; i < opt.processes; i++) {
    const struct result *r = &shared->result[i];
    all.sent += r->sent, all.received += r->received, all.measured += r->measured;
    all.bad_length += r->bad_length, all.bad_code += r->bad_code, all.bad_crc += r->bad_crc;
    all.bad_body += r->bad_body, all.closed += r->closed, all.missing += r->missing;
    all.user += r->user, all.system += r->system;
    histogram_merge(&all.latency, &r->latency);
  }
  uint64_t bad = all.bad_length + all.bad_code + all.bad_crc + all.bad_body;
  printf("{\"tool\":\"packet-load\",\"code\":\"%s\",\"connections\":%d,\"window\":%d,\"processes\":%d,"
         "\"seconds\":%g,\"warmup\":%g,\"sent\":%llu,\"received\":%llu,\"perSecond\":%.0f,\"latencyUs\":",
         opt.codes_text, opt.connections, opt.window, opt.processes, opt.seconds, opt.warmup,
         (unsigned long long)all.sent, (unsigned long long)all.received, (double)all.measured / opt.seconds);
  histogram_print(stdout, &all.latency);
  printf(",\"failed\":%llu,\"failures\":{\"length\":%llu,\"code\":%llu,\"crc\":%llu,\"body\":%llu,"
         "\"closed\":%llu,\"missing\":%llu},\"cpu\":{\"generator\":{\"user\":%.2f,\"system\":%.2f},\"server\":",
         (unsigned long long)(bad + all.missing), (unsigned long long)all.bad_length,
         (unsigned long long)all.bad_code, (unsigned long long)all.bad_crc, (unsigned long long)all.bad_body,
         (unsigned long long)all.closed, (unsigned long long)all.missing, all.user, all.system);
  process_cpu_print(stdout, &shared->result[0].server_from, &shared->result[0].server_to);
  puts("}}");
  return bad + all.missing + all.closed > 0 ? 3 : 0;
}

static const char usage[] =
    "packet-load [options]: round trips of packets against a server; one line of JSON on stdout\n"
    "  --host H          default 127.0.0.1\n"
    "  --port P          required\n"
    "  --connections N   default 1\n"
    "  --window N        requests in flight on each connection, 1 to 4096, default 1\n"
    "  --code LIST       0 ping (default), 5 register, 6 login; a list such as 0,6,0 is sent in turn, and the\n"
    "                    replies must come in that order; redis-ping loads a Redis server instead\n"
    "  --user NAME       account for 6, start of the new names for 5; default bench.\n"
    "                    The password is read from the environment variable PACKET_LOAD_PASSWORD\n"
    "  --seconds S       measured time, default 5; --warmup S before it, default 1\n"
    "  --processes N     generator processes, default 1\n"
    "  --pid P           report the CPU seconds of this (server) process and of its threads\n"
    "  --hold            connect only; print how many, wait for a line on stdin, then ping each one once\n"
    "exit codes: 0 every reply right, 1 not reachable, 2 bad option, 3 wrong or missing replies";

static void parse_options(int argc, char **argv) {
  enum { HOST = 1, PORT, CONNECTIONS, WINDOW, CODE, USER, SECONDS, WARMUP, PROCESSES, PID, HOLD, HELP };
  static const struct option names[] = {
      {"host", 1, 0, HOST},       {"port", 1, 0, PORT},           {"connections", 1, 0, CONNECTIONS},
      {"window", 1, 0, WINDOW},   {"code", 1, 0, CODE},           {"user", 1, 0, USER},
      {"seconds", 1, 0, SECONDS}, {"warmup", 1, 0, WARMUP},       {"processes", 1, 0, PROCESSES},
      {"pid", 1, 0, PID},         {"hold", 0, 0, HOLD},           {"help", 0, 0, HELP},
      {0, 0, 0, 0}};
  for (int o; (o = getopt_long(argc, argv, "", names, NULL)) != -1;) switch (o) {
      case HOST: opt.host = optarg; break;
      case PORT: opt.port = (int)number_option("--port", optarg, 1, 65535); break;
      case CONNECTIONS: opt.connections = (int)number_option("--connections", optarg, 1, 1000000); break;
      case WINDOW: opt.window = (int)number_option("--window", optarg, 1, 4096); break;
      case CODE: opt.codes_text = optarg; break;
      case USER: opt.user = optarg; break;
      case SECONDS: opt.seconds = seconds_option("--seconds", optarg, 0.1); break;
      case WARMUP: opt.warmup = seconds_option("--warmup", optarg, 0); break;
      case PROCESSES: opt.processes = (int)number_option("--processes", optarg, 1, 64); break;
      case PID: opt.pid = (int)number_option("--pid", optarg, 1, INT32_MAX); break;
      case HOLD: opt.hold = 1; break;
      case HELP: puts(usage); exit(0);
      default: fail(2, "%s", usage);
    }
  if (optind < argc) fail(2, "unexpected argument \"%s\"\n%s", argv[optind], usage);
  if (opt.port == 0) fail(2, "--port is required\n%s", usage);
  if (opt.hold) opt.processes = 1;
  if (opt.processes > opt.connections) opt.processes = opt.connections;
  if (getenv("PACKET_LOAD_PASSWORD")) opt.password = getenv("PACKET_LOAD_PASSWORD");
  parse_codes();
}

int main(int argc, char **argv) {
  parse_options(argc, argv);
  crc_table_fill();
  fill_streams();
  need_files(opt.connections / opt.processes + 32);
  run_tag = (unsigned)(now_ns() >> 20) & 0xffffff;
  size_t size = sizeof *shared + (size_t)opt.processes * sizeof(struct result);
  shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) fail(3, "no memory for %d processes", opt.processes);
  if (opt.processes == 1) {
    run(0);
    return print();
  }
  for (int i = 0; i < opt.processes; i++) {
    pid_t pid = fork();
    if (pid < 0) fail(3, "fork: %s", strerror(errno));
    if (pid == 0) {
      run(i);
      _exit(0);
    }
  }
  for (int status, left = opt.processes; left > 0; left--)
    if (wait(&status) > 0 && status != 0) exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
  return print();
}
