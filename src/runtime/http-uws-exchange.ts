/**
 * An exchange of the uws engine. Main thread. Three ways out: whole answers and bodies of known length go by
 * `tryEnd`, which takes what the socket takes and leaves the rest with us; others go chunked. Nothing is left to the
 * engine's own buffer beyond a piece, so a client that does not read holds a bounded amount.
 */
import { HttpExchange, type ExchangeOwner, type RequestHeaders } from './http-exchange.js';
import { isBodiless, STATUS_LINES, type PreparedHead } from './http-message.js';
import type { UwsResponse } from './http-uws-api.js';

export interface UwsOwner extends ExchangeOwner {
  readonly unfinished: Set<UwsExchange>;
  finished(exchange: UwsExchange): void;
  /** False when this turn has sent many answers without a body: `tryEnd` cannot hold them back for a client that does not read. */
  mayAnswerEmpty(): boolean;
}

/** Chunked bodies leave in pieces: larger than the engine's cork buffer (16 KB), so that `write` tells the truth. */
const PIECE = 32 * 1024;

export class UwsExchange extends HttpExchange {
  /** Inside the engine's callback: it is corked and need not be detached yet. */
  private inTurn = true;
  private detached = false;
  /** The response object must not be touched any more. */
  private gone = false;
  private waiting: Uint8Array[] = [];
  private behind = false;
  private writableHooked = false;
  private remote: string | undefined;
  private readonly clientCloses: boolean;

  constructor(
    private readonly uwsOwner: UwsOwner,
    method: string,
    path: string,
    query: string,
    headers: RequestHeaders,
    private readonly response: UwsResponse,
  ) {
    super(uwsOwner, method, path, query, headers);
    // The engine's own test for "close"; it then closes by itself, but does not say so.
    this.clientCloses = headers['connection']?.length === 5;
  }

  get remoteAddress(): string {
    if (this.remote === undefined) {
      this.remote = this.gone ? '' : readableAddress(this.response.getRemoteAddressAsText());
    }
    return this.remote;
  }

  turnBegins(): void {
    this.inTurn = true;
  }

  /** The engine's callback is about to return: an unfinished exchange must be told of an abort from now on. */
  turnEnds(): void {
    this.inTurn = false;
    if (!this.gone) this.detach();
  }

  detach(): void {
    if (this.detached) return;
    this.detached = true;
    this.uwsOwner.unfinished.add(this);
    void this.remoteAddress; // cannot be asked once the client has gone
    this.response.onAborted(() => {
      this.leave();
      if (this.ended) this.drained();
      else this.markAborted();
    });
  }

  abort(): void {
    this.ended = true;
    if (!this.gone) {
      this.detach();
      this.response.close(); // calls onAborted
    }
    this.markAborted();
  }

  protected sendWhole(status: number, head: PreparedHead, body: Uint8Array): void {
    if (this.gone) return;
    this.length = body.length;
    if (this.inTurn && !this.bodiless()) this.sendAll(status, head, body);
    else this.corked(() => this.sendAll(status, head, body));
  }

  protected sendChunk(bytes: Uint8Array): boolean {
    if (this.gone) return true;
    this.waiting.push(bytes);
    if (!this.behind) this.corked(() => this.pump());
    return !this.behind;
  }

  protected finish(bytes: Uint8Array): void {
    if (this.gone) return;
    const head = this.pendingHead;
    if (head !== undefined) {
      if (this.bodiless()) {
        if (this.length < 0) this.length = bytes.length;
        this.corked(() => this.sendHeadOnly(head));
      } else {
        this.length = bytes.length;
        this.corked(() => this.sendAll(this.status, head, bytes));
      }
      return;
    }
    if (bytes.length > 0) this.waiting.push(bytes);
    if (!this.behind) this.corked(() => this.pump());
  }

  protected blocked(): boolean {
    return this.behind;
  }

  private sendAll(status: number, head: PreparedHead, body: Uint8Array): void {
    const { response } = this;
    this.writeHead(status, head);
    if (this.method === 'HEAD' || isBodiless(status)) {
      this.endHeadOnly(isBodiless(status) ? -1 : body.length);
    } else if (body.length === 0 || this.mustClose()) {
      response.end(body, this.mustClose());
      this.leave();
    } else if (response.tryEnd(body, body.length)[1]) {
      this.leave();
    } else {
      this.waiting = [body.subarray(response.getWriteOffset())];
      this.fallBehind();
    }
  }

