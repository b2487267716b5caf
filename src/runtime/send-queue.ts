/**
 * What waits to be written to one client. While the kernel takes everything, bytes only pass through; once a write
 * is left unfinished the connection is blocked, later replies wait behind it and the limits of spec packet-server 6 hold.
 * The thread of the reactor.
 */
import type { Connection } from './connection.js';
import type { CloseReason } from './listener-counters.js';

/** Limits of all connections together, and what counts towards them now. */
export interface SendBudget {
  maxBytes: number;
  maxPackets: number;
  /** Bytes given to us and not yet taken by the kernel. */
  bytes: number;
  /** Packets that wait for blocked clients. */
  packets: number;
}

/** Collected output beyond this is written without waiting for the flush, so that only slow clients meet the limits. */
const WRITE_THROUGH_BYTES = 256 * 1024;

export class SendQueue {
  packetsOut = 0;
  bytesOut = 0;
  /** Since when the last write is unfinished; Infinity: it is not. */
  blockedSince = Infinity;
  private first: Buffer | undefined = undefined;
  private more: Buffer[] | undefined = undefined;
  private bytes = 0;
  private packets = 0;
  private unfinishedBytes = 0;
  private unfinishedPackets = 0;

  constructor(private readonly connection: Connection) {}

  get blocked(): boolean {
    return this.blockedSince !== Infinity;
  }

  get empty(): boolean {
    return this.first === undefined && !this.blocked;
  }

  get waitingBytes(): number {
    return this.bytes + this.unfinishedBytes;
  }

  get waitingPackets(): number {
    return this.packets + this.unfinishedPackets;
  }

  /** @param bytes become ours. @returns false: discarded and the connection closed, because a limit was passed */
  add(bytes: Buffer, packets: number): boolean {
    const { listener } = this.connection;
    if (this.bytes >= WRITE_THROUGH_BYTES && !this.blocked) this.write();
    const limit = this.limitPassedBy(bytes.length, packets);
    if (limit !== undefined) {
      listener.counters.discarded += packets;
      this.connection.log('conn.send_queue_full', limit);
      this.connection.destroy(limit);
      return false;
    }
    if (this.first === undefined) {
      this.first = bytes;
      if (!this.blocked) listener.queued(this.connection);
    } else (this.more ??= []).push(bytes);
    this.bytes += bytes.length;
    this.packets += packets;
    listener.budget.bytes += bytes.length;
    if (this.blocked) {
      listener.budget.packets += packets;
      this.pauseWhenHigh();
    }
    return true;
  }

  private limitPassedBy(bytes: number, packets: number): CloseReason | undefined {
    const { budget, values } = this.connection.listener;
    const waiting = this.waitingBytes;
    if (waiting > 0 && waiting + bytes > values.send_queue_bytes) return 'send-queue';
    if (budget.bytes + bytes > budget.maxBytes) return 'send-queue-total';
    if (!this.blocked) return undefined;
    // The reference's test: more than the limit are waiting already.
    if (this.waitingPackets > values.send_queue_packets) return 'send-queue';
    return budget.packets + packets > budget.maxPackets ? 'send-queue-total' : undefined;
  }

  flush(): void {
    if (this.first !== undefined && !this.blocked) this.write();
  }

  private write(): void {
    const { connection, first, more, bytes, packets } = this;
    const { listener, socket } = connection;
    if (first === undefined) return;
    this.first = this.more = undefined;
    this.bytes = this.packets = 0;
    this.packetsOut += packets;
    this.bytesOut += bytes;
    listener.counters.packetsOut += packets;
    listener.counters.bytesOut += bytes;
    const taken = socket.write(more === undefined ? first : Buffer.concat([first, ...more], bytes));
    if (taken || socket.writableLength === 0) {
      listener.budget.bytes -= bytes;
      return;
    }
    this.unfinishedBytes = bytes;
    this.unfinishedPackets = packets;
    this.blockedSince = listener.now();
    listener.budget.packets += packets;
    // 'drain' is sure to come: the write returned false. Listened for only now, so that fast clients pay nothing.
    socket.once('drain', () => this.onDrain());
    connection.arm(this.blockedSince + listener.values.send_timeout);
    this.pauseWhenHigh();
  }

  private onDrain(): void {
    if (!this.blocked) return;
    this.forget(this.unfinishedBytes, this.unfinishedPackets + this.packets);
    this.unfinishedBytes = this.unfinishedPackets = 0;
    this.blockedSince = Infinity;
    this.write();
    if (!this.blocked) this.connection.resumeAfterSending();
    this.connection.afterWrite();
  }

  private pauseWhenHigh(): void {
    const { values } = this.connection.listener;
    if (
      this.waitingBytes >= values.send_pause_bytes ||
      this.waitingPackets * 2 >= values.send_queue_packets
    ) {
      this.connection.pauseForSending();
    }
  }

  /** The connection has ended: gives back its share of the limits. */
  discard(): void {
    const { counters } = this.connection.listener;
    counters.discarded += this.waitingPackets;
    this.forget(this.waitingBytes, this.blocked ? this.waitingPackets : 0);
    this.first = this.more = undefined;
    this.bytes = this.packets = this.unfinishedBytes = this.unfinishedPackets = 0;
    this.blockedSince = Infinity;
  }

  private forget(bytes: number, packets: number): void {
    const { budget } = this.connection.listener;
    budget.bytes -= bytes;
    budget.packets -= packets;
  }
}
