/**
 * The packet server: takes valid frames of the packet protocol and answers them by the command table (spec packet-server 2,
 * 5). Worker thread.
 *
 * Replies of one connection keep the order of its requests. A command that answers at once is answered within `frame`. One that
 * takes time (a login hashes a password) lets `frame` return and holds up its own connection only: later packets of that
 * connection wait here, within limits. Such packets count as taken by the mailbox, so after a crash they
 * will never be answered: their connection carries a mark (`working`) and is closed, and the client tries again.
 */
import type { Actor, ActorContext, ConnectionInfo } from '../../runtime/actor.js';
import type { ConnectionRef } from '../../runtime/ref.js';
import { StoreError, type Store } from '../../store/driver.js';
import { HasherBusyError, PasswordHasher } from '../../store/passwords.js';
import { PACKET_HEADER_BYTES } from '../../protocol/packet.js';
import type { PacketCommand, Reply, Services } from './command.js';
import { commandTable, COMMANDS } from './commands/index.js';
import type { PacketValues } from './keys.js';
import { openAccounts } from './open-accounts.js';
import { Session } from './session.js';

const NO_BODY = Buffer.alloc(0);
/** At most one log line about dropped packets in this time (ms), with the number of those it stands for. */
const DROP_LOG_INTERVAL = 10_000;

type DropReason = 'unknown-code' | 'body-size';

/** @throws StoreError when the accounts cannot be opened: counts as a failed start. */
export async function createPacketServer(ctx: ActorContext): Promise<Actor> {
  const values = ctx.params as PacketValues;
  const hasher = new PasswordHasher({
    cost: values.hash_cost,
    concurrency: values.hash_concurrency,
    maxWaiting: values.hash_waiting,
  });
  const { store, accounts } = await openAccounts(values, hasher);
  const services: Services = { accounts, count: (name, labels) => ctx.count(name, 1, labels) };
  return new PacketServer(ctx, values, COMMANDS, services, store);
}

export class PacketServer implements Actor {
  private readonly table: readonly (PacketCommand | undefined)[];
  /** By slot of the connection. */
  private readonly sessions: (Session | undefined)[] = [];
  /** Promises of commands under way, for an orderly stop. */
  private readonly underWay = new Set<Promise<void>>();
  private pending = 0;
  private stopping = false;
  private readonly drops = { lastLog: -Infinity, unlogged: 0 };

  constructor(
    private readonly ctx: ActorContext,
    private readonly values: PacketValues,
    commands: readonly PacketCommand[],
    private readonly services: Services,
    private readonly store: Store,
  ) {
    this.table = commandTable(commands);
  }

  connected(connection: ConnectionRef, info: ConnectionInfo, attachment: unknown): void {
    const session = new Session(connection, info.remoteAddress, this.values.connection_failures);
    const previous = this.sessions[connection.slot];
    if (previous !== undefined) this.forget(previous);
    this.sessions[connection.slot] = session;
    if (!session.restore(attachment)) return;
    session.gone = true;
    this.ctx.count('packet_unanswered_total');
    this.ctx.close(connection, 'a reply was lost in a restart');
  }

  disconnected(connection: ConnectionRef): void {
    const session = this.sessions[connection.slot];
    if (session?.connection.generation !== connection.generation) return;
    this.sessions[connection.slot] = undefined;
    this.forget(session);
  }

  frame(connection: ConnectionRef, bytes: Buffer, start: number, end: number): void {
    const session = this.sessions[connection.slot];
    if (session === undefined || session.gone || session.connection.generation !== connection.generation)
      return;
    const code = ((bytes[start + 2] ?? 0) << 8) | (bytes[start + 3] ?? 0);
    const command = this.table[code];
    if (command === undefined) return this.drop('unknown-code', code, session);
    const bodyBytes = end - start - PACKET_HEADER_BYTES;
    if (bodyBytes !== command.bodyBytes) return this.drop('body-size', code, session);
    // Copied because the mailbox's memory is used again when this method returns.
    const body = bodyBytes === 0 ? NO_BODY : Buffer.from(bytes.subarray(start + PACKET_HEADER_BYTES, end));
    if (session.working) return this.wait(session, command, body);
    const reply = this.handle(command, body, session);
    if (reply instanceof Promise) this.start(session, command, reply);
    else this.reply(session, reply);
  }

