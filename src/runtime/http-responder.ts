/**
 * The worker side of one HTTP exchange: request bytes in, response records out. Streaming is limited by credit: at
 * most WINDOW_BYTES are under way to the main thread and the client. Worker thread only.
 */
import type { ActorHttpRequest, ActorHttpResponse } from './actor.js';
import type { ActorLink } from './actor-context.js';
import { decodePayload, encodePayload } from './payload.js';
import { Kind } from './record.js';

/** Bytes that may be unacknowledged before `write` waits. */
const WINDOW_BYTES = 256 * 1024;
const EMPTY = new Uint8Array(0);

/** Head of a request record: int32 length of the encoded head, the head, the body. */
export type RequestHead = Omit<ActorHttpRequest, 'body'>;

export function encodeRequest(head: RequestHead, body: Uint8Array): Buffer {
  const encoded = encodePayload(head);
  const bytes = Buffer.allocUnsafe(4 + encoded.length + body.length);
  bytes.writeInt32LE(encoded.length, 0);
  bytes.set(encoded, 4);
  bytes.set(body, 4 + encoded.length);
  return bytes;
}

export class HttpResponder implements ActorHttpResponse {
  aborted = false;
  private state: 'new' | 'headed' | 'ended' = 'new';
  private unacknowledged = 0;
  /** Writers that wait for credit: all of them go on together. */
  private room: { readonly opens: Promise<void>; readonly open: () => void } | undefined;

  constructor(
    private readonly exchange: number,
    readonly link: ActorLink,
  ) {
    link.credits.set(exchange, this);
  }

  parse(payload: Uint8Array): ActorHttpRequest {
    const bytes = Buffer.from(payload);
    const length = bytes.readInt32LE(0);
    const head = decodePayload(bytes.subarray(4, 4 + length)) as RequestHead;
    return { ...head, body: bytes.subarray(4 + length) };
  }

  head(status: number, headers: Readonly<Record<string, string>> = {}): void {
    if (this.state !== 'new') throw new Error('the response head was already sent');
    this.state = 'headed';
    this.put(Kind.HTTP_HEAD, encodePayload([status, headers]));
  }

  write(chunk: string | Uint8Array): Promise<void> {
    if (this.state === 'ended') throw new Error('the response was already ended');
    if (this.state === 'new') this.head(200);
    if (this.aborted) return Promise.resolve();
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (bytes.length === 0) return Promise.resolve();
    this.unacknowledged += bytes.length;
    this.put(Kind.HTTP_BODY, bytes);
    if (this.unacknowledged < WINDOW_BYTES) return Promise.resolve();
    if (this.room === undefined) {
      let open = (): void => undefined;
      const opens = new Promise<void>((resolve) => (open = resolve));
      this.room = { opens, open };
    }
    return this.room.opens;
  }

  end(chunk?: string | Uint8Array): void {
    if (this.state === 'ended') return;
    if (this.state === 'new') this.head(200);
    this.state = 'ended';
    const bytes = chunk === undefined ? EMPTY : typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (bytes.length > 0) this.put(Kind.HTTP_BODY, bytes);
    this.put(Kind.HTTP_END, EMPTY);
    this.leave();
  }

  cut(reason: string): void {
    if (this.state === 'ended') return;
    this.state = 'ended';
    this.put(Kind.HTTP_CUT, encodePayload(reason));
    this.leave();
  }

  /** Called by the host when the main thread has passed bytes on. */
  credit(bytes: number): void {
    this.unacknowledged -= bytes;
    if (this.unacknowledged < WINDOW_BYTES / 2) this.release();
  }

  /** Called when the client or this instance of the actor has gone. */
  abort(): void {
    this.aborted = true;
    this.leave();
  }

  /** No credit will come any more. The exchange may have been delivered again: to a responder that stays. */
  private leave(): void {
    this.release();
    if (this.link.credits.get(this.exchange) === this) this.link.credits.delete(this.exchange);
  }

  private release(): void {
    const { room } = this;
    this.room = undefined;
    room?.open();
  }

  private put(kind: number, bytes: Uint8Array): void {
    if (this.aborted || this.link.closed) return;
    const { outbox, number } = this.link;
    if (kind === Kind.HTTP_BODY) outbox.stream(kind, this.exchange, 0, number, bytes);
    else outbox.write(kind, this.exchange, 0, number, bytes);
    if (!this.link.inTurn) this.link.outbox.flush();
  }
}