  private sendHeadOnly(head: PreparedHead): void {
    this.writeHead(this.status, head);
    this.endHeadOnly(isBodiless(this.status) ? -1 : this.length);
  }

  /** The engine's own `endWithoutBody(length)` leaves the response open for ever, so the lines are written by hand. */
  private endHeadOnly(length: number): void {
    if (length >= 0) this.response.writeHeader('Content-Length', String(length));
    if (this.mustClose() && !this.clientCloses) this.response.writeHeader('Connection', 'close');
    this.response.endWithoutBody();
    this.leave();
  }

  private writeHead(status: number, head: PreparedHead): void {
    this.pendingHead = undefined;
    if (status !== 200) this.response.writeStatus(STATUS_LINES[status] ?? String(status));
    this.response.writeHeader(head.first, head.rest);
    if (this.clientCloses) this.response.writeHeader('Connection', 'close');
    if (this.echoId !== undefined) this.response.writeHeader('X-Request-Id', this.echoId);
  }

  /** Sends what waits until the socket takes no more; ends the response after the last piece if it was asked for. */
  private pump(): void {
    if (this.pendingHead !== undefined) {
      this.writeHead(this.status, this.pendingHead);
      if (this.mustClose() && !this.clientCloses) this.response.writeHeader('Connection', 'close');
    }
    const known = this.length >= 0;
    while (this.waiting.length > 0) {
      const first = this.waiting[0] as Uint8Array;
      if (known ? !this.pumpKnown(first) : !this.pumpPiece(first)) {
        if (!this.gone) this.fallBehind();
        return;
      }
    }
    if (this.ended && !this.gone) {
      this.response.end(undefined, this.mustClose());
      this.leave();
    }
  }

  private pumpKnown(first: Uint8Array): boolean {
    const before = this.response.getWriteOffset();
    const [taken, complete] = this.response.tryEnd(first, this.length);
    if (complete) {
      this.waiting = [];
      this.leave();
      return true;
    }
    const written = taken ? first.length : this.response.getWriteOffset() - before;
    if (written === first.length) this.waiting.shift();
    else this.waiting[0] = first.subarray(written);
    return taken;
  }

  private pumpPiece(first: Uint8Array): boolean {
    if (first.length <= PIECE) this.waiting.shift();
    else this.waiting[0] = first.subarray(PIECE);
    return this.response.write(first.subarray(0, PIECE));
  }

  private fallBehind(): void {
    this.behind = true;
    if (this.writableHooked) return;
    this.writableHooked = true;
    this.detach();
    this.response.onWritable(() => {
      if (this.gone) return true;
      this.behind = false;
      // An empty cork sends what the engine kept of the last chunked piece; nothing else does.
      this.response.cork(noop);
      this.response.cork(() => this.pump());
      if (!this.behind || this.gone) this.drained();
      return !this.behind;
    });
  }

  private mustClose(): boolean {
    return this.closing || this.owner.draining;
  }

  private corked(send: () => void): void {
    if (this.inTurn && this.bodiless() && !this.uwsOwner.mayAnswerEmpty()) this.later(send);
    else if (this.inTurn) send();
    else this.response.cork(send);
  }

  /** An answer that is late by a turn makes the engine close who pipelines on behind it. */
  private later(send: () => void): void {
    this.detach();
    setImmediate(() => {
      if (!this.gone) this.response.cork(send);
    });
  }

  private leave(): void {
    this.gone = true;
    this.waiting = [];
    if (this.detached) this.uwsOwner.finished(this);
  }
}

const noop = (): void => undefined;

/** IPv4 clients of a dual-stack socket are shown in their own form. */
function readableAddress(text: ArrayBuffer): string {
  const address = Buffer.from(text).toString();
  const mapped = /^0000:0000:0000:0000:0000:ffff:(\w{2})(\w{2}):(\w{2})(\w{2})$/.exec(address);
  return mapped === null
    ? address
    : mapped
        .slice(1)
        .map((part) => parseInt(part, 16))
        .join('.');
}