  /** Commands under way are finished and answered; connections whose packets still wait are closed. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.underWay);
    await this.store.close();
  }

  /** A throw is a bug and ends this instance; the client is closed first, because nobody will ever answer it. */
  private handle(command: PacketCommand, body: Buffer, session: Session): Reply | Promise<Reply> {
    try {
      return command.handle(body, session, this.services);
    } catch (error) {
      this.ctx.count('packet_unanswered_total');
      this.end(session, 'the command failed');
      throw error;
    }
  }

  private wait(session: Session, command: PacketCommand, body: Buffer): void {
    const { connection_pending, total_pending } = this.values;
    if (session.waiting.length >= connection_pending) return this.end(session, 'too many packets wait');
    if (this.pending >= total_pending) return this.end(session, 'the server is busy');
    session.waiting.push({ command, body });
    this.pending += 1;
  }

  private start(session: Session, command: PacketCommand, reply: Promise<Reply>): void {
    session.working = true;
    this.ctx.attach(session.connection, session.attachment());
    const done = this.work(session, command, reply).finally(() => this.underWay.delete(done));
    this.underWay.add(done);
  }

  /** Answers the first packet and then, in order, those that came meanwhile. Never rejects. */
  private async work(session: Session, command: PacketCommand, reply: Promise<Reply>): Promise<void> {
    let current = command;
    let answer: Reply | Promise<Reply> = reply;
    for (;;) {
      try {
        this.reply(session, await answer);
        const next = session.gone ? undefined : session.waiting.shift();
        if (next === undefined) break;
        this.pending -= 1;
        if (this.stopping) {
          this.end(session, 'the server is stopping');
          break;
        }
        current = next.command;
        answer = current.handle(next.body, session, this.services);
      } catch (error) {
        this.failed(session, current, error);
        break;
      }
    }
    session.working = false;
    if (!session.gone) this.ctx.attach(session.connection, session.attachment());
  }

  private reply(session: Session, reply: Reply): void {
    if (session.gone) return;
    if (reply !== undefined) this.ctx.send(session.connection, reply);
    if (session.closing !== undefined) this.end(session, session.closing);
  }

  private failed(session: Session, command: PacketCommand, error: unknown): void {
    if (session.gone) return;
    const busy = error instanceof HasherBusyError || (error instanceof StoreError && error.retryable);
    this.ctx.count('packet_unanswered_total');
    const fields = { command: command.name, remote: session.remote, reason: String(error) };
    if (busy) this.ctx.log.warn('packet.busy', fields);
    else this.ctx.log.error('packet.command-failed', fields);
    this.end(session, busy ? 'the server is busy' : 'the command failed');
  }

  private end(session: Session, reason: string): void {
    if (session.gone) return;
    this.forget(session);
    this.ctx.close(session.connection, reason);
  }

  private forget(session: Session): void {
    session.gone = true;
    session.user = undefined;
    this.pending -= session.waiting.length;
    session.waiting.length = 0;
  }

  private drop(reason: DropReason, code: number, session: Session): void {
    this.ctx.count('packet_dropped_total', 1, { reason });
    const now = performance.now();
    if (now - this.drops.lastLog < DROP_LOG_INTERVAL) {
      this.drops.unlogged += 1;
      return;
    }
    this.ctx.log.info('packet.dropped', {
      reason,
      code,
      remote: session.remote,
      unlogged: this.drops.unlogged,
    });
    this.drops.lastLog = now;
    this.drops.unlogged = 0;
  }
}
