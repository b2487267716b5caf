/** Row XML of numbers and times that the server did not print: it must be the text that the server would have printed. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rowXmlWriter } from '../../src/protocol/rowxml.js';
import { openStore, type SqlValue, type Store, type XmlBatch } from '../../src/store/driver.js';
import { have, mariadb, ownMariadb } from '../support/servers.js';

/** 0: the statement runs as text, 1: prepared. */
const PREPARED = `(SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'COM_STMT_EXECUTE')`;
const CLOSED = PREPARED.replace('EXECUTE', 'CLOSE');

const INTEGERS = ['TINYINT', 'SMALLINT', 'MEDIUMINT', 'INT', 'BIGINT'];
const BITS = [8, 16, 24, 32, 64];
const TIMES = [0, 1, 2, 3, 4, 5, 6].flatMap((digits) => [`DATETIME(${digits})`, `TIMESTAMP(${digits})`]);

async function batchesOf(
  store: Store,
  sql: string,
  tags: readonly string[],
  {
    lengths = [],
    values = [],
  }: { lengths?: readonly (number | undefined)[]; values?: readonly number[] } = {},
): Promise<XmlBatch[]> {
  const batches: XmlBatch[] = [];
  const xml = { tags, lengths, escape: true, values };
  for await (const batch of store.streamXml?.(sql, [], xml, { batchRows: 50 }) ?? []) batches.push(batch);
  return batches;
}

const textOf = (batches: readonly XmlBatch[]): string =>
  batches.map(({ bytes }) => bytes.toString('utf8')).join('');

/** By the text protocol: the server itself makes each value a text. */
async function printed(
  store: Store,
  columns: readonly string[],
  table: string,
): Promise<(readonly (string | null)[])[]> {
  const texts = columns.map((name) => `CAST(${name} AS CHAR) ${name}`).join(', ');
  const { rows } = await store.query(`SELECT ${texts} FROM ${table} ORDER BY id`);
  return rows.map((row) => row.map((value) => (value === null ? null : String(value as string))));
}

