/*
 * Reads HTTP answers as they come in pieces, and says when one is whole and whether it is the right one.
 * Used by http-load.c only. A body is compared byte by byte with the expected one while it streams in.
 */
#ifndef BENCH_HTTP_ANSWER_H
#define BENCH_HTTP_ANSWER_H

#include "common.h"
#include <strings.h>

#define HEAD_BYTES 8192
#define UNTIL_EOF UINT64_MAX

struct expectation {
  int status;              /* 0: any */
  int method_is_head;      /* the answer has no body whatever its head says */
  int http09;              /* no head: everything until the end of the stream is body */
  int any_body;            /* do not compare bodies */
  int learning;            /* the answer being read becomes the expected one; never with several at once */
  uint8_t *body;
  uint64_t body_bytes;
};

enum phase { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };
enum verdict { MORE, WHOLE, BAD };
enum fault { NO_FAULT, BAD_STATUS, BAD_BODY, BAD_SYNTAX };

struct answer {
  enum phase phase;
  enum fault fault;
  int status, close, wrong_body, lines; /* lines: bytes of the current chunk line that are not CR or LF */
  uint32_t head_bytes;
  uint64_t left, body_at; /* bytes of body (or chunk) still due; bytes of body seen */
  char head[HEAD_BYTES];
};

static inline void answer_reset(struct answer *a, const struct expectation *want) {
  a->phase = want->http09 ? BODY : HEAD;
  a->fault = NO_FAULT;
  a->status = a->close = a->wrong_body = a->lines = 0;
  a->head_bytes = 0;
  a->left = UNTIL_EOF;
  a->body_at = 0;
}

static inline int header_is(const char *line, const char *end, const char *name, const char **value) {
  size_t n = strlen(name);
  if ((size_t)(end - line) <= n || line[n] != ':' || strncasecmp(line, name, n) != 0) return 0;
  for (*value = line + n + 1; *value < end && **value == ' ';) ++*value;
  return 1;
}

/* Parses the head in a->head[0, bytes). */
static inline int answer_head(struct answer *a, const struct expectation *want, uint32_t bytes) {
  const char *line = a->head, *end = a->head + bytes, *value;
  uint64_t length = UNTIL_EOF;
  int chunked = 0;
  if (bytes < 14 || memcmp(line, "HTTP/1.", 7) != 0) return a->fault = BAD_SYNTAX, -1;
  a->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + line[11] - '0';
  a->close = line[7] == '0';
  while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL && ++line < end) {
    if (header_is(line, end, "content-length", &value)) length = strtoull(value, NULL, 10);
    else if (header_is(line, end, "transfer-encoding", &value)) chunked = strncasecmp(value, "chunked", 7) == 0;
    else if (header_is(line, end, "connection", &value)) a->close = strncasecmp(value, "close", 5) == 0;
  }
  if (want->method_is_head || a->status == 204 || a->status == 304) length = 0;
  else if (chunked) return a->phase = CHUNK_SIZE, a->left = 0, 0;
  a->phase = BODY;
  a->left = length;
  return 0;
}

static inline void answer_body(struct answer *a, struct expectation *want, const char *bytes, uint64_t n) {
  if (want->learning && !want->any_body) {
    uint8_t *grown = realloc(want->body, a->body_at + n);
    if (!grown) fail(3, "no memory for a body of %llu bytes", (unsigned long long)(a->body_at + n));
    memcpy(grown + a->body_at, bytes, n);
    want->body = grown;
  } else if (!want->any_body) {
    if (a->body_at + n > want->body_bytes || memcmp(want->body + a->body_at, bytes, n) != 0) a->wrong_body = 1;
  }
  a->body_at += n;
}

static inline enum verdict answer_whole(struct answer *a, struct expectation *want) {
  if (want->status != 0 && a->status != want->status && !want->http09) a->fault = BAD_STATUS;
  else if (want->any_body || want->method_is_head) a->fault = NO_FAULT;
  else if (want->learning) want->body_bytes = a->body_at, want->learning = 0;
  else if (a->wrong_body || a->body_at != want->body_bytes) a->fault = BAD_BODY;
  return a->fault ? BAD : WHOLE;
}

/*
 * Takes the next bytes of the stream. WHOLE or BAD: the answer ended (bytes after it, which nobody asked for,
 * are a fault). An answer that ends with the stream stays MORE until answer_end.
 */
static inline enum verdict answer_take(struct answer *a, struct expectation *want, const char *bytes, uint64_t n) {
  while (n > 0 || (a->phase == BODY && a->left == 0)) {
    uint64_t use = 1;
    switch (a->phase) {
      case HEAD: {
        use = n < HEAD_BYTES - a->head_bytes ? n : HEAD_BYTES - a->head_bytes;
        uint32_t from = a->head_bytes > 3 ? a->head_bytes - 3 : 0, had = a->head_bytes;
        memcpy(a->head + had, bytes, use);
        a->head_bytes += (uint32_t)use;
        char *end = memmem(a->head + from, a->head_bytes - from, "\r\n\r\n", 4);
        if (end) {
          use = (uint64_t)(end + 4 - a->head) - had;
          if (answer_head(a, want, (uint32_t)(end + 2 - a->head)) != 0) return BAD;
        } else if (a->head_bytes == HEAD_BYTES) {
          return a->fault = BAD_SYNTAX, BAD;
        }
        break;
      }
      case BODY:
        if (a->left == 0) return n > 0 ? (a->fault = BAD_SYNTAX, BAD) : answer_whole(a, want);
        use = n < a->left ? n : a->left;
        answer_body(a, want, bytes, use);
        if (a->left != UNTIL_EOF) a->left -= use;
        break;
      case CHUNK_SIZE:
        if (*bytes == '\n') {
          a->phase = a->left > 0 ? CHUNK_DATA : TRAILER;
          a->lines = 0;
        } else if (a->lines >= 0 && *bytes != '\r') { /* digits; -1 after the ';' of an extension */
          const char *digits = "0123456789abcdef", *d = strchr(digits, *bytes | 32);
          if (*bytes == ';') a->lines = -1;
          else if (!d || a->left >> 40) return a->fault = BAD_SYNTAX, BAD;
          else a->left = a->left * 16 + (uint64_t)(d - digits);
        }
        break;
      case CHUNK_DATA:
        use = n < a->left ? n : a->left;
        answer_body(a, want, bytes, use);
        if ((a->left -= use) == 0) a->phase = CHUNK_END;
        break;
      case CHUNK_END:
        if (*bytes == '\n') a->phase = CHUNK_SIZE;
        break;
      case TRAILER:
        if (*bytes == '\n' && a->lines == 0) {
          a->phase = BODY; /* nothing is left: the answer is whole */
          a->left = 0;
        } else if (*bytes == '\n') {
          a->lines = 0;
        } else if (*bytes != '\r') {
          a->lines++;
        }
    }
    bytes += use;
    n -= use;
  }
  return MORE;
}

/* The stream ended before answer_take said so. */
static inline enum verdict answer_end(struct answer *a, struct expectation *want) {
  if (a->phase == BODY && a->left == UNTIL_EOF && (a->status != 0 || want->http09)) return answer_whole(a, want);
  a->fault = BAD_SYNTAX;
  return BAD;
}

#endif
