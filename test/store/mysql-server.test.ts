import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { tabLine, type TabValue } from '../../src/protocol/tab-text.js';
import { openStore, StoreError, type SqlValue, type Store } from '../../src/store/driver.js';
import { MysqlLink } from '../../src/store/mysql/link.js';
import { parseMysqlUrl } from '../../src/store/mysql/url.js';
import { have, mariadb, ownMariadb, type OwnServer } from '../support/servers.js';

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'fulfilled',
    (error: unknown) => (error instanceof StoreError ? error.code : String(error)),
  );

const tab = (rows: readonly (readonly TabValue[])[]): Buffer[] => [Buffer.from(rows.map(tabLine).join(''))];
const one = async (
  store: Pick<Store, 'query'>,
  sql: string,
  binds: SqlValue[] = [],
): Promise<SqlValue | undefined> => (await store.query(sql, binds)).rows[0]?.[0];

const pidOf = async (store: Store): Promise<number> =>
  Number(readFileSync(String(await one(store, 'SELECT @@pid_file')), 'utf8'));

/** A signal to stop reaches the threads of a process one by one: those not yet stopped may answer once more. */
async function stop(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const states = (): string[] =>
    readdirSync(`/proc/${pid}/task`).map((id) => {
      const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
    });
  await vi.waitFor(() => expect(new Set(states())).toEqual(new Set(['T'])), 10_000);
}

