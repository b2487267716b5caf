/** Who may call the data service: passwords, client addresses, grants (spec data-centre 11.3, steps 1 to 3). Worker thread. */
import { createHmac, randomBytes } from 'node:crypto';
import { BlockList, isIP, isIPv6 } from 'node:net';
import type { Store } from '../../../store/driver.js';
import type { PasswordHasher } from '../../../store/passwords.js';
import type { Credentials } from './query.js';

const MAX_VERIFIED = 10_000;
const MAX_ADDRESSES = 10_000;
const FAILURE_WINDOW = 60_000;

/**
 * Checks passwords, remembering those that were right for a while, so that not every request costs a hash. Kept is an HMAC
 * under a key of this process, over the stored hash too: a changed password counts at once.
 */
export class PasswordChecker {
  private readonly key = randomBytes(32);
  private readonly verified = new Map<string, number>();
  /** Checks under way: a hundred requests of one client at start cost one check. */
  private readonly running = new Map<string, Promise<boolean>>();

  constructor(
    private readonly hasher: Pick<PasswordHasher, 'verify'>,
    private readonly ttlMs: number,
    private readonly now: () => number,
  ) {}

  /** @param stored undefined: no such user, which takes as long as a wrong password. @throws HasherBusyError */
  async check({ username, password }: Credentials, stored: string | undefined): Promise<boolean> {
    const id = createHmac('sha256', this.key)
      .update(JSON.stringify([username, password, stored]))
      .digest('base64');
    const until = this.verified.get(id);
    if (until !== undefined && until > this.now()) return true;
    let check = this.running.get(id);
    if (check === undefined) {
      check = this.hasher.verify(password, stored).finally(() => this.running.delete(id));
      this.running.set(id, check);
    }
    const right = await check;
    if (right && this.ttlMs > 0) this.remember(id);
    return right;
  }

  private remember(id: string): void {
    this.verified.delete(id);
    if (this.verified.size >= MAX_VERIFIED) this.verified.delete(this.verified.keys().next().value ?? '');
    this.verified.set(id, this.now() + this.ttlMs);
  }
}

/** Counts wrong passwords of each client address. */
export class FailureLimiter {
  private readonly counts = new Map<string, { since: number; failures: number }>();

  constructor(
    private readonly limit: number,
    private readonly now: () => number,
  ) {}

  blocked(address: string): boolean {
    const entry = this.counts.get(address);
    return entry !== undefined && this.now() - entry.since < FAILURE_WINDOW && entry.failures >= this.limit;
  }

  /** @returns how many in the present minute */
  failed(address: string): number {
    const now = this.now();
    let entry = this.counts.get(address);
    if (entry === undefined || now - entry.since >= FAILURE_WINDOW) {
      this.counts.delete(address);
      // Full of attackers: the oldest goes, so memory stays bounded whatever they do.
      if (this.counts.size >= MAX_ADDRESSES) this.counts.delete(this.counts.keys().next().value ?? '');
      entry = { since: now, failures: 0 };
      this.counts.set(address, entry);
    }
    return ++entry.failures;
  }
}

/**
 * Whether an address is in a T_USERINFO.ip text: addresses and networks (`10.0.0.0/8`) with commas, semicolons or
 * blanks between. Empty text: any address. An entry that is neither allows nobody.
 */
export function addressAllowed(list: string | null, address: string): boolean {
  const entries = (list ?? '').split(/[\s,;]+/).filter((entry) => entry !== '');
  if (entries.length === 0) return true;
  const allowed = new BlockList();
  for (const entry of entries) {
    const [base = '', bits] = entry.split('/');
    const family = isIPv6(base) ? 'ipv6' : 'ipv4';
    const length = bits === undefined ? undefined : Number(bits);
    if (
      isIP(base) === 0 ||
      (length !== undefined && !(length >= 0 && length <= (family === 'ipv6' ? 128 : 32)))
    )
      continue;
    if (length === undefined) allowed.addAddress(base, family);
    else allowed.addSubnet(base, length, family);
  }
  // A dual-stack listener shows IPv4 clients as ::ffff:1.2.3.4.
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(plain) !== 0 && allowed.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4');
}

export interface UserRow {
  readonly passwd: string;
  readonly ip: string | null;
}

export interface InterfaceRow {
  readonly selectsql: string;
  readonly colstr: string;
  readonly bindin: string | null;
}

/** An enabled user. @throws StoreError */
export async function findUser(store: Store, username: string): Promise<UserRow | undefined> {
  const { rows } = await store.query('SELECT passwd, ip FROM T_USERINFO WHERE username = ? AND rsts = 1', [
    username,
  ]);
  const [row] = rows;
  return row && { passwd: String(row[0]), ip: text(row[1]) };
}

/** An enabled interface that was granted to the user. @throws StoreError */
export async function findInterface(
  store: Store,
  username: string,
  intername: string,
): Promise<InterfaceRow | undefined> {
  const { rows } = await store.query(
    `SELECT c.selectsql, c.colstr, c.bindin FROM T_INTERCFG c
     JOIN T_USERANDINTER g ON g.intername = c.intername
     WHERE g.username = ? AND c.intername = ? AND c.rsts = 1`,
    [username, intername],
  );
  const [row] = rows;
  return row && { selectsql: String(row[0]), colstr: String(row[1]), bindin: text(row[2]) };
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
