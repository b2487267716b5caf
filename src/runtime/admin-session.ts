/**
 * One admin connection: lines in, framed answers out. Main thread.
 *
 *     > auth TOKEN        first line, always
 *     < ok
 *     < .
 *     > ps
 *     < ok                `ok` or `error`
 *     < ACTOR  STATE ..   the answer, 0..n lines; a leading dot is doubled
 *     < .                 end of the answer
 *
 * Commands of one connection run one after another; while one runs, or while its answer is not yet sent, the socket is
 * not read, so that what waits here is at most one line and one read.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { UsageError, type AdminCommand, type AdminReply } from './admin-commands/command.js';
import { ADMIN_COMMANDS } from './admin-commands/index.js';
import type { ControlPlane } from './control-plane.js';
import { reasonOf } from './errors.js';
import type { Logger } from './log-contract.js';
import { nearest } from './nearest.js';

export interface SessionOptions {
  readonly token: string;
  readonly control: ControlPlane;
  readonly log: Logger;
  /** Bytes of one request line. */
  readonly maxLineBytes: number;
  /** Wrong tokens before the connection is closed. */
  readonly maxTries: number;
  /** Answer delay after a wrong token. */
  readonly wrongTokenDelayMs: number;
}

/** Commands that change something are written to the log with their arguments. */
const READ_ONLY = new Set([
  'help',
  'ps',
  'queues',
  'conns',
  'stages',
  'runs',
  'dead',
  'dump',
  'metrics',
  'quit',
]);

const LINGER_MS = 1000;

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

function failure(text: string, close = false): AdminReply {
  return { ok: false, data: { error: text }, text, close };
}

/** Sends what is queued, then closes; reads on meanwhile so that the peer's close is seen. */
export function endSocket(socket: Socket): void {
  socket.end();
  socket.resume();
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** The bytes of an answer. */
export function frameReply(reply: AdminReply, json: boolean): string {
  const body = json ? JSON.stringify(reply.data) : reply.text;
  const lines = body === '' ? [] : body.split('\n');
  const stuffed = lines.map((line) => (line.startsWith('.') ? `.${line}` : line));
  return [reply.ok ? 'ok' : 'error', ...stuffed, '.', ''].join('\n');
}

export class AdminSession {
  private pending: Buffer = Buffer.alloc(0);
  private authorised = false;
  private tries = 0;
  private json = false;
  private working = false;
  private closing = false;
  private oneJson = false;
  private readonly gone = new AbortController();

  constructor(
    private readonly socket: Socket,
    private readonly options: SessionOptions,
  ) {
    socket.once('close', () => this.gone.abort());
    socket.on('data', (chunk: Buffer) => {
      if (this.closing) return;
      this.pending = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
      void this.work();
    });
  }

  get isAuthorised(): boolean {
    return this.authorised;
  }

  private async work(): Promise<void> {
    if (this.working) return;
    this.working = true;
    this.socket.pause();
    try {
      for (let line = this.nextLine(); line !== undefined && !this.closing; line = this.nextLine()) {
        const reply = await this.answer(line);
        const sent = this.socket.write(frameReply(reply, this.json || this.oneJson));
        if (reply.close) this.end();
        else if (!sent) await once(this.socket, 'drain', { signal: this.gone.signal });
      }
    } catch {
      this.socket.destroy(); // the client went away while its answer was being sent
    } finally {
      this.working = false;
      this.socket.resume();
    }
  }

  private nextLine(): string | undefined {
    const at = this.pending.indexOf(0x0a);
    const length = at < 0 ? this.pending.length : at;
    if (length > this.options.maxLineBytes) {
      const text = `a line may have ${this.options.maxLineBytes} bytes`;
      this.socket.write(frameReply(failure(text), this.json));
      this.end();
      return undefined;
    }
    if (at < 0) return undefined;
    const line = this.pending.toString('utf8', 0, at).trim();
    this.pending = this.pending.subarray(at + 1);
    return line;
  }

  private end(): void {
    this.closing = true;
    this.pending = Buffer.alloc(0);
    endSocket(this.socket);
  }

  private async answer(line: string): Promise<AdminReply> {
    this.oneJson = false;
    if (!this.authorised) return this.authorise(line);
    let words = line.split(/\s+/).filter((word) => word !== '');
    if (words[0] === 'json') {
      words = words.slice(1);
      if (words.length === 1 && (words[0] === 'on' || words[0] === 'off')) {
        this.json = words[0] === 'on';
        return { ok: true, data: { json: this.json }, text: `json ${words[0]}` };
      }
      this.oneJson = true;
    }
    const [name, ...args] = words;
    if (name === undefined) return failure('empty line; `help` lists the commands');
    const command = ADMIN_COMMANDS.find((c) => c.name === name.toLowerCase());
    return command === undefined ? unknown(name) : this.run(command, args);
  }

  private async run(command: AdminCommand, args: readonly string[]): Promise<AdminReply> {
    const { log, control } = this.options;
    if (!READ_ONLY.has(command.name))
      log.notice('admin.command', { command: command.name, args: args.join(' ') });
    try {
      return await command.run(args, control);
    } catch (thrown) {
      if (thrown instanceof UsageError) {
        return failure(`${thrown.message}; usage: ${command.name} ${command.usage}`.trimEnd());
      }
      log.error('admin.failed', { command: command.name, reason: reasonOf(thrown) });
      return failure(reasonOf(thrown));
    }
  }

  private async authorise(line: string): Promise<AdminReply> {
    const [verb, token] = line.split(/\s+/);
    const right = timingSafeEqual(digest(token ?? ''), digest(this.options.token));
    if (verb === 'auth' && right) {
      this.authorised = true;
      return { ok: true, data: { auth: true }, text: '' };
    }
    this.tries += 1;
    const reason = verb === 'auth' ? 'wrong token' : 'no auth line';
    this.options.log.warn('admin.refused', { remote: this.socket.remoteAddress, reason, tries: this.tries });
    await new Promise((resolve) => setTimeout(resolve, this.options.wrongTokenDelayMs));
    // Anything but `auth` as the first line is a stray client (a browser, a scanner): no second try.
    return failure(
      verb === 'auth' ? 'wrong token' : 'the first line must be: auth TOKEN',
      verb !== 'auth' || this.tries >= this.options.maxTries,
    );
  }
}

function unknown(name: string): AdminReply {
  const near = nearest(
    name,
    ADMIN_COMMANDS.map((c) => c.name),
  );
  const hint = near === undefined ? '' : `; did you mean "${near}"?`;
  return failure(
    `no command "${name.slice(0, 60)}"${hint} \`help\` lists the commands`.replace('" `', '"; `'),
  );
}
