import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tabLine, type TabValue } from '../../src/protocol/tab-text.js';
import { openStore, StoreError, type BulkOptions, type SqlRow, type Store } from '../../src/store/driver.js';

let folder: string;
let store: Store;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bulk-'));
  store = await openStore(`sqlite:${folder}/data.db`);
  await store.execute(`CREATE TABLE o (
    id VARCHAR(5) NOT NULL, at DATETIME NOT NULL, n INT, d DECIMAL(10,2), f DOUBLE, b BLOB, x,
    upd TEXT DEFAULT 'new', k INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (id, at))`);
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const COLUMNS = ['id', 'at', 'n', 'd', 'f', 'b', 'x'];
const AT = '2026-02-28 12:00:00';

const text = (rows: readonly (readonly TabValue[])[]): Buffer => Buffer.from(rows.map(tabLine).join(''));
const all = async (sql = 'SELECT id, n FROM o ORDER BY k'): Promise<readonly SqlRow[]> =>
  (await store.query(sql)).rows;
const load = async (
  columns: readonly string[],
  rows: readonly (readonly TabValue[])[],
  options?: BulkOptions,
) => store.bulk('o', columns, [text(rows)], options);

async function failure(
  promise: Promise<unknown>,
): Promise<{ code: string; row: number | undefined; text: string }> {
  const error = await promise.then(
    () => new Error('fulfilled'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof StoreError)) throw error;
  return { code: error.code, row: error.row, text: error.message };
}

/** @param bad the last of `count` rows, or one among them */
function rowsWith(count: number, at: number, bad: readonly TabValue[]): (readonly TabValue[])[] {
  return Array.from({ length: count }, (_, i) => (i === at ? bad : [String(i), AT, i]));
}

