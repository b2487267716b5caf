/**
 * Password hashes: scrypt with a random salt, about 0.1 s of one core each. The work runs on Node's own threads, a few at a time
 * so that files and names still get theirs, with a bounded number waiting. Any thread; one hasher per actor.
 */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

export interface HasherOptions {
  /** log2 of scrypt's N; 15 needs 32 MB and about 0.1 s. Default 15. */
  readonly cost?: number;
  /** Hashes under way at once, default 2. */
  readonly concurrency?: number;
  /** Hashes that may wait for their turn, default 64. */
  readonly maxWaiting?: number;
}

/** Too many hashes wait: try again later. */
export class HasherBusyError extends Error {
  constructor(waiting: number) {
    super(`${waiting} passwords wait to be checked already`);
    this.name = 'HasherBusyError';
  }
}

interface Parameters {
  readonly cost: number;
  readonly blockSize: number;
  readonly parallel: number;
}

const BLOCK_SIZE = 8;
const PARALLEL = 1;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
/** `scrypt$<log2 N>$<r>$<p>$<salt>$<key>`, both base64: what was used is kept, so the cost can be raised later. */
const FORMAT = /^scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/=]{8,88})\$([A-Za-z0-9+/=]{16,172})$/;
/** A hash text from elsewhere must not make us allocate gigabytes: N 2^18 with r 8 is 256 MB. */
const MAX_COST = 18;

export class PasswordHasher {
  private running = 0;
  private readonly waiting: (() => void)[] = [];
  private readonly parameters: Parameters;
  private readonly concurrency: number;
  private readonly maxWaiting: number;

  constructor(options: HasherOptions = {}) {
    this.parameters = { cost: options.cost ?? 15, blockSize: BLOCK_SIZE, parallel: PARALLEL };
    this.concurrency = options.concurrency ?? 2;
    this.maxWaiting = options.maxWaiting ?? 64;
  }

  /** @returns the text to keep. @throws HasherBusyError */
  async hash(password: string): Promise<string> {
    const salt = randomBytes(SALT_BYTES);
    const key = await this.derive(password, salt, KEY_BYTES, this.parameters);
    const { cost, blockSize, parallel } = this.parameters;
    return `scrypt$${cost}$${blockSize}$${parallel}$${salt.toString('base64')}$${key.toString('base64')}`;
  }

  /**
   * @param stored text of `hash`; undefined when there is no such user: takes the same time and is false.
   * @throws HasherBusyError
   */
  async verify(password: string, stored: string | undefined): Promise<boolean> {
    const parts = FORMAT.exec(stored ?? '');
    const [, cost, blockSize, parallel, salt = '', key = ''] = parts ?? [];
    const parameters = { cost: Number(cost), blockSize: Number(blockSize), parallel: Number(parallel) };
    const usable = parts !== null && parameters.cost <= MAX_COST && parameters.blockSize <= BLOCK_SIZE && parameters.parallel <= 4; // prettier-ignore
    if (!usable) {
      await this.derive(password, randomBytes(SALT_BYTES), KEY_BYTES, this.parameters);
      return false;
    }
    const expected = Buffer.from(key, 'base64');
    const actual = await this.derive(password, Buffer.from(salt, 'base64'), expected.length, parameters);
    return timingSafeEqual(actual, expected);
  }

  private async derive(password: string, salt: Buffer, bytes: number, with_: Parameters): Promise<Buffer> {
    if (this.running >= this.concurrency) {
      if (this.waiting.length >= this.maxWaiting) throw new HasherBusyError(this.waiting.length);
      // Whoever finishes hands its place over, so `running` stays as it is.
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else {
      this.running += 1;
    }
    try {
      return await runScrypt(password, salt, bytes, with_);
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.running -= 1;
      else next();
    }
  }
}

function runScrypt(password: string, salt: Buffer, bytes: number, parameters: Parameters): Promise<Buffer> {
  const { cost, blockSize: r, parallel: p } = parameters;
  const N = 2 ** cost;
  // Exactly 128 * N * r would be refused: scrypt needs a little more.
  const maxmem = 128 * r * (N + p) + 1_048_576;
  return new Promise((resolve, reject) => {
    scrypt(password, salt, bytes, { N, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
