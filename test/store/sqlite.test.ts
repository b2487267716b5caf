import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRowFault } from '../../src/actors/pipeline/load/segments.js';
import { asObjects, openStore, StoreError, type Store } from '../../src/store/driver.js';

let folder: string;
let store: Store;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'store-'));
  store = await openStore(`sqlite:${folder}/sub/data.db`);
  await store.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, v)');
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'fulfilled',
    (error: unknown) => (error instanceof StoreError ? error.code : String(error)),
  );

/** Counts to a billion inside SQLite: never comes back to JavaScript in the time of a test. */
const ENDLESS =
  'WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 60000000) SELECT max(n) FROM c';

describe('opening a store', () => {
  it('names the known drivers when the scheme is unknown, and keeps the password out of the error', async () => {
    await expect(openStore('nosql://u:secret@h/db')).rejects.toThrow(/"nosql:"; known: sqlite:/);
    await expect(openStore('nosql://u:secret@h/db')).rejects.not.toThrow(/secret/);
    expect(await codeOf(openStore('just a text'))).toBe('URL');
    expect(await codeOf(openStore('sqlite:'))).toBe('URL');
    expect(await codeOf(openStore('sqlite:x.db?snyc=full'))).toBe('URL');
  });

  it('says which file it cannot open', async () => {
    const underFile = `sqlite:${folder}/sub/data.db/x.db`;
    await expect(openStore(underFile)).rejects.toThrow(/cannot open .*\/sub\/data\.db\/x\.db/);
    expect(await codeOf(openStore(underFile))).toBe('OPEN');
    const text = join(folder, 'notes.txt');
    writeFileSync(text, 'these are notes, not a database '.repeat(100));
    expect(await codeOf(openStore(`sqlite:${text}`))).toBe('OPEN');
  });

  it('does not blame a row when nothing may be written any more', async () => {
    await store.execute('PRAGMA query_only = ON');
    const refused = await store
      .execute('INSERT INTO t (name) VALUES (?)', ['a'])
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'OPEN' });
    expect(isRowFault(refused, true)).toBe(false);
  });

  it('makes the file readable for its owner only', () => {
    expect(statSync(join(folder, 'sub/data.db')).mode & 0o077).toBe(0);
  });

  it('is durable by default, in WAL mode, with foreign keys', async () => {
    const value = async (pragma: string): Promise<unknown> =>
      (await store.query(`PRAGMA ${pragma}`)).rows[0]?.[0];
    expect([await value('journal_mode'), await value('synchronous'), await value('foreign_keys')]).toEqual([
      'wal',
      2,
      1,
    ]);
  });

  it('shares one thread between those who open the same file, until the last has closed', async () => {
    const second = await openStore(`sqlite:${folder}/sub/../sub/data.db`);
    await store.close();
    expect(await codeOf(store.query('SELECT 1'))).toBe('CLOSED');
    expect((await second.query('SELECT 1')).rows).toEqual([[1]]);
    await second.close();
    store = await openStore(`sqlite:${folder}/sub/data.db`);
    expect((await store.query('SELECT count(*) FROM t')).rows).toEqual([[0]]);
  });
});

