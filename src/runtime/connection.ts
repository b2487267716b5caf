/**
 * One client: its socket, what it still has to send and receive, and its end. Buffers exist only while there is
 * something in them, so an idle connection costs little. The thread of the reactor.
 *
 * Life: open -> replying (nothing is taken any more, replies already due still go out) -> ending (nothing is queued
 * any more; what was queued goes out, then FIN) -> closed. Any state can go straight to closed.
 */
import type { Socket } from 'node:net';
import type { FrameCodec } from '../protocol/frame.js';
import type { ConnectionInfo } from './actor.js';
import type { ConnectionTimes } from './connection-timers.js';
import { heartbeatInterval, nextLook, overdue } from './connection-timers.js';
import type { FloodState } from './flood-guard.js';
import type { FrameSink } from './frame-sink.js';
import type { CloseReason, ListenerCounters } from './listener-counters.js';
import type { ListenerValues } from './listener-keys.js';
import type { Logger } from './log-contract.js';
import { receive, receiveHeld } from './receiver.js';
import type { ConnectionRef } from './ref.js';
import { SendQueue, type SendBudget } from './send-queue.js';

/** What connections share with their listener. */
export interface ListenerContext {
  readonly name: string;
  readonly actor: string;
  readonly codec: FrameCodec;
  readonly sink: FrameSink;
  /** Message code of a heartbeat, for heartbeat_refresh = ping. */
  readonly pingCode: number;
  readonly values: ListenerValues;
  readonly counters: ListenerCounters;
  readonly log: Logger;
  readonly budget: SendBudget;
  now(): number;
  schedule(slot: number, atMs: number): void;
  /** The connection has something for the next flush. */
  queued(connection: Connection): void;
  released(connection: Connection): void;
}

type State = 'open' | 'replying' | 'ending' | 'closed';

/** How long replies still due may take after the last packet was taken. */
const REPLY_GRACE_MS = 1000;
/** How long a client may take to close after our FIN; what it sends meanwhile is thrown away. */
const LINGER_MS = 2000;

export class Connection implements ConnectionTimes, FloodState {
  attachment: unknown = undefined;
  packetsIn = 0;
  bytesIn = 0;
  badPackets = 0;
  floodCount = 0;
  lastPacketAt = -Infinity;
  lastReceivedAt: number;
  lastBeatAt: number;
  nextHeartbeatAt: number;
  partial: Buffer | undefined = undefined;
  partialBytes = 0;
  partialSince = Infinity;
  /** What the sink refused; at most one chunk and one frame, because reading stops. */
  held: Buffer | undefined = undefined;
  heldAt = 0;
  readonly output: SendQueue;
  private state: State = 'open';
  private reason: CloseReason = 'peer-closed';
  private reasonText: string | undefined = undefined;
  private finSent = false;
  private roomPaused = false;
  private sendPaused = false;
  private closeBy = Infinity;
  private scheduledFor = Infinity;

  constructor(
    readonly ref: ConnectionRef,
    readonly info: ConnectionInfo,
    readonly socket: Socket,
    readonly listener: ListenerContext,
    readonly openedAt: number,
  ) {
    this.lastReceivedAt = openedAt;
    this.lastBeatAt = openedAt;
    this.nextHeartbeatAt = openedAt + heartbeatInterval(listener.values);
    this.output = new SendQueue(this);
    socket.on('data', (chunk: Buffer) => this.onData(chunk));
    socket.on('end', () => this.onEnd());
    socket.on('error', (error: NodeJS.ErrnoException) => this.onError(error));
    socket.on('close', () => this.release());
    this.look(openedAt);
  }

  get receiving(): boolean {
    return this.state === 'open';
  }

  get closed(): boolean {
    return this.state === 'closed';
  }

  get readPaused(): boolean {
    return this.roomPaused || this.sendPaused;
  }

  get blockedSince(): number {
    return this.output.blockedSince;
  }

  private onData(chunk: Buffer): void {
    if (this.state !== 'open') return;
    const now = this.listener.now();
    this.lastReceivedAt = now;
    this.bytesIn += chunk.length;
    this.listener.counters.bytesIn += chunk.length;
    receive(this, chunk, now);
  }

  private onEnd(): void {
    if (this.state === 'open') this.finishReplies('peer-closed');
  }

  private onError(error: NodeJS.ErrnoException): void {
    const gone = error.code === 'ECONNRESET' || error.code === 'EPIPE';
    if (this.state === 'open') this.reason = gone ? 'reset' : 'socket-error';
    this.listener.log.debug('conn.error', { remote: this.info.remoteAddress, code: error.code });
  }

  /** Looks at the time-outs at the latest at `atMs`. Cheap when it will anyway. */
  arm(atMs: number): void {
    if (atMs >= this.scheduledFor) return;
    this.scheduledFor = atMs;
    this.listener.schedule(this.ref.slot, atMs);
  }

  /** Called by the wheel: closes when a time-out has passed, else asks to be called again. */
  onTimer(now: number): void {
    this.scheduledFor = Infinity;
    if (now >= this.closeBy) {
      return this.state === 'replying' ? this.end(this.reason) : this.destroy(this.reason);
    }
    const reason = this.state === 'open' ? overdue(this, this.listener.values, now) : undefined;
    if (reason === undefined) return this.look(now);
    this.log('conn.timeout', reason);
    this.destroy(reason);
  }