describe.skipIf(!have.mariadb)('rows of the binary protocol', { timeout: 60_000 }, () => {
  let store: Store;
  beforeAll(async () => {
    store = await openStore(await mariadb(), { maxConnections: 1 });
  }, 300_000);
  afterAll(() => store.close());

  it('have numbers of every size and sign as the server prints them', async () => {
    const types = INTEGERS.flatMap((type) => [type, `${type} UNSIGNED`]);
    const names = types.map((_, i) => `c${i}`);
    await store.execute(
      `CREATE TABLE numbers (id INT PRIMARY KEY, ${types.map((type, i) => `c${i} ${type}`).join(', ')})`,
    );
    const edges = types.map((_, i) => {
      const bits = BigInt(BITS[i >> 1] ?? 0);
      const [least, most] =
        i % 2 === 1 ? [0n, 2n ** bits - 1n] : [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n];
      const powers = Array.from({ length: 20 }, (_, n) => 10n ** BigInt(n)).flatMap((n) => [n - 1n, n, -n]);
      const good = [least, most, 0n, ...powers].filter((value) => value >= least && value <= most);
      return fc.option(fc.oneof(fc.constantFrom(...good), fc.bigInt({ min: least, max: most })));
    });
    const rows = fc.sample(fc.tuple(...edges), 400).map((row, id) => [id, ...row] as SqlValue[]);
    const { done } = await store.batch(
      `INSERT INTO numbers VALUES (?, ${types.map(() => '?').join(', ')})`,
      rows,
    );
    expect(done).toBe(rows.length);
    const expected = await printed(store, names, 'numbers');
    const select = `SELECT ${names.join(', ')} FROM numbers ORDER BY id`;
    const all = await batchesOf(store, select, names, { values: names.map((_, i) => i) });
    expect(textOf(all)).toBe(expected.map(rowXmlWriter(names)).join(''));
    // The values beside it are those of the text protocol.
    const { rows: values } = await store.query(select);
    expect(all.flatMap((batch) => batch.values)).toEqual(values);
    const cut = await batchesOf(store, select, names, { lengths: names.map(() => 2), values: [8] });
    const short = expected.map((row) => row.map((value) => value && value.slice(0, 2)));
    expect(textOf(cut)).toBe(short.map(rowXmlWriter(names)).join(''));
    expect(cut.flatMap((batch) => batch.values)).toEqual(values.map((row) => [row[8]]));
  });

  it('have dates and times with the digits of their columns', async () => {
    const names = ['d', ...TIMES.map((_, i) => `t${i}`)];
    await store.execute(
      `CREATE TABLE times (id INT PRIMARY KEY, d DATE, ${TIMES.map((type, i) => `t${i} ${type} NULL`).join(', ')})`,
    );
    const day = fc.constantFrom('2024-02-29', '1970-01-02', '2037-12-31', '2000-10-10');
    const time = fc.constantFrom('00:00:00', '23:59:59', '00:00:00.000001', '12:00:00.5', '01:02:03.123456', '10:00:00.100000'); // prettier-ignore
    const moment = fc.option(fc.tuple(day, time).map((parts) => parts.join(' ')));
    const rows = fc
      .sample(fc.tuple(fc.option(day), ...TIMES.map(() => moment)), 200)
      .map((row, id) => [id, ...row] as SqlValue[]);
    const places = names.map(() => '?').join(', ');
    expect((await store.batch(`INSERT INTO times VALUES (?, ${places})`, rows)).done).toBe(rows.length);
    // Our sessions do not write such dates; old tables have them.
    await store.transaction(async (tx) => {
      await tx.execute("SET SESSION sql_mode = ''");
      await tx.execute(`INSERT INTO times (id, d, t0, t12) VALUES (998, '0000-00-00', '0000-00-00', '2024-00-00'),
        (999, '9999-12-31', '9999-12-31 23:59:59', '0001-01-01 00:00:00.000009')`);
    });
    const expected = await printed(store, names, 'times');
    const select = `SELECT ${names.join(', ')} FROM times ORDER BY id`;
    const all = await batchesOf(store, select, names, { values: [0, 13, 14] });
    expect(textOf(all)).toBe(expected.map(rowXmlWriter(names)).join(''));
    expect(all.flatMap((batch) => batch.values)).toEqual(expected.map((row) => [row[0], row[13], row[14]]));
    expect(textOf(await batchesOf(store, select, names, { lengths: names.map(() => 12) }))).toBe(
      expected
        .map((row) => row.map((value) => value && value.slice(0, 12)))
        .map(rowXmlWriter(names))
        .join(''),
    );
  });

  it('have every other type as it is in the text', async () => {
    const types = ['VARCHAR(20)', 'CHAR(5)', 'TEXT', 'DECIMAL(20,6)', "ENUM('a','<b>')", "SET('x','y')", 'JSON', 'BIT(12)', 'VARBINARY(20)', 'BLOB', 'POINT']; // prettier-ignore
    const names = types.map((_, i) => `c${i}`);
    await store.execute(
      `CREATE TABLE others (id INT PRIMARY KEY, ${types.map((type, i) => `c${i} ${type}`).join(', ')})`,
    );
    await store.execute(`INSERT INTO others VALUES (1, '亳<&>州', 'ab', REPEAT('"', 300), -12345.678900, '<b>', 'x,y', '{"a": 1}', b'101010101010',
      UNHEX('0001FF'), REPEAT('x', 70000), ST_GeomFromText('POINT(1 2)')), (2${', NULL'.repeat(types.length)}), (3, '', '', '', 0, 'a', '', '[]', 0, '', '', NULL)`);
    const [batch] = await batchesOf(store, 'SELECT * FROM others ORDER BY id', ['id', ...names]);
    const { rows } = await store.query('SELECT * FROM others ORDER BY id');
    const hex = (value: SqlValue) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
    expect(batch?.bytes.toString('utf8')).toBe(
      rows.map((row) => rowXmlWriter(['id', ...names])(row.map(hex))).join(''),
    );
  });

  const runs: readonly (readonly [string, boolean, string])[] = [
    ['1', true, '1'],
    ["DATE'2024-01-02'", true, '2024-01-02'],
    ["TIMESTAMP'2024-01-02 03:04:05.678'", true, '2024-01-02 03:04:05.678'],
    ['18446744073709551615', true, '18446744073709551615'],
    ["'only text'", false, 'only text'],
    ['NULL', false, ''],
    ['CAST(1.5 AS FLOAT)', false, '1.5'],
    ['1e30', false, '1e30'],
    ["TIME'-10:20:30.5'", false, '-10:20:30.5'],
    ['CAST(7 AS INT)', true, '7'],
    ['y', false, '0000'],
    ['z', false, '00042'],
  ];
  it.each(runs)('of %s: prepared %s', async (expression, binary, expected) => {
    await store.execute('CREATE TABLE IF NOT EXISTS odd (y YEAR, z INT(5) ZEROFILL)');
    await store.execute('DELETE FROM odd');
    await store.execute('INSERT INTO odd VALUES (0, 42)');
    const before = Number((await store.query(`SELECT ${PREPARED}`)).rows[0]?.[0]);
    const text = textOf(await batchesOf(store, `SELECT ${expression}, ${PREPARED} FROM odd`, ['v', 'n']));
    expect(text).toBe(`<v>${expected}</v><n>${binary ? before + 1 : before}</n><endl/>\n`);
    // What was prepared is closed, whether it ran or not.
    const { rows } = await store.query(
      `SELECT VARIABLE_VALUE - ${CLOSED} FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'COM_STMT_PREPARE'`,
    );
    expect(rows).toEqual([[0]]);
  });

  it('are only asked for where they are used', async () => {
    const prepared = async () =>
      (await store.query(PREPARED.slice(1, -1).replace('EXECUTE', 'PREPARE'))).rows[0]?.[0];
    const before = await prepared();
    const batches: unknown[] = [];
    for await (const { rows } of store.stream('SELECT 1')) batches.push(rows);
    expect(batches).toEqual([[[1]]]);
    expect(await prepared()).toBe(before);
  });

  it('end with the error of a row in their middle, and the connection goes on', async () => {
    await store.execute('CREATE TABLE late (id INT PRIMARY KEY)');
    await store.execute('INSERT INTO late SELECT seq FROM seq_1_to_100000');
    const sql = 'SELECT id, IF(id = 90000, (SELECT 1 UNION SELECT 2), id) FROM late ORDER BY id';
    for (let round = 0; round < 20; round++) {
      let rows = 0;
      await expect(
        (async () => {
          const xml = { tags: ['a', 'b'], lengths: [], escape: true, values: [] };
          for await (const { ends } of store.streamXml?.(sql, [], xml) ?? []) rows += ends.length;
        })(),
      ).rejects.toThrow('Subquery returns more than 1 row');
      expect(rows).toBeGreaterThan(50_000);
      expect(textOf(await batchesOf(store, 'SELECT 5', ['a']))).toBe('<a>5</a><endl/>\n');
    }
  });

  it('may be left at any time', async () => {
    const session = async () => (await store.query('SELECT CONNECTION_ID()')).rows;
    const before = await session();
    const xml = { tags: ['a'], lengths: [], escape: true, values: [] };
    for (const batches of [1, 2, 7]) {
      let seen = 0;
      for await (const batch of store.streamXml?.('SELECT id FROM late', [], xml, { batchRows: 1_000 }) ??
        []) {
        expect(batch.ends.length).toBe(1_000);
        if (++seen === batches) break;
      }
      expect(seen).toBe(batches);
    }
    const controller = new AbortController();
    const reading = (async () => {
      const slow = 'SELECT id, SLEEP(0.01) FROM late';
      for await (const batch of store.streamXml?.(slow, [], { ...xml, tags: ['a', 'b'] }, { signal: controller.signal }) ?? []) void batch; // prettier-ignore
    })();
    setTimeout(() => controller.abort(), 50);
    await expect(reading).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await session()).toEqual(before);
  });
});

it.skipIf(!have.mariadb)('A server that prepares nothing is read as text', { timeout: 300_000 }, async () => {
  const server = await ownMariadb();
  const store = await openStore(server.url, { maxConnections: 1 });
  try {
    await store.execute('SET GLOBAL max_prepared_stmt_count = 0');
    const text = textOf(await batchesOf(store, `SELECT 1, ${PREPARED}`, ['v', 'n']));
    expect(text).toBe('<v>1</v><n>0</n><endl/>\n');
  } finally {
    await store.close();
    await server.stop();
  }
});
