/** A packet server without runtime and sockets: bytes go through the real codec, replies are kept by connection. */
import type { PacketServer } from '../../../src/actors/packet/server.js';
import { packetKeys, type PacketValues } from '../../../src/actors/packet/keys.js';
import { createPacketCodec } from '../../../src/protocol/packet.js';
import type { ConnectionRef } from '../../../src/runtime/ref.js';
import { FakeContext } from '../../support/fake-context.js';

export interface Line {
  readonly kind: 'send' | 'close';
  readonly text: string;
}

/** Cheap hashes; the rest as shipped. */
export function values(store: string, change: Partial<PacketValues> = {}): PacketValues {
  const defaults: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(packetKeys)) {
    defaults[key] = spec.type === 'int' ? Number(spec.default) : spec.default;
  }
  return { ...defaults, lock_time: 1_800_000, hash_cost: 10, store, ...change } as PacketValues;
}

export class PacketContext extends FakeContext {
  readonly lines = new Map<number, Line[]>();
  readonly attached = new Map<number, unknown>();

  private put(connection: ConnectionRef, line: Line): void {
    const known = this.lines.get(connection.slot);
    if (known === undefined) this.lines.set(connection.slot, [line]);
    else known.push(line);
  }
  override send(connection: ConnectionRef, bytes: Uint8Array): void {
    this.put(connection, { kind: 'send', text: Buffer.from(bytes).toString('hex') });
  }
  override close(connection?: ConnectionRef, reason = ''): void {
    if (connection !== undefined) this.put(connection, { kind: 'close', text: reason });
  }
  override attach(connection?: ConnectionRef, data?: unknown): void {
    if (connection !== undefined) this.attached.set(connection.slot, structuredClone(data));
  }
  of(slot: number): Line[] {
    return this.lines.get(slot) ?? [];
  }
  replies(slot: number): string[] {
    return this.of(slot)
      .filter(({ kind }) => kind === 'send')
      .map(({ text }) => text);
  }
}

export class Client {
  private readonly codec = createPacketCodec();
  private readonly connection: ConnectionRef;

  constructor(
    private readonly server: PacketServer,
    private readonly context: PacketContext,
    readonly slot: number,
    generation = 1,
    attachment?: unknown,
  ) {
    this.connection = { slot, generation };
    const info = { listener: 'packet', remoteAddress: '192.0.2.1', remotePort: 1, secure: false };
    server.connected(this.connection, info, attachment);
  }

  /** Whatever the codec lets through reaches the actor, in memory that is used again at once, as a mailbox is. */
  send(...packets: (string | Uint8Array)[]): void {
    const bytes = Buffer.concat(packets.map((p) => (typeof p === 'string' ? Buffer.from(p, 'hex') : p)));
    for (let at = 0; at < bytes.length;) {
      const length = this.codec.decode(bytes, at, bytes.length);
      if (length === 0) break;
      if (length > 0) {
        const memory = Buffer.from(new SharedArrayBuffer(64 + length));
        bytes.copy(memory, 32, at, at + length);
        this.server.frame({ ...this.connection }, memory, 32, 32 + length);
        memory.fill(0xee);
      }
      at += Math.abs(length);
    }
  }

  disconnect(): void {
    this.server.disconnected({ ...this.connection });
  }

  get replies(): string[] {
    return this.context.replies(this.slot);
  }

  get closed(): string | undefined {
    return this.context.of(this.slot).find(({ kind }) => kind === 'close')?.text;
  }

  /** Waits for so many replies, or for the close. */
  async answered(count: number): Promise<string[]> {
    for (const deadline = performance.now() + 15_000; performance.now() < deadline;) {
      if (this.replies.length >= count || this.closed !== undefined) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.replies;
  }
}