describe('values', () => {
  it('come back as they went in', async () => {
    const value = fc.oneof(
      fc.constant(null),
      fc.string({ unit: 'grapheme' }),
      fc.maxSafeInteger(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.double({ noNaN: true }),
      fc.uint8Array(),
    );
    await fc.assert(
      fc.asyncProperty(value, async (given) => {
        await store.execute('INSERT OR REPLACE INTO t (id, v) VALUES (1, ?)', [given]);
        const got = (await store.query('SELECT v FROM t WHERE id = 1')).rows[0]?.[0];
        // An integer is a number where that is exact; SQLite has no negative zero.
        if (typeof given === 'bigint') expect(BigInt(got as number)).toBe(given);
        else expect(got).toEqual(Object.is(given, -0) ? 0 : given);
      }),
      { numRuns: 200 },
    );
  });

  it('keep NULL apart from the empty text, and integers whole in text columns', async () => {
    await store.batch('INSERT INTO t (id, name) VALUES (?, ?)', [[1, null], [2, ''], [3, 58015]]); // prettier-ignore
    expect(asObjects(await store.query('SELECT id, name FROM t ORDER BY id'))).toEqual([
      { id: 1, name: null },
      { id: 2, name: '' },
      { id: 3, name: '58015' },
    ]);
  });

  it('are refused when no database could keep them', async () => {
    for (const bad of [undefined, Number.NaN, true, {}, [1]]) {
      expect(await codeOf(store.query('SELECT ?', [bad as never]))).toBe('BIND');
    }
    expect(await codeOf(store.query('SELECT ?', [2n ** 70n]))).toBe('BIND');
    expect(await codeOf(store.query('SELECT ?', []))).toBe('BIND');
    expect(await codeOf(store.query('SELECT ?', [1, 2]))).toBe('BIND');
  });

  it('are never taken for SQL', async () => {
    const evil = `'; DROP TABLE t; --`;
    await store.execute('INSERT INTO t (name) VALUES (?)', [evil]);
    expect((await store.query('SELECT name FROM t WHERE name = ?', [evil])).rows).toEqual([[evil]]);
  });
});

describe('errors', () => {
  it('carry a code that says whose fault it is', async () => {
    await store.execute(`INSERT INTO t VALUES (1, 'a', 1)`);
    expect(await codeOf(store.execute(`INSERT INTO t VALUES (1, 'b', 1)`))).toBe('DUPLICATE');
    expect(await codeOf(store.execute(`INSERT INTO t VALUES (2, 'a', 1)`))).toBe('DUPLICATE');
    expect(await codeOf(store.query('SELEC 1'))).toBe('SYNTAX');
    expect(await codeOf(store.query('SELECT 1; SELECT 2'))).toBe('SYNTAX');
    expect(await codeOf(store.query('SELECT * FROM nowhere'))).toBe('NO_TABLE');
    expect(await codeOf(store.query(`INSERT INTO t VALUES (9, 'z', 1)`))).toBe('SYNTAX');
    expect(await codeOf(store.query('SELECT * FROM t', [], { maxRows: 0 }))).toBe('TOO_MANY_ROWS');
  });

  it('leave the connection usable', async () => {
    await codeOf(store.query('SELEC 1'));
    expect((await store.query('SELECT 1')).rows).toEqual([[1]]);
  });
});

describe('a batch', () => {
  it('tells the fate of every row and keeps the good ones', async () => {
    await store.execute('CREATE TABLE n (id INTEGER PRIMARY KEY, v INTEGER CHECK (v > 0))');
    const rows = [[1, 1], [1, 2], [2, -1], [3, undefined], [4], [5, 5]] as never; // prettier-ignore
    const result = await store.batch('INSERT INTO n VALUES (?, ?)', rows, { onDuplicate: 'skip' });
    expect(result.done).toBe(2);
    expect(result.duplicates).toEqual([1]);
    expect(result.errors.map(({ row, code }) => [row, code])).toEqual([[2, 'CONSTRAINT'], [3, 'BIND'], [4, 'BIND']]); // prettier-ignore
    expect((await store.query('SELECT id FROM n ORDER BY id')).rows).toEqual([[1], [5]]);
  });

  it('reports a duplicate as an error unless told to skip', async () => {
    const result = await store.batch('INSERT INTO t (id) VALUES (?)', [[1], [1]]);
    expect(result).toMatchObject({ done: 1, duplicates: [], errors: [{ row: 1, code: 'DUPLICATE' }] });
  });

  it('applies nothing when the statement itself is wrong', async () => {
    expect(await codeOf(store.batch('INSERT INTO nowhere VALUES (?)', [[1]]))).toBe('NO_TABLE');
  });
});

describe('a transaction', () => {
  it('is all or nothing', async () => {
    const boom = store.transaction(async (tx) => {
      await tx.execute('INSERT INTO t (id) VALUES (1)');
      throw new Error('boom');
    });
    await expect(boom).rejects.toThrow('boom');
    const kept = await store.transaction(async (tx) => {
      await tx.batch('INSERT INTO t (id) VALUES (?)', [[2], [3]]);
      return (await tx.query('SELECT count(*) FROM t')).rows[0]?.[0];
    });
    expect(kept).toBe(2);
    expect((await store.query('SELECT id FROM t')).rows).toEqual([[2], [3]]);
  });

  it('has the connection to itself', async () => {
    const seen: unknown[] = [];
    const first = store.transaction(async (tx) => {
      await tx.execute('INSERT INTO t (id) VALUES (1)');
      await new Promise((done) => setTimeout(done, 50));
      await tx.execute('INSERT INTO t (id) VALUES (2)');
    });
    const reads = [1, 2, 3].map(async () =>
      seen.push((await store.query('SELECT count(*) FROM t')).rows[0]?.[0]),
    );
    const second = store.transaction(async (tx) =>
      seen.push((await tx.query('SELECT count(*) FROM t')).rows[0]?.[0]),
    );
    await Promise.all([first, second, ...reads]);
    expect(seen).toEqual([2, 2, 2, 2]);
  });

  it('past its deadline is rolled back, and its calls are refused from then on', async () => {
    let late = '';
    const work = store.transaction(
      async (tx) => {
        await tx.execute('INSERT INTO t (id) VALUES (1)');
        await new Promise((done) => setTimeout(done, 300));
        late = await codeOf(tx.execute('INSERT INTO t (id) VALUES (2)'));
      },
      { timeoutMs: 100 },
    );
    expect(await codeOf(work)).toBe('TIMEOUT');
    expect((await store.query('SELECT count(*) FROM t')).rows).toEqual([[0]]);
    await new Promise((done) => setTimeout(done, 400));
    expect(late).toBe('TIMEOUT');
  });

  it('leaves no way in once it is over', async () => {
    let leaked: { execute(sql: string): Promise<number> } | undefined;
    await store.transaction(async (tx) => {
      leaked = tx;
    });
    const other = store.transaction(async (tx) => {
      expect(await codeOf(leaked?.execute('INSERT INTO t (id) VALUES (7)') ?? Promise.resolve())).toBe(
        'CLOSED',
      );
      await tx.query('SELECT 1');
    });
    await other;
    expect((await store.query('SELECT count(*) FROM t')).rows).toEqual([[0]]);
  });

  it('cannot be committed after one of its calls was given up', async () => {
    const work = store.transaction(async (tx) => {
      await tx.execute('INSERT INTO t (id) VALUES (1)');
      const cancelled = tx.query(ENDLESS, [], { timeoutMs: 50 });
      expect(await codeOf(cancelled)).toBe('TIMEOUT');
    });
    expect(await codeOf(work)).toMatch(/TIMEOUT|LOST/);
    expect((await store.query('SELECT count(*) FROM t')).rows).toEqual([[0]]);
  });
});

describe('a stream', () => {
  beforeEach(async () => {
    await store.batch(
      'INSERT INTO t (id) VALUES (?)',
      Array.from({ length: 2_500 }, (_, i) => [i]),
    );
  });

  it('brings every row once, in batches', async () => {
    const sizes: number[] = [];
    const ids: unknown[] = [];
    for await (const { columns, rows } of store.stream('SELECT id FROM t ORDER BY id', [], {
      batchRows: 1_000,
    })) {
      expect(columns).toEqual(['id']);
      sizes.push(rows.length);
      for (const [id] of rows) ids.push(id);
    }
    expect(sizes).toEqual([1_000, 1_000, 500]);
    expect(ids).toEqual(Array.from({ length: 2_500 }, (_, i) => i));
  });

  it('gives the columns even when there is no row', async () => {
    const batches = [];
    for await (const batch of store.stream('SELECT id, name FROM t WHERE id < 0')) batches.push(batch);
    expect(batches).toEqual([{ columns: ['id', 'name'], rows: [] }]);
  });

  it('does not hold up writers, sees a snapshot, and can be left early', async () => {
    let seen = 0;
    for await (const { rows } of store.stream('SELECT id FROM t', [], { batchRows: 100 })) {
      seen += rows.length;
      await store.execute('INSERT INTO t (id) VALUES (?)', [10_000 + seen]);
      if (seen === 300) break;
    }
    seen = 0;
    for await (const { rows } of store.stream('SELECT id FROM t', [], { batchRows: 100 })) {
      await store.transaction(async (tx) => tx.execute('INSERT INTO t (name) VALUES (NULL)'));
      seen += rows.length;
    }
    expect(seen).toBe(2_503);
  });

  it('reports a bad statement', async () => {
    const read = async (): Promise<void> => {
      for await (const batch of store.stream('SELECT nothing FROM t')) expect(batch).toBeUndefined();
    };
    expect(await codeOf(read())).toBe('SYNTAX');
  });
});

describe('limits', () => {
  it('refuse calls beyond the queue', async () => {
    await store.close();
    store = await openStore(`sqlite:${folder}/sub/data.db`, { maxPending: 10 });
    const results = await Promise.all(Array.from({ length: 30 }, () => codeOf(store.query('SELECT 1'))));
    expect(results.filter((code) => code === 'fulfilled')).toHaveLength(10);
    expect(results.filter((code) => code === 'QUEUE_FULL')).toHaveLength(20);
  });

  it('let a call that is given up apply nothing, and go on behind it', async () => {
    const rows = Array.from({ length: 300_000 }, (_, i) => [i]);
    const slow = store.batch('INSERT INTO t (id) VALUES (?)', rows, { timeoutMs: 60 });
    const code = await codeOf(slow);
    expect(code).toBe('TIMEOUT');
    expect((await store.query('SELECT count(*) FROM t')).rows).toEqual([[0]]);
  });

  it('leave a statement that never returns behind and serve the others', async () => {
    const stuck = codeOf(store.query(ENDLESS, [], { timeoutMs: 100 }));
    const waiting = store.query('SELECT 42');
    const written = store.execute('INSERT INTO t (id) VALUES (1)');
    expect(await stuck).toBe('TIMEOUT');
    expect((await waiting).rows).toEqual([[42]]);
    expect(await written).toBe(1);
  });

  it('cancel by signal', async () => {
    const abort = new AbortController();
    const slow = codeOf(store.query(ENDLESS, [], { signal: abort.signal }));
    setTimeout(() => abort.abort(), 50);
    expect(await slow).toBe('CANCELLED');
    expect(await codeOf(store.query('SELECT 1', [], { signal: abort.signal }))).toBe('CANCELLED');
  });
});

describe('the dictionary', () => {
  it('tells columns, kinds and keys in order', async () => {
    await store.execute(
      'CREATE TABLE o (b VARCHAR(10) NOT NULL, a DATETIME, d NUMERIC(8, 2), k BIGINT UNIQUE, x REAL, y BLOB, PRIMARY KEY (b, a))',
    );
    const table = await store.columns('main.o');
    expect(table.primaryKey).toEqual(['b', 'a']);
    expect(table.uniqueKeys).toEqual([['k']]);
    expect(table.columns.map(({ name, kind, nullable }) => [name, kind, nullable])).toEqual([
      ['b', 'text', false],
      ['a', 'date', false],
      ['d', 'decimal', true],
      ['k', 'integer', true],
      ['x', 'float', true],
      ['y', 'bytes', true],
    ]);
    expect(table.columns[0]).toMatchObject({ type: 'varchar', length: 10, scale: undefined });
    expect(table.columns[2]).toMatchObject({ type: 'numeric', length: 8, scale: 2 });
    expect(await codeOf(store.columns('nowhere'))).toBe('NO_TABLE');
  });

  it('writes inserts and upserts with quoted names', async () => {
    const { dialect } = store;
    await store.execute(dialect.upsert('t', ['id', 'name'], ['id']), [1, 'a']);
    await store.execute(dialect.upsert('t', ['id', 'name'], ['id']), [1, 'b']);
    expect((await store.query(dialect.limit('SELECT name FROM t', 5))).rows).toEqual([['b']]);
    expect(dialect.quoteIdentifier('a"b; --')).toBe('"a""b; --"');
    expect(() => dialect.quoteIdentifier('a..b')).toThrow(StoreError);
  });
});
