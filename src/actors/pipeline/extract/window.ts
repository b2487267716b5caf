/**
 * Which keys of the overlap were sent already: rows whose transaction ended late have keys below the position, so the last
 * ones are looked at again and only those not sent yet are taken. Kept as ranges, since keys mostly follow one another.
 * Pure; any thread.
 */
import type { SqlRow } from '../../../store/driver.js';

export type IntKey = number | bigint;

/** More ranges than this forget the lowest ones: their rows may then be sent twice, never lost. */
const MAX_RANGES = 100_000;

/** An integer that the database gave in whatever form; small ones become numbers. @returns undefined: it is none */
export function integerOf(value: unknown): IntKey | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined;
  if (typeof value === 'bigint') return narrow(value);
  const digits = typeof value === 'string' ? /^(-?\d{1,30})(?:\.0+)?$/.exec(value)?.[1] : undefined;
  return digits === undefined ? undefined : narrow(BigInt(digits));
}

function narrow(value: bigint): IntKey {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

export class KeyOrderError extends Error {}

export class SentKeys {
  /** Lower and upper ends in turns, ascending. */
  private known: bigint[];
  private at = 0;
  private fresh: bigint[] = [];
  private previous: bigint | undefined;
  private cut = false;

  /** @param text of `toText`; '' for none. @param overlap keys further below the newest one are of no interest */
  constructor(
    text: string,
    private readonly overlap: bigint,
  ) {
    this.known =
      text === ''
        ? []
        : text.split(',').flatMap((range) => {
            const [low = '', high = low] = range.split(':');
            return [BigInt(low), BigInt(high)];
          });
  }

  /** Set once keys had to be forgotten. */
  get incomplete(): boolean {
    return this.cut;
  }

  /**
   * A new pass over the overlap: what was sent until now is known from now on. @param from keys up to it are of no interest.
   * @param upTo of the rows taken so far, those up to this key were sent; undefined: none
   */
  begin(from: bigint, upTo: bigint | undefined): void {
    this.known = within(merged(this.known, this.sentBy(upTo)), from);
    this.fresh = [];
    this.at = 0;
    this.previous = undefined;
  }

  /**
   * The rows not sent yet. @param rows in ascending order of an integer key
   * @throws KeyOrderError for a key that is no integer, or not larger than the one before it
   */
  take(rows: readonly SqlRow[], keyAt: number): readonly SqlRow[] {
    let kept: SqlRow[] | undefined;
    rows.forEach((row, i) => {
      const key = integerOf(row[keyAt]);
      if (key === undefined) throw new KeyOrderError(`"${String(row[keyAt]).slice(0, 40)}" is no integer`);
      if (this.isNew(BigInt(key))) kept?.push(row);
      else kept ??= rows.slice(0, i);
    });
    return kept ?? rows;
  }

  /** @param from only keys beyond it. @param upTo as for `begin`: a step may end in the middle of the rows that were taken */
  toText(from: bigint, upTo: bigint): string {
    const all = within(merged(this.known, this.sentBy(upTo)), from);
    const parts: string[] = [];
    for (let i = 0; i < all.length; i += 2) {
      const [low = 0n, high = 0n] = [all[i], all[i + 1]];
      parts.push(low === high ? String(low) : `${low}:${high}`);
    }
    if (parts.length > MAX_RANGES) this.cut = true;
    return parts.slice(-MAX_RANGES).join(',');
  }

  private sentBy(upTo: bigint | undefined): bigint[] {
    if (upTo === undefined) return [];
    const out: bigint[] = [];
    for (let i = 0; i < this.fresh.length; i += 2) {
      const [low = 0n, high = 0n] = [this.fresh[i], this.fresh[i + 1]];
      if (low > upTo) break;
      out.push(low, high < upTo ? high : upTo);
    }
    return out;
  }

  private isNew(key: bigint): boolean {
    const { known, fresh, previous } = this;
    if (previous !== undefined && key <= previous)
      throw new KeyOrderError(
        `${key} comes behind ${previous}: with overlap each row needs an integer key of its own`,
      );
    this.previous = key;
    while (this.at < known.length && (known[this.at + 1] ?? 0n) < key) this.at += 2;
    if (this.at < known.length && (known[this.at] ?? 0n) <= key) return false;
    if (fresh.length > 0 && fresh[fresh.length - 1] === key - 1n) fresh[fresh.length - 1] = key;
    else fresh.push(key, key);
    if (fresh.length > MAX_RANGES * 4) this.shorten(key - this.overlap);
    return true;
  }

  private shorten(from: bigint): void {
    const first = this.fresh.findIndex((end, i) => i % 2 === 1 && end > from) - 1;
    const old = Math.max(first, 0);
    this.cut ||= old < MAX_RANGES * 2;
    this.fresh.splice(0, Math.max(old, MAX_RANGES * 2));
  }
}

/** Ranges with keys beyond `from`. */
function within(ranges: readonly bigint[], from: bigint): bigint[] {
  return ranges.filter((_, i, all) => (all[i | 1] ?? 0n) > from);
}

/** Two ascending lists of ranges as one, neighbours joined. */
function merged(a: readonly bigint[], b: readonly bigint[]): bigint[] {
  const out: bigint[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    const first = j >= b.length || (i < a.length && (a[i] ?? 0n) <= (b[j] ?? 0n));
    const [low = 0n, high = 0n] = first ? [a[i], a[i + 1]] : [b[j], b[j + 1]];
    if (first) i += 2;
    else j += 2;
    const end = out[out.length - 1];
    if (end !== undefined && low <= end + 1n) {
      if (high > end) out[out.length - 1] = high;
    } else out.push(low, high);
  }
  return out;
}