describe('bulk load into SQLite', () => {
  it('stores every value as it was given', async () => {
    await load(
      COLUMNS,
      [
        ['a\tb\n', AT, -5, '1.50', '1e3', '0aff', 'x\\y'],
        ['ü漢', '2026-01-01', '9007199254740993', null, null, null, null],
        ['', '2026-01-01T00:00:00.123Z', '+7', '-0.25', '0.1', '', ''],
      ],
      { hex: ['b'] },
    );
    expect(await all('SELECT id, at, n, d, f, b, x, typeof(n), typeof(x), upd FROM o ORDER BY k')).toEqual([
      ['a\tb\n', AT, -5, 1.5, 1000, new Uint8Array([10, 255]), 'x\\y', 'integer', 'text', 'new'],
      ['ü漢', '2026-01-01', 9007199254740993n, null, null, null, null, 'integer', 'null', 'new'],
      ['', '2026-01-01T00:00:00.123Z', 7, -0.25, 0.1, new Uint8Array(0), '', 'integer', 'text', 'new'],
    ]);
  });

  it('takes any text, cut anywhere, whatever is in it', async () => {
    await store.execute('CREATE TABLE w (a TEXT, n INTEGER, c TEXT)');
    const value = fc.oneof(
      fc.constant(null),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('\\N', '\\', 'a\tb', '\r\n'),
    );
    const integer = fc.oneof(
      fc.constant(null),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.nat(),
    );
    const rows = fc.array(fc.tuple(value, integer, value), { maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(rows, fc.array(fc.nat({ max: 200 })), async (given, cuts) => {
        await store.execute('DELETE FROM w');
        const whole = text(given);
        const chunks: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(whole.subarray(at, at + cut));
          at += cut;
        }
        chunks.push(whole.subarray(at));
        const result = await store.bulk('w', ['a', 'n', 'c'], chunks);
        expect(result).toEqual({ rows: given.length, inserted: given.length, updated: 0, skipped: 0 });
        const stored = await all('SELECT a, n, c FROM w ORDER BY rowid');
        const wanted = given.map(([a, n, c]) => [
          a,
          typeof n === 'bigint' && Number.isSafeInteger(Number(n)) ? Number(n) : n,
          c,
        ]);
        expect(stored).toEqual(wanted);
      }),
      { numRuns: 60 },
    );
  });

  it('takes more than one block of text, and lines longer than a block', async () => {
    const long = 'x'.repeat(700_000);
    const rows = Array.from({ length: 20_000 }, (_, i) => [String(i), AT, i]);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < rows.length; i += 777) {
        yield await Promise.resolve(text(rows.slice(i, i + 777)));
      }
    }
    expect((await store.bulk('o', ['id', 'at', 'n'], chunks())).inserted).toBe(20_000);
    await store.bulk(
      'o',
      ['id', 'at', 'x'],
      [text([['a', '2026-01-01', long]]), text([['b', '2026-01-01', long]])],
    );
    expect(await all('SELECT count(*), sum(n), sum(length(x)) FROM o')).toEqual([
      [20_002, 199_990_000, 1_400_000],
    ]);
  });

  it('takes a last line without its end, and nothing at all', async () => {
    await store.bulk('o', ['id', 'at'], [Buffer.from(`a\t${AT}\nb\t${AT}`)]);
    await store.bulk('o', ['id', 'n', 'at'], [Buffer.from(`c\t1\t${AT}`)]);
    expect(await load(['id'], [])).toEqual({ rows: 0, inserted: 0, updated: 0, skipped: 0 });
    expect(await all()).toEqual([
      ['a', null],
      ['b', null],
      ['c', 1],
    ]);
  });

  it.each<[string, readonly TabValue[], string, RegExp]>([
    ['text for an integer', ['a', AT, '12x'], 'BIND', /column "n": "12x" is not an integer/],
    ['an empty integer', ['a', AT, ''], 'BIND', /"" is not an integer/],
    ['a fraction for an integer', ['a', AT, '1.0'], 'BIND', /is not an integer/],
    ['an integer beyond 64 bits', ['a', AT, '9223372036854775808'], 'BIND', /64 bits/],
    ['a text that is too long', ['123456', AT, 1], 'BIND', /longer than varchar\(5\)/],
    ['a day that does not exist', ['a', '2026-02-29', 1], 'BIND', /not a datetime/],
    ['a date in another form', ['a', '20260228120000', 1], 'BIND', /not a datetime/],
    ['NULL where it must not be', [null, AT, 1], 'CONSTRAINT', /NOT NULL/],
    ['too few values', ['a', AT], 'BIND', /2 values for 3 columns/],
    ['too many values', ['a', AT, 1, 2], 'BIND', /more than 3 values/],
    ['a key that is there', ['here', AT, 1], 'DUPLICATE', /UNIQUE/],
  ])('refuses %s, says which row, and applies nothing', async (_, bad, code, message) => {
    await load(['id', 'at', 'n'], [['here', AT, 0]]);
    for (const at of [0, 63, 64, 100, 6_999]) {
      const found = await failure(load(['id', 'at', 'n'], rowsWith(7_000, at, bad)));
      expect(found).toMatchObject({ code, row: at, text: expect.stringMatching(message) as string });
    }
    expect(await all()).toEqual([['here', 0]]);
  });

  it('refuses decimals that SQLite would round, broken escapes, hexadecimal digits and UTF-8', async () => {
    const one = async (column: string, value: string, options?: BulkOptions): Promise<unknown> =>
      failure(
        store.bulk(
          'o',
          ['id', column, 'at'],
          [Buffer.from(`a\t1\t${AT}\nb\t${value}\t${AT}\n`, 'latin1')],
          options,
        ),
      );
    await store.execute('ALTER TABLE o ADD COLUMN dd DECIMAL');
    for (const [column, value] of [
      ['d', '1.234'],
      ['d', '123456789.1'],
      ['d', '.'],
      ['dd', '0.12345678901234567'],
      ['f', 'NaN'],
      ['f', '1e999'],
      ['x', '\\q'],
      ['x', '\xff'],
    ] as const) {
      expect(await one(column, value), value).toMatchObject({ code: 'BIND', row: 1 });
    }
    expect(await one('b', '1', { hex: ['b'] })).toMatchObject({ code: 'BIND', row: 0 });
    expect(await all()).toEqual([]);
  });

  it('leaves out or updates rows that are there, and counts them', async () => {
    await load(
      ['id', 'at', 'n'],
      [
        ['a', AT, 1],
        ['b', AT, 2],
      ],
    );
    const more = [
      ['b', AT, 20],
      ['c', AT, 30],
      ['c', AT, 31],
    ];
    const keys = ['id', 'at'];
    expect(await load(['id', 'at', 'n'], more, { onDuplicate: 'skip', keys })).toEqual({
      rows: 3,
      inserted: 1,
      updated: 0,
      skipped: 2,
    });
    expect(await all()).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 30],
    ]);
    const touched = { onDuplicate: 'update', keys, touch: ['upd'] } as const;
    expect(await load(['id', 'at', 'n'], [...more, ['d', AT, 4]], touched)).toEqual({
      rows: 4,
      inserted: 1,
      updated: 3,
      skipped: 0,
    });
    expect(await all(`SELECT id, n, upd = 'new' FROM o ORDER BY k`)).toEqual([
      ['a', 1, 1],
      ['b', 20, 0],
      ['c', 31, 0],
      ['d', 4, 1],
    ]);
    expect(
      await load(
        keys,
        [
          ['a', AT],
          ['e', AT],
        ],
        { onDuplicate: 'update', keys },
      ),
    ).toEqual({ rows: 2, inserted: 1, updated: 1, skipped: 0 });
  });

  it('updates thousands of rows and still knows which row is bad', async () => {
    const rows = rowsWith(3_000, -1, []);
    await load(['id', 'at', 'n'], rows.slice(0, 1_500));
    const options = { onDuplicate: 'update', keys: ['id', 'at'] } as const;
    expect(await load(['id', 'at', 'n'], rows, options)).toEqual({
      rows: 3_000,
      inserted: 1_500,
      updated: 1_500,
      skipped: 0,
    });
    expect(
      await failure(load(['id', 'at', 'n'], rowsWith(3_000, 2_222, [null, AT, 0]), options)),
    ).toMatchObject({ code: 'CONSTRAINT', row: 2_222 });
  });

  it('undoes a failed bulk inside a transaction, which goes on', async () => {
    const result = await store.transaction(async (tx) => {
      await tx.execute(`INSERT INTO o (id, at) VALUES ('first', ?)`, [AT]);
      const bad = await failure(
        tx.bulk('o', ['id', 'at', 'n'], [text(rowsWith(7_000, 5_000, ['x', AT, 'bad']))]),
      );
      expect(bad).toMatchObject({ code: 'BIND', row: 5_000 });
      const broken = (function* () {
        yield text([['lost', AT, 1]]);
        throw new Error('the source broke');
      })();
      await expect(tx.bulk('o', ['id', 'at', 'n'], broken)).rejects.toThrow('the source broke');
      expect((await tx.query('SELECT count(*) FROM o')).rows).toEqual([[1]]);
      expect(await failure(tx.bulk('nowhere', ['id'], [text([['a']])]))).toMatchObject({ code: 'NO_TABLE' });
      expect(await failure(tx.bulk('o', ['wrong'], [text([['a']])]))).toMatchObject({ code: 'SYNTAX' });
      return tx.bulk('o', ['id', 'at', 'n'], [text([['good', AT, 1]])]);
    });
    expect(result.inserted).toBe(1);
    expect(await all()).toEqual([
      ['first', null],
      ['good', 1],
    ]);
  });

  it('may cost the whole transaction when it fails, which then cannot be committed', async () => {
    const options: BulkOptions = { onFailure: 'rollback' };
    const work = store.transaction(async (tx) => {
      await tx.bulk('o', ['id', 'at', 'n'], [text([['first', AT, 1]])], options);
      const rows = rowsWith(7_000, 5_000, ['x', AT, 'bad']);
      const bad = await failure(tx.bulk('o', ['id', 'at', 'n'], [text(rows)], options));
      expect(bad).toMatchObject({ code: 'BIND', row: 5_000 });
      expect(await failure(tx.query('SELECT count(*) FROM o'))).toMatchObject({ code: 'CANCELLED' });
    });
    expect(await failure(work)).toMatchObject({ code: 'CANCELLED' });
    expect(await all()).toEqual([]);
    // The next one is not touched by it.
    const again = await store.transaction((tx) => tx.bulk('o', ['id', 'at', 'n'], [text([['good', AT, 1]])], options)); // prettier-ignore
    expect(again.inserted).toBe(1);
  });

  it('looks at the time of each row although its day is known', async () => {
    const into = (at: string): Promise<unknown> => load(['id', 'at'], [['a', AT], ['b', at]], { onDuplicate: 'skip' }); // prettier-ignore
    const [day] = AT.split(' ');
    for (const good of ['23:59:59', '00:00', '10:00:00.5', '10:00:00Z', '10:00-00'])
      expect(await into(`${day} ${good}`)).toMatchObject({ rows: 2 });
    const times = ['24:00:00', '10:60:00', '10:00:61', '1a:00:00', '10-00:00', ' 1:00:00'];
    for (const bad of [...times.map((time) => `${day} ${time}`), `${day}_10:00:00`, '2026-02-29 10:00:00'])
      expect(await failure(into(bad))).toMatchObject({ code: 'BIND', row: 1 });
  });

  it('reads no further when the database has refused', async () => {
    let read = 0;
    let closed = false;
    const endless = (function* () {
      try {
        for (;;) {
          read++;
          yield text(rowsWith(1_000, 0, ['a', AT, 'bad']));
        }
      } finally {
        closed = true;
      }
    })();
    expect(await failure(store.bulk('o', ['id', 'at', 'n'], endless))).toMatchObject({
      code: 'BIND',
      row: 0,
    });
    expect(closed).toBe(true);
    expect(read).toBeLessThan(1_000);
  });

  it('is not applied when its deadline passes or it is cancelled', async () => {
    async function* never(): AsyncGenerator<Uint8Array> {
      yield text([['a', AT]]);
      await new Promise((resolve) => setTimeout(resolve, 60_000).unref());
    }
    expect(await failure(store.bulk('o', ['id', 'at'], never(), { timeoutMs: 100 }))).toMatchObject({
      code: 'TIMEOUT',
    });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    expect(
      await failure(store.bulk('o', ['id', 'at'], never(), { signal: controller.signal })),
    ).toMatchObject({ code: 'CANCELLED' });
    expect(await all()).toEqual([]);
  });

  it('tells the version, and which columns the database fills', async () => {
    expect(await store.version()).toMatch(/^SQLite 3\.\d+/);
    await store.execute(
      'CREATE TABLE g (a INT, c INT AS (a + 1) STORED, v INT AS (a * 2), k INTEGER PRIMARY KEY)',
    );
    const { columns } = await store.columns('g');
    expect(columns.map(({ name, generated }) => [name, generated])).toEqual([
      ['a', false],
      ['c', true],
      ['v', true],
      ['k', true],
    ]);
    await store.execute('CREATE TABLE g2 (a INTEGER, b INTEGER, PRIMARY KEY (a, b))');
    expect((await store.columns('g2')).columns.some(({ generated }) => generated)).toBe(false);
  });
});