  limitsChanged(): void {
    const now = this.listener.now();
    const interval = heartbeatInterval(this.listener.values);
    // A heartbeat that was off has not been counted so far; one that is shortened is checked sooner.
    if (this.nextHeartbeatAt === Infinity) this.lastBeatAt = now;
    this.nextHeartbeatAt = Math.min(this.nextHeartbeatAt, now + interval);
    if (interval === Infinity) this.nextHeartbeatAt = Infinity;
    this.look(now);
  }

  /** Asks for the next look. */
  private look(now: number): void {
    if (this.state === 'closed') return;
    const own = this.state === 'open' ? nextLook(this, this.listener.values, now) : Infinity;
    const at = Math.min(own, this.closeBy);
    if (at !== Infinity) this.arm(at);
  }

  dropPartial(): void {
    this.partial = undefined;
    this.partialBytes = 0;
    this.partialSince = Infinity;
  }

  waitForRoom(): void {
    this.listener.counters.pausedForMailbox++;
    this.roomPaused = true;
    this.socket.pause();
    this.listener.sink.whenRoom(() => this.onRoom());
  }

  private onRoom(): void {
    if (this.state === 'closed') return;
    this.roomPaused = false;
    receiveHeld(this);
    if (this.roomPaused || this.closed) return;
    this.readAgain();
    this.endWhenReplied();
  }

  pauseForSending(): void {
    if (this.sendPaused || this.state !== 'open') return;
    this.listener.counters.pausedForSending++;
    this.sendPaused = true;
    this.socket.pause();
  }

  resumeAfterSending(): void {
    if (!this.sendPaused) return;
    this.sendPaused = false;
    this.readAgain();
  }

  /** While we did not read, the client could not show that it is alive. */
  private readAgain(): void {
    if (this.readPaused) return;
    const now = this.listener.now();
    this.lastReceivedAt = now;
    this.lastBeatAt = now;
    if (this.partialBytes > 0) this.partialSince = now;
    this.socket.resume();
  }

  /** Takes nothing any more, waits a moment for the replies that are due, then ends. */
  finishReplies(reason: CloseReason): void {
    if (this.state !== 'open') return;
    if (reason !== 'peer-closed') this.log('conn.closing', reason);
    this.state = 'replying';
    this.reason = reason;
    this.dropPartial();
    this.closeBy = this.listener.now() + REPLY_GRACE_MS;
    this.arm(this.closeBy);
    // What still comes is read and thrown away: unread bytes would turn our close into a reset.
    if (this.held === undefined) this.resumeForEnd();
    this.endWhenReplied();
  }

  /** Replies are counted, not matched: a protocol that also pushes may end a moment early or late. */
  private endWhenReplied(): void {
    const due =
      this.held !== undefined || this.output.packetsOut + this.output.waitingPackets < this.packetsIn;
    if (this.state === 'replying' && !due) this.end(this.reason);
  }

  /**
   * Ends after what was queued is flushed.
   * @param text reason given to the actor when it is one of its own
   */
  end(reason: CloseReason, text?: string): void {
    if (this.state === 'ending' || this.state === 'closed') return;
    this.state = 'ending';
    this.reason = reason;
    this.reasonText = text;
    this.held = undefined;
    this.dropPartial();
    this.closeBy = this.listener.now() + this.listener.values.send_timeout;
    this.arm(this.closeBy);
    this.resumeForEnd();
    if (this.output.empty) this.fin();
    else this.listener.queued(this);
  }

  private resumeForEnd(): void {
    this.roomPaused = this.sendPaused = false;
    this.socket.resume();
  }

  private fin(): void {
    if (this.finSent) return;
    this.finSent = true;
    this.closeBy = this.listener.now() + LINGER_MS;
    this.arm(this.closeBy);
    this.socket.end();
  }

  /** @returns false when the bytes were dropped */
  send(bytes: Buffer, packets: number): boolean {
    if (this.state === 'open' || this.state === 'replying') return this.output.add(bytes, packets);
    this.listener.counters.discarded += packets;
    return false;
  }

  /** Writes what is queued; part of the reactor's flush. */
  flush(): void {
    if (this.state === 'closed') return;
    this.output.flush();
    this.afterWrite();
  }

  /** Something left the queue. */
  afterWrite(): void {
    if (this.state === 'replying') this.endWhenReplied();
    if (this.state === 'ending' && this.output.empty) this.fin();
  }

  /** Closes now; what was queued is lost and counted. */
  destroy(reason: CloseReason): void {
    if (this.state === 'closed') return;
    this.reason = reason;
    this.release();
    this.socket.destroy();
  }

  private release(): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.held = undefined;
    this.dropPartial();
    this.output.discard();
    this.listener.counters.closed[this.reason]++;
    this.listener.released(this);
    this.listener.sink.closed(this.ref, this.reasonText ?? this.reason);
  }

  log(event: string, reason: CloseReason): void {
    const { remoteAddress, remotePort } = this.info;
    this.listener.log.warn(event, {
      reason,
      remote: remoteAddress,
      port: remotePort,
      packets: this.packetsIn,
    });
  }
}
