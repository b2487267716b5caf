/*
 * What packet-load sends and what it accepts as a reply. Included by packet-load.c only.
 * Wire format: length (2), code (2), CRC-32 of the body (4), body; all big-endian.
 */
#ifndef BENCH_PACKET_WIRE_H
#define BENCH_PACKET_WIRE_H

#include "common.h"
#include <arpa/inet.h>

#define HEADER 8
#define NAME 56
#define PASSWORD 40
#define LARGEST 108 /* bytes of the largest packet sent or awaited: register */
#define MAX_CODES 16
#define READ_BYTES 262144

static struct {
  const char *host, *user, *password, *codes_text;
  int port, connections, window, processes, pid, hold;
  double seconds, warmup;
  int codes[MAX_CODES], code_count; /* requests cycle through these; unused when `fixed` */
  int fixed;                        /* every reply is the same bytes: ping and Redis PING */
} opt = {.host = "127.0.0.1", .user = "bench", .password = "", .codes_text = "0", .connections = 1, .window = 1,
         .processes = 1, .seconds = 5, .warmup = 1};

struct batch { /* requests sent with one system call */
  uint64_t sent_at;
  uint32_t count;
};

struct connection {
  int fd;
  uint32_t number;                /* among all processes */
  uint32_t owed, owed_bytes_sent; /* requests still to send; bytes of the first of them already gone */
  uint64_t sent, received;        /* requests begun and replies checked */
  uint32_t head, batches;         /* ring of `window` batches */
  struct batch *ring;
  uint32_t have; /* bytes of an incomplete reply: in `part`, or only counted when fixed */
  uint8_t part[LARGEST];
};

struct result { /* one per process, in memory shared with the parent */
  uint64_t sent, received, measured;
  uint64_t bad_length, bad_code, bad_crc, bad_body, closed, missing;
  double user, system;
  struct process_cpu server_from, server_to;
  struct histogram latency;
};

static struct result *mine; /* of this process */
static const char *fixed_request, *fixed_reply;
static uint32_t request_size, reply_size; /* fixed only */
static uint8_t *request_stream, *reply_stream;
static uint32_t crc_table[256];
static unsigned run_tag; /* makes the names registered by this run new */

static uint32_t crc32_of(const uint8_t *bytes, size_t n) {
  uint32_t c = 0xffffffff;
  while (n--) c = crc_table[(c ^ *bytes++) & 255] ^ (c >> 8);
  return ~c;
}

static void crc_table_fill(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
    crc_table[i] = c;
  }
}

static uint32_t packet_length(int code) {
  return code == 5 ? HEADER + 4 + NAME + PASSWORD : code == 6 ? HEADER + NAME + PASSWORD : HEADER;
}

static uint32_t seal(uint8_t *packet, int code, uint32_t length) {
  uint32_t crc = htonl(length > HEADER ? crc32_of(packet + HEADER, length - HEADER) : 0);
  uint16_t wire[2] = {htons((uint16_t)length), htons((uint16_t)code)};
  memcpy(packet, wire, 4);
  memcpy(packet + 4, &crc, 4);
  return length;
}

/*
 * Writes request `number` of a connection. All logins are the same packet, made once; registering needs a new
 * name each time: <user>-<run>-<connection>-<number>.
 */
static uint32_t build_request(uint8_t *out, const struct connection *c, uint64_t number) {
  static uint8_t login[LARGEST];
  int code = opt.codes[number % (uint64_t)opt.code_count];
  uint32_t length = packet_length(code);
  if (code == 6) {
    if (login[1] == 0) {
      snprintf((char *)login + HEADER, NAME, "%s", opt.user);
      snprintf((char *)login + HEADER + NAME, PASSWORD, "%s", opt.password);
      seal(login, code, length);
    }
    memcpy(out, login, length);
    return length;
  }
  memset(out, 0, length);
  if (code == 5) {
    snprintf((char *)out + HEADER + 4, NAME, "%.20s-%x-%u-%llu", opt.user, run_tag, c->number,
             (unsigned long long)number);
    snprintf((char *)out + HEADER + 4 + NAME, PASSWORD, "%s", opt.password);
  }
  return seal(out, code, length);
}

