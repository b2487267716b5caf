import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rowXmlWriter } from '../../src/protocol/rowxml.js';
import { openStore, type SqlRow, type Store, type XmlOptions } from '../../src/store/driver.js';
import { have, mariadb } from '../support/servers.js';

const TAGS = ['id', 'a', 'b', 'n', 'd', 'x'];

describe.skipIf(!have.mariadb)('rows rendered from the wire', () => {
  let store: Store;
  beforeAll(async () => {
    store = await openStore(await mariadb());
    await store.execute(
      'CREATE TABLE r (id BIGINT PRIMARY KEY, a LONGTEXT, b VARCHAR(50), n DECIMAL(20,4), d DATETIME(3), x VARBINARY(200))',
    );
  });
  afterAll(() => store.close());

  async function render(
    rows: readonly SqlRow[],
    options: Partial<XmlOptions> = {},
    batchRows = 1_000,
  ): Promise<string> {
    await store.execute('DELETE FROM r');
    const { done } = await store.batch('INSERT INTO r VALUES (?, ?, ?, ?, ?, ?)', rows);
    expect(done).toBe(rows.length);
    const xml = { tags: TAGS, lengths: [], escape: true, values: [], ...options };
    let text = '';
    for await (const batch of store.streamXml?.('SELECT * FROM r ORDER BY id', [], xml, { batchRows }) ??
      []) {
      expect(Array.from(batch.ends).at(-1) ?? 0).toBe(batch.bytes.length);
      expect(batch.columns).toBe(6);
      text += batch.bytes.toString('utf8');
    }
    return text;
  }

  it('have the bytes of the writer of row XML, whatever is in them', { timeout: 60_000 }, async () => {
    const hostile = fc.constantFrom('<', '>', '&', '"', "'", '\r', '\n', '\t', '\0', '\x1b', '\x7f', '\ufffe', '\uffff', '\uffef', '\uefff', '亳', '𠮷', 'ï', '</b>', '<endl/>\n', 'abc'); // prettier-ignore
    const text = fc.option(fc.array(hostile, { maxLength: 12 }).map((parts) => parts.join('')));
    const write = rowXmlWriter(TAGS);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(text, text, fc.option(fc.uint8Array({ maxLength: 30 }))), { maxLength: 20 }),
        async (given) => {
          const rows = given.map(
            ([a, b, x], i) => [i, a, b, `${i}.5000`, '2024-02-29 12:30:45.123', x] as const,
          );
          const hex = (x: Uint8Array | null): string | null =>
            x === null ? null : Buffer.from(x).toString('hex');
          const expected = rows.map(([id, a, b, n, d, x]) => write([id, a, b, n, d, hex(x)])).join('');
          expect(await render(rows)).toBe(expected);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('come as they are with escape off, and cut between characters', async () => {
    const rows: SqlRow[] = [
      [1, '<b>&\r', '𠮷亳州x', '1.0000', '2024-01-01 00:00:00.000', new Uint8Array([1, 255])],
    ];
    expect(await render(rows, { escape: false, lengths: [undefined, 3, 3, 2, 10, 3] })).toBe(
      '<id>1</id><a><b></a><b>𠮷亳州</b><n>1.</n><d>2024-01-01</d><x>01f</x><endl/>\n',
    );
  });

  it('may be larger than any buffer, and end a batch early then', async () => {
    const rows: SqlRow[] = [1, 2, 3].map((id) => [id, '&'.repeat(1_500_000), null, null, null, null]);
    const text = await render(rows);
    expect(text).toBe(
      rows
        .map(
          ([id]) =>
            `<id>${Number(id)}</id><a>${'&amp;'.repeat(1_500_000)}</a><b></b><n></n><d></d><x></x><endl/>\n`,
        )
        .join(''),
    );
  });

  it('come with the values that are asked for', async () => {
    await render([[9_223_372_036_854_775_807n, 'k', null, null, null, null]]);
    const xml = { tags: TAGS, lengths: [], escape: true, values: [0, 1, 2] };
    for await (const { values } of store.streamXml?.('SELECT * FROM r', [], xml) ?? []) {
      expect(values).toEqual([[9_223_372_036_854_775_807n, 'k', null]]);
    }
  });

  it('say how many columns there are when they are not as many as the tags', async () => {
    await render([[1, 'a', 'b', null, null, null]]);
    const xml = { tags: ['a', 'b'], lengths: [], escape: true, values: [] };
    for (const [sql, columns] of [
      ['SELECT id FROM r', 1],
      ['SELECT * FROM r', 6],
      ['SELECT * FROM r WHERE id = 0', 6],
    ] as const) {
      for await (const batch of store.streamXml?.(sql, [], xml) ?? []) expect(batch.columns).toBe(columns);
    }
  });
});
