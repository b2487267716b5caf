import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore, StoreError, type Store } from '../../src/store/driver.js';
import { have, mariadb } from '../support/servers.js';
import { tabLine, type TabValue } from '../../src/protocol/tab-text.js';

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'fulfilled',
    (error: unknown) => (error instanceof StoreError ? error.code : String(error)),
  );

const tab = (rows: readonly (readonly TabValue[])[]): Buffer[] => [Buffer.from(rows.map(tabLine).join(''))];

describe.skipIf(!have.mariadb)('the MySQL driver', { timeout: 60_000 }, () => {
  let store: Store;
  let url: string;

  beforeAll(async () => {
    url = await mariadb();
    store = await openStore(url);
  }, 300_000);
  afterAll(async () => {
    await store.close();
  });

  it('gives values back as they are', async () => {
    await store.execute(
      `CREATE TABLE v (id INT PRIMARY KEY AUTO_INCREMENT, big BIGINT, ubig BIGINT UNSIGNED, d DECIMAL(30,10), f DOUBLE, dt DATETIME(3), da DATE,
       ti TIME(6), s VARCHAR(50), b BLOB, bi BIT(12), j JSON, g VARCHAR(20) CHARACTER SET gbk, y YEAR)`,
    );
    const values = [
      -9223372036854775808n, 18446744073709551615n, '12345678901234567890.0123456789', 0.1, '2024-02-29 12:13:14.120',
      '2024-02-29', '-838:59:58.000001', "it's \\ a ? 😀\n\0", new Uint8Array([0, 255, 39, 92]), new Uint8Array([0x0a, 0xbc]), '{"a": 1}', '中文字', 2024,
    ] as const; // prettier-ignore
    const sql = `INSERT INTO v (big, ubig, d, f, dt, da, ti, s, b, bi, j, g, y) VALUES (${values.map(() => '?').join()})`;
    expect(await store.execute(sql, values)).toBe(1);
    expect((await store.query('SELECT big, ubig, d, f, dt, da, ti, s, b, bi, j, g, y FROM v')).rows).toEqual([
      values,
    ]);
    await store.execute(
      sql,
      values.map(() => null),
    );
    expect(
      (await store.query('SELECT big, ubig, d, f, dt, da, ti, s, b, bi, j, g, y FROM v WHERE id = ?', [2]))
        .rows,
    ).toEqual([values.map(() => null)]);
  });

  it('reports the fate of each row of a batch', async () => {
    await store.execute('CREATE TABLE b (id INT PRIMARY KEY, n INT NOT NULL, s VARCHAR(5))');
    const rows = Array.from({ length: 1000 }, (_, i) => [
      i === 500 ? 3 : i,
      i === 700 ? null : i,
      i === 900 ? 'too long' : 'ok',
    ]);
    const result = await store.batch('INSERT INTO b (id, n, s) VALUES (?, ?, ?)', rows, {
      onDuplicate: 'skip',
    });
    expect(result.done).toBe(997);
    expect(result.duplicates).toEqual([500]);
    expect(result.errors.map(({ row, code }) => [row, code])).toEqual([[700, 'CONSTRAINT'], [900, 'CONSTRAINT']]); // prettier-ignore
    expect((await store.query('SELECT count(*) FROM b')).rows).toEqual([[997]]);
    const changed = await store.batch('UPDATE b SET n = ? WHERE id = ?', [
      [5, 1],
      ['x', 2],
      [6, 3],
    ]);
    expect(changed).toMatchObject({ done: 2, errors: [{ row: 1, code: 'BIND' }] });
  });

  it('loads tab text', async () => {
    await store.execute('CREATE TABLE l (id INT PRIMARY KEY, n INT NOT NULL, s VARCHAR(5), u DATETIME NULL)');
    const columns = ['id', 'n', 's'];
    expect(await store.bulk('l', columns, tab([[1, 2, 'a\tb'], [2, 3, null], [3, 4, '\\N']]))).toEqual({ rows: 3, inserted: 3, updated: 0, skipped: 0 }); // prettier-ignore
    expect((await store.query('SELECT id, n, s FROM l ORDER BY id')).rows).toEqual([[1, 2, 'a\tb'], [2, 3, null], [3, 4, '\\N']]); // prettier-ignore
    await expect(store.bulk('l', columns, tab([[4, 2, 'a'], [2, 3, 'b']]))).rejects.toMatchObject({ code: 'DUPLICATE' }); // prettier-ignore
    await expect(store.bulk('l', columns, tab([[4, 2, 'a'], [5, 3, 'too long']]))).rejects.toMatchObject({ code: 'CONSTRAINT', row: 1 }); // prettier-ignore
    expect((await store.query('SELECT count(*) FROM l')).rows).toEqual([[3]]);
    expect(await store.bulk('l', columns, tab([[4, 2, 'a'], [2, 3, 'b']]), { onDuplicate: 'skip' })).toMatchObject({ inserted: 1, skipped: 1 }); // prettier-ignore
    expect(
      await store.bulk('l', columns, tab([[1, 9, 'x'], [8, 8, 'y'], [8, 7, 'z']]), { onDuplicate: 'update', keys: ['id'], touch: ['u'] }), // prettier-ignore
    ).toEqual({ rows: 3, inserted: 1, updated: 2, skipped: 0 });
    expect((await store.query('SELECT id, n, s, u IS NULL FROM l WHERE id IN (1, 8)')).rows).toEqual([[1, 9, 'x', 0], [8, 7, 'z', 1]]); // prettier-ignore
  });

  it('streams', async () => {
    let count = 0;
    for await (const { rows } of store.stream('SELECT seq, REPEAT("x", 100) FROM seq_1_to_100000'))
      count += rows.length;
    expect(count).toBe(100_000);
    for await (const { rows } of store.stream('SELECT seq, REPEAT("x", 100) FROM seq_1_to_100000')) {
      expect(rows).toHaveLength(1000);
      break;
    }
  });

  it('gives up at the deadline', async () => {
    expect(await codeOf(store.query('SELECT SLEEP(20)', [], { timeoutMs: 200 }))).toBe('TIMEOUT');
    expect(await codeOf(store.query('SELECT 1'))).toBe('fulfilled');
  });

  it('rolls back', async () => {
    await store.execute('CREATE TABLE tx (id INT PRIMARY KEY)');
    await expect(
      store.transaction(async (tx) => {
        await tx.execute('INSERT INTO tx VALUES (1)');
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await store.transaction((tx) => tx.execute('INSERT INTO tx VALUES (2)'));
    expect((await store.query('SELECT id FROM tx')).rows).toEqual([[2]]);
  });

  it('knows its tables', async () => {
    expect(await store.version()).toMatch(/^MariaDB 10/);
    const { columns, primaryKey } = await store.columns('v');
    expect(columns[0]).toEqual({
      name: 'id',
      type: 'int',
      kind: 'integer',
      length: 10,
      scale: undefined,
      nullable: false,
      generated: true,
    });
    expect(primaryKey).toEqual(['id']);
  });
});