/* Returns the whole replies in `bytes`, or -1 after counting what was wrong with the first bad one. */
static int64_t check_fixed(struct connection *c, const uint8_t *bytes, uint32_t n) {
  if (memcmp(bytes, reply_stream + c->have, n) != 0) {
    mine->bad_body++;
    return -1;
  }
  uint32_t total = c->have + n;
  c->have = total % reply_size;
  return total / reply_size;
}

static uint32_t length_field(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static int check_packet(const uint8_t *p, uint32_t length, uint64_t number) {
  static uint8_t verified[2][LARGEST]; /* the last good packet: most replies equal it, and need no new CRC */
  int code = opt.codes[number % (uint64_t)opt.code_count];
  if (((int)p[2] << 8 | p[3]) != code) return mine->bad_code++, -1;
  if (length != packet_length(code)) return mine->bad_length++, -1;
  if (length > HEADER && memcmp(p, verified[code & 1], length) == 0) return 0;
  uint32_t crc;
  memcpy(&crc, p + 4, 4);
  if (ntohl(crc) != (length > HEADER ? crc32_of(p + HEADER, length - HEADER) : 0)) return mine->bad_crc++, -1;
  if (length > HEADER) memcpy(verified[code & 1], p, length);
  return 0;
}

static int64_t check_packets(struct connection *c, const uint8_t *bytes, uint32_t n) {
  int64_t replies = 0;
  while (n > 0) {
    const uint8_t *packet = bytes;
    uint32_t length = c->have == 0 && n >= HEADER ? length_field(bytes) : 0;
    if (length >= HEADER && length <= n) {
      bytes += length;
      n -= length;
    } else { /* incomplete: collect the header first, then the rest */
      uint32_t due = (c->have < HEADER ? HEADER : length_field(c->part)) - c->have, take = due < n ? due : n;
      memcpy(c->part + c->have, bytes, take);
      c->have += take;
      bytes += take;
      n -= take;
      if (c->have < HEADER) continue;
      length = length_field(packet = c->part);
      if (length < HEADER || length > LARGEST) return mine->bad_length++, -1;
      if (c->have < length) continue;
      c->have = 0;
    }
    if (check_packet(packet, length, c->received + (uint64_t)replies) != 0) return -1;
    replies++;
  }
  return replies;
}

static void parse_codes(void) {
  char text[64], *rest = text, *part;
  int redis = strcmp(opt.codes_text, "redis-ping") == 0;
  snprintf(text, sizeof text, "%s", opt.codes_text);
  opt.fixed = redis || strcmp(text, "0") == 0;
  fixed_request = redis ? "*1\r\n$4\r\nPING\r\n" : "\0\10\0\0\0\0\0\0";
  fixed_reply = redis ? "+PONG\r\n" : fixed_request;
  request_size = redis ? 14 : HEADER;
  reply_size = redis ? 7 : HEADER;
  while (!redis && (part = strsep(&rest, ",")) != NULL) {
    long code = number_option("--code", part, 0, 6);
    if (code > 0 && code < 5) fail(2, "--code: %ld is reserved and never answered; use 0, 5 or 6", code);
    if (opt.code_count == MAX_CODES) fail(2, "--code: at most %d codes", MAX_CODES);
    opt.codes[opt.code_count++] = (int)code;
  }
}

static void fill_streams(void) {
  uint32_t n = (uint32_t)opt.window * request_size;
  request_stream = malloc(n);
  reply_stream = malloc(READ_BYTES + reply_size);
  for (uint32_t i = 0; i < n; i++) request_stream[i] = (uint8_t)fixed_request[i % request_size];
  for (uint32_t i = 0; i < READ_BYTES + reply_size; i++) reply_stream[i] = (uint8_t)fixed_reply[i % reply_size];
}

#endif