describe.skipIf(!have.mariadb)('MySQL', { timeout: 60_000 }, () => {
  let url: string;
  let store: Store;
  beforeAll(async () => {
    url = await mariadb();
    store = await openStore(url, { maxConnections: 1 });
  }, 300_000);
  afterAll(() => store.close());

  describe('a session', () => {
    it('is strict, READ COMMITTED, in UTF-8, and leaves the time zone alone', async () => {
      expect(String(await one(store, 'SELECT @@sql_mode'))).toMatch(
        /STRICT_TRANS_TABLES.*STRICT_ALL_TABLES.*NO_ZERO_DATE/,
      );
      expect(await one(store, 'SELECT @@tx_isolation')).toBe('READ-COMMITTED');
      expect(await one(store, 'SELECT @@character_set_client')).toBe('utf8mb4');
      expect(await one(store, 'SELECT @@session.time_zone = @@global.time_zone')).toBe(1);
      expect(await one(store, "SELECT 'a' || 'b'")).toBe('ab');
    });

    it('takes texts for what they are, also when a statement changes what a backslash means', async () => {
      await store.execute('CREATE TABLE texts (id INT PRIMARY KEY, v TEXT)');
      const text = fc.string({
        unit: fc.constantFrom('\\', "'", '"', '`', '?', '\n', '\0', '\u001a', '%', 'a', '中', '😀', ';', '-'),
      });
      await fc.assert(
        fc.asyncProperty(text, fc.boolean(), async (given, plain) => {
          await store.execute(
            `SET SESSION sql_mode = ${plain ? "CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')" : "REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', '')"}`,
          );
          await store.execute('REPLACE INTO texts VALUES (1, ?)', [given]);
          expect(await one(store, 'SELECT v FROM texts WHERE v = ? AND id = ?', [given, 1])).toBe(given);
        }),
        { numRuns: 100 },
      );
      await store.execute("SET SESSION sql_mode = REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', '')");
    });

    it('reads every length of value right: the parts of a packet, and packets of many parts', async () => {
      for (const length of [
        0, 250, 251, 252, 65_535, 65_536, 16_777_214, 16_777_215, 16_777_216, 20_000_000,
      ]) {
        const { rows } = await store.query(`SELECT 1, REPEAT('x', ${length}), NULL, 'end', 2`);
        const [row] = rows as [SqlValue[]];
        expect([row[0], String(row[1]).length, row[2], row[3], row[4]]).toEqual([1, length, null, 'end', 2]);
      }
    });

    it('reads columns of old character sets, bits and padded numbers', async () => {
      await store.execute(
        `CREATE TABLE odd (g VARCHAR(9) CHARACTER SET gbk, l VARCHAR(9) CHARACTER SET latin1, z INT(8) ZEROFILL, b BIT(3), t TIME(3),
         e ENUM('x', 'y'), u BINARY(2), f FLOAT)`,
      );
      const row = [
        '观测站',
        'café',
        42,
        new Uint8Array([5]),
        '-12:30:00.250',
        'y',
        new Uint8Array([1, 0]),
        0.5,
      ];
      await store.execute('INSERT INTO odd VALUES (?, ?, ?, ?, ?, ?, ?, ?)', row);
      const set = await store.query('SELECT * FROM odd');
      expect(set.rows).toEqual([row]);
      expect(set.kinds).toEqual(['text', 'text', 'other', 'bytes', 'date', 'text', 'bytes', 'float']);
    });
  });

  describe('a connection', () => {
    it('interrupted for too many rows interrupts none of the statements behind', async () => {
      await store.execute('CREATE TABLE few (n INTEGER)');
      await store.execute('INSERT INTO few VALUES (1), (2), (3)');
      for (let i = 0; i < 100; i++) {
        expect(await codeOf(store.query('SELECT n FROM few', [], { maxRows: 2 }))).toBe('TOO_MANY_ROWS');
        expect(await codeOf(store.query('SELECT SLEEP(0.005)'))).toBe('fulfilled');
      }
    });

    it('killed while idle is replaced without a word, killed at work is LOST', async () => {
      const other = await openStore(url);
      const id = Number(await one(store, 'SELECT CONNECTION_ID()'));
      await other.execute(`KILL ${id}`);
      await expect.poll(() => codeOf(store.query('SELECT 1'))).toBe('fulfilled');
      const next = Number(await one(store, 'SELECT CONNECTION_ID()'));
      expect(next).not.toBe(id);
      const slow = codeOf(store.query('SELECT SLEEP(30)'));
      await expect
        .poll(() =>
          one(other, 'SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ? AND INFO LIKE ?', [
            next,
            '%SLEEP(30)%',
          ]),
        )
        .toBe(1);
      await other.execute(`KILL ${next}`);
      expect(await slow).toBe('LOST');
      expect(await codeOf(store.query('SELECT 1'))).toBe('fulfilled');
      await other.close();
    });

    it('is not opened more often than allowed, and used again', async () => {
      const few = await openStore(url, { maxConnections: 2 });
      const ids = await Promise.all(
        Array.from({ length: 20 }, () => one(few, 'SELECT CONNECTION_ID() + SLEEP(0.01)')),
      );
      expect(new Set(ids).size).toBeLessThanOrEqual(2);
      await few.close();
    });

    it('is told why it cannot be opened, without secrets', async () => {
      const wrong = new URL(url);
      wrong.password = 'not-the-password';
      const refused: unknown = await openStore(wrong.href).catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: 'OPEN' });
      expect(String(refused)).not.toContain('not-the-password');
      wrong.pathname = '/no_such_database';
      wrong.password = new URL(url).password;
      expect(await codeOf(openStore(wrong.href))).toBe('OPEN');
    });
  });

  describe('a batch', () => {
    it('goes row by row where a failed statement leaves rows behind', async () => {
      await store.execute('CREATE TABLE old_engine (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=MyISAM');
      const rows = Array.from({ length: 20 }, (_, i) => [i === 13 ? 2 : i, i === 7 ? null : i]);
      const result = await store.batch('INSERT INTO old_engine (id, n) VALUES (?, ?)', rows, {
        onDuplicate: 'skip',
      });
      expect(result).toMatchObject({ done: 18, duplicates: [13], errors: [{ row: 7, code: 'CONSTRAINT' }] });
      expect(await one(store, 'SELECT COUNT(*) FROM old_engine')).toBe(18);
      await expect(store.bulk('old_engine', ['id', 'n'], tab([[99, 1]]))).rejects.toThrow(
        /engine without transactions/,
      );
    });

    it('of upserts changes the rows that are there', async () => {
      await store.execute('CREATE TABLE up (id INT PRIMARY KEY, n INT, u DATETIME)');
      const sql = store.dialect.upsert('up', ['id', 'n'], ['id'], ['u']);
      expect(await store.batch(sql, [[1, 1], [2, 2], [1, 3]])).toMatchObject({ done: 3 }); // prettier-ignore
      expect((await store.query('SELECT id, n, u IS NULL FROM up ORDER BY id')).rows).toEqual([[1, 3, 0], [2, 2, 1]]); // prettier-ignore
    });
  });

  describe('a bulk', () => {
    it('that updates draws no values of auto_increment for rows that are there', async () => {
      await store.execute(
        'CREATE TABLE counted (k VARCHAR(5) PRIMARY KEY, n INT, keyid BIGINT AUTO_INCREMENT UNIQUE)',
      );
      const options = { onDuplicate: 'update', keys: ['k'] } as const;
      for (let i = 0; i < 5; i++)
        await store.bulk('counted', ['k', 'n'], tab([['a', i], ['b', i]]), options); // prettier-ignore
      await store.bulk('counted', ['k', 'n'], tab([['c', 1]]), options);
      expect(Number(await one(store, "SELECT keyid FROM counted WHERE k = 'c'"))).toBeLessThan(5);
    });

    it('that updates takes no stranger for its row: another key broken is DUPLICATE', async () => {
      await store.execute('CREATE TABLE two_keys (id INT PRIMARY KEY, name VARCHAR(9) UNIQUE, n INT)');
      await store.execute("INSERT INTO two_keys VALUES (1, 'a', 1), (2, 'b', 2)");
      const bulk = (rows: TabValue[][], keys: string[]): Promise<unknown> =>
        store.bulk('two_keys', ['id', 'name', 'n'], tab(rows), { onDuplicate: 'update', keys });
      expect(await codeOf(bulk([[3, 'a', 9]], ['id']))).toBe('DUPLICATE');
      expect(await codeOf(bulk([[1, 'b', 9]], ['id']))).toBe('DUPLICATE');
      expect(await codeOf(bulk([[1, 'a', 9]], ['n']))).toBe('BIND');
      expect(await bulk([[1, 'c', 9], [5, 'd', 5]], ['id'])).toMatchObject({ inserted: 1, updated: 1 }); // prettier-ignore
      expect((await store.query('SELECT id, name, n FROM two_keys ORDER BY id')).rows).toEqual([[1, 'c', 9], [2, 'b', 2], [5, 'd', 5]]); // prettier-ignore
    });

    it('that updates takes columns that no table in memory can have, and many rows', async () => {
      await store.execute('CREATE TABLE wide (id INT PRIMARY KEY, t TEXT, j JSON, b BLOB)');
      const rows = (mark: string): TabValue[][] =>
        Array.from({ length: 25_000 }, (_, i) => [i, `${mark}${i}`, '{"a": 1}', '00ff']);
      const options = { onDuplicate: 'update', keys: ['id'], hex: ['b'] } as const;
      const columns = ['id', 't', 'j', 'b'];
      expect(await store.bulk('wide', columns, tab(rows('x').slice(5_000)), options)).toMatchObject({
        inserted: 20_000,
        updated: 0,
      });
      expect(await store.bulk('wide', columns, tab(rows('y')), options)).toMatchObject({
        rows: 25_000,
        inserted: 5_000,
        updated: 20_000,
      });
      expect((await store.query("SELECT COUNT(*), MIN(t LIKE 'y%'), HEX(MIN(b)) FROM wide")).rows).toEqual([
        [25_000, 1, '00FF'],
      ]);
    });

    it('names the row, also behind the first statement of many', async () => {
      await store.execute('CREATE TABLE far (id INT PRIMARY KEY, n TINYINT)');
      const rows: TabValue[][] = Array.from({ length: 60_000 }, (_, i) => [i, i === 55_000 ? 300 : 1]);
      await expect(store.bulk('far', ['id', 'n'], tab(rows))).rejects.toMatchObject({
        code: 'CONSTRAINT',
        row: 55_000,
      });
      await expect(
        store.bulk('far', ['id', 'n'], tab(rows), { onDuplicate: 'update', keys: ['id'] }),
      ).rejects.toMatchObject({ row: 55_000 });
      expect(await one(store, 'SELECT COUNT(*) FROM far')).toBe(0);
    });

    it('rounds nothing that the server would round without a word', async () => {
      await store.execute(
        'CREATE TABLE round (id INT PRIMARY KEY, d DATETIME, m DATETIME(3), t TIME, n BIGINT, s VARCHAR(9))',
      );
      const load = (column: string, value: string, options = {}): Promise<unknown> =>
        store
          .bulk('round', ['id', column], [Buffer.from(`1\ta\n2\t${value}`.replace('a', '\\N'))], options)
          .then(() => store.execute('DELETE FROM round'));
      for (const [column, value] of [
        ['d', '2024-01-01 10:00:00.6'],
        ['m', '2024-01-01 10:00:00.1234'],
        ['t', '10:00:00.5'],
        ['n', '1.5'],
        ['n', '15e-1'],
      ] as const)
        // prettier-ignore
        for (const options of [{}, { onDuplicate: 'update', keys: ['id'] }])
          await expect(load(column, value, options), value).rejects.toMatchObject({ code: 'CONSTRAINT', row: 1 });
      for (const [column, value] of [
        ['d', '2024-01-01 10:00:00.0'],
        ['m', '2024-01-01 10:00:00.1230'],
        ['n', '1.0'],
        ['n', '1e2'],
        ['s', '1.5'],
      ] as const)
        // prettier-ignore
        expect(await load(column, value), value).toBe(2);
    });

    it('refuses lines of the wrong width and what is not hexadecimal', async () => {
      await store.execute('CREATE TABLE narrow (id INT PRIMARY KEY, b BLOB)');
      const load = (text: string, hex: string[] = []): Promise<string> =>
        codeOf(store.bulk('narrow', ['id', 'b'], [Buffer.from(text)], { hex }));
      expect(await load('1\n')).toBe('BIND');
      expect(await load('1\t2\t3\n')).toBe('BIND');
      expect(await load('1\txyz\n', ['b'])).toBe('BIND');
      expect(await load('1\t\\N\n2\t\n3\tff', ['b'])).toBe('fulfilled');
      expect((await store.query('SELECT id, HEX(b) FROM narrow ORDER BY id')).rows).toEqual([[1, null], [2, ''], [3, 'FF']]); // prettier-ignore
    });
  });
});

describe.skipIf(!have.mariadb)('a MySQL server', { timeout: 120_000 }, () => {
  let server: OwnServer;
  let store: Store;
  beforeAll(async () => {
    server = await ownMariadb({ args: ['--local-infile=0'] });
    store = await openStore(server.url, { maxConnections: 2 });
  }, 300_000);
  afterAll(async () => {
    await store.close();
    await server.stop();
  });

  it('that refuses LOAD DATA LOCAL is loaded by inserts, with the same results', async () => {
    await store.execute('CREATE TABLE l (id INT PRIMARY KEY, s VARCHAR(5), b BLOB)');
    const columns = ['id', 's', 'b'];
    const hex = ['b'];
    const rows: TabValue[][] = Array.from({ length: 2_500 }, (_, i) => [
      i,
      i % 2 === 0 ? 'a\tb' : null,
      'ff00',
    ]);
    const all = Buffer.concat(tab(rows));
    // Cut anywhere: in the middle of rows.
    const chunks = Array.from({ length: Math.ceil(all.length / 777) }, (_, i) =>
      all.subarray(i * 777, (i + 1) * 777),
    );
    expect(await store.bulk('l', columns, chunks, { hex })).toEqual({
      rows: 2_500,
      inserted: 2_500,
      updated: 0,
      skipped: 0,
    });
    expect((await store.query('SELECT s, HEX(b) FROM l WHERE id IN (0, 1) ORDER BY id')).rows).toEqual([['a\tb', 'FF00'], [null, 'FF00']]); // prettier-ignore
    await expect(store.bulk('l', columns, tab([[9_000, 'x', ''], [1, 'x', '']]), { hex })).rejects.toMatchObject({ code: 'DUPLICATE', row: 1 }); // prettier-ignore
    await expect(store.bulk('l', columns, tab([[9_000, 'x', ''], [9_001, 'too long', '']]), { hex })).rejects.toMatchObject({ row: 1 }); // prettier-ignore
    expect(await store.bulk('l', columns, tab([[9_000, 'x', ''], [1, 'x', '']]), { hex, onDuplicate: 'skip' })).toMatchObject({ inserted: 1, skipped: 1 }); // prettier-ignore
    expect(await store.bulk('l', columns, tab([[9_001, 'x', ''], [1, 'x', ''], [1, 'y', '']]), { hex, onDuplicate: 'update', keys: ['id'] })).toMatchObject({ inserted: 1, updated: 2 }); // prettier-ignore
    expect((await store.query('SELECT COUNT(*), MAX(IF(id = 1, s, NULL)) FROM l')).rows).toEqual([
      [2_502, 'y'],
    ]);
  });

  it('that hangs loses its connections at the deadline; when it goes on, so does the store', async () => {
    const pid = await pidOf(store);
    try {
      await stop(pid);
      const began = performance.now();
      expect(await codeOf(store.query('SELECT 1', [], { timeoutMs: 300 }))).toBe('TIMEOUT');
      expect(
        await codeOf(store.execute('INSERT INTO l VALUES (-1, NULL, NULL)', [], { timeoutMs: 300 })),
      ).toBe('TIMEOUT');
      const giveUp = AbortSignal.timeout(200);
      expect(await codeOf(store.query('SELECT 1', [], { signal: giveUp }))).toBe('CANCELLED');
      expect(performance.now() - began).toBeLessThan(30_000);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await one(store, 'SELECT 1')).toBe(1);
  });

  it('is asked whether a connection still lives, and not for longer than it is given', async () => {
    const link = await MysqlLink.open(await parseMysqlUrl(server.url), 10_000);
    const pid = await pidOf(store);
    expect(await link.alive(10_000)).toBe(true);
    expect(link.lost).toBeUndefined();
    try {
      await stop(pid);
      expect(await link.alive(200)).toBe(false);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(link.lost?.code).toBe('LOST');
    link.end();
  });
});

it('A MySQL server that stops in the middle of its greeting is LOST in time', async () => {
  const sockets: Socket[] = [];
  const half = createServer((socket) => {
    sockets.push(socket);
    // A packet of 74 bytes of which one comes.
    socket.write(Buffer.from([74, 0, 0, 0, 10]));
  });
  await new Promise<void>((resolve) => half.listen(0, '127.0.0.1', resolve));
  const { port } = half.address() as AddressInfo;
  try {
    const address = await parseMysqlUrl(`mysql://someone:secret@127.0.0.1:${port}/d`);
    const error: unknown = await MysqlLink.open(address, 500).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'LOST' });
    expect((error as Error).message).not.toContain('secret');
  } finally {
    for (const socket of sockets) socket.destroy();
    half.close();
  }
});
