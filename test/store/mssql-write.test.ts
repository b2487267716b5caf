import { describe, expect, it } from 'vitest';
import type { SqlRunner } from '../../src/store/driver.js';
import { FakeMssql, type FakeAnswer } from '../support/fake-mssql.js';
import { codeOf, utf8 } from '../support/oracle-store.js';

const faults = (...rows: [number, number, string][]): FakeAnswer => ({
  columns: [['i', 'Int'], ['n', 'Int'], ['m', 'NVarChar']],
  rows,
}); // prettier-ignore

describe('batches of SQL Server', () => {
  it('put many rows into one request and tell the fate of each', async () => {
    const fake = new FakeMssql().on(/@e TABLE/, faults([1, 2627, 'duplicate'], [2, 515, 'no NULL here']));
    const store = await fake.open();
    const rows = [
      [1, 'a'],
      [1, 'b'],
      [null, 'c'],
      [undefined as unknown as null, 'd'],
      [5, 'e'],
    ] as const;
    expect(await store.batch('INSERT INTO t VALUES (?, ?)', rows, { onDuplicate: 'skip' })).toEqual({
      done: 2,
      duplicates: [1],
      errors: [
        { row: 2, code: 'CONSTRAINT', message: 'no NULL here' },
        { row: 3, code: 'BIND', message: 'value 1 is undefined; use null, number, bigint, text or bytes' },
      ],
    });
    const call = fake.calls.find(({ sql }) => sql.includes('@e TABLE'));
    expect(call?.sql.match(/INSERT INTO t VALUES .*/g)).toEqual([
      'INSERT INTO t VALUES (@p1, @p2)',
      'INSERT INTO t VALUES (@p3, @p4)',
      'INSERT INTO t VALUES (NULL, @p6)',
      'INSERT INTO t VALUES (@p7, @p8)',
    ]);
    expect(call?.inputs).toEqual({ p1: 1, p2: 'a', p3: 1, p4: 'b', p6: 'c', p7: 5, p8: 'e' });
    expect(fake.statements().slice(-3)).toEqual(['begin', call?.sql, 'commit']);
  });

  it('stay below the number of parameters the server takes', async () => {
    const fake = new FakeMssql();
    const store = await fake.open();
    const rows = Array.from({ length: 450 }, (_, i) => Array.from({ length: 20 }, () => i));
    const sql = `INSERT INTO t VALUES (${rows[0]?.map(() => '?').join(', ')})`;
    expect(await store.batch(sql, rows)).toMatchObject({ done: 450, errors: [] });
    const sizes = fake.calls
      .filter(({ sql: text }) => text.includes('@e TABLE'))
      .map(({ inputs }) => Object.keys(inputs).length);
    expect(sizes).toEqual([2_000, 2_000, 2_000, 2_000, 1_000]);
  });

  it('are done anew without a row that made the server give the transaction up', async () => {
    const fake = new FakeMssql().on(/@e TABLE/, (call) =>
      Object.values(call.inputs).includes('x')
        ? { errors: [{ number: 51000, message: 'row:1:245:Conversion failed: x' }, { number: 3998 }] }
        : faults(),
    );
    const store = await fake.open();
    expect(await store.batch('INSERT INTO t VALUES (?)', [['1'], ['x'], ['3']])).toEqual({
      done: 2,
      duplicates: [],
      errors: [{ row: 1, code: 'CONSTRAINT', message: 'Conversion failed: x' }],
    });
    expect(fake.statements().filter((text) => !text.includes('@e TABLE'))).toEqual([
      'begin',
      'rollback',
      'begin',
      'commit',
    ]);
    const inside = store.transaction((tx) => tx.batch('INSERT INTO t VALUES (?)', [['1'], ['x']]));
    await expect(inside).rejects.toMatchObject({ code: 'CONSTRAINT', row: 1 });
    expect(fake.statements().at(-1)).toBe('rollback');
  });

  it('are undone when the whole is in trouble', async () => {
    const fake = new FakeMssql().on(/@e TABLE/, {
      errors: [{ number: 51000, message: 'row:0:1205:deadlock' }],
    });
    const store = await fake.open();
    expect(await codeOf(store.batch('INSERT INTO t VALUES (?)', [[1]]))).toBe('BUSY');
    expect(fake.statements().at(-1)).toBe('rollback');
  });
});

describe('bulk loads of SQL Server', () => {
  const table = (fake: FakeMssql): FakeMssql =>
    fake
      .on(/sys\.indexes/, { columns: [['i', 'NVarChar'], ['p', 'Bit'], ['c', 'NVarChar']] })
      .on(/sys\.columns c WHERE/, {
        columns: [['n', 'NVarChar'], ['t', 'NVarChar'], ['l', 'SmallInt'], ['p', 'TinyInt'], ['s', 'TinyInt'], ['y', 'Bit'], ['i', 'Bit'], ['c', 'Bit']],
        rows: [
          ['obtid', 'varchar', 10, 0, 0, false, false, false],
          ['at', 'datetime', 8, 23, 3, false, false, false],
          ['t', 'decimal', 5, 8, 2, true, false, false],
          ['raw', 'varbinary', 20, 0, 0, true, false, false],
          ['keyid', 'int', 4, 10, 0, false, true, false],
        ],
      })
      .on(/dm_exec_describe/, { columns: [['n', 'NVarChar'], ['t', 'NVarChar'], ['e', 'Int']], rows: [] }); // prettier-ignore

  it('go as text through a temporary table, checked before they are moved', async () => {
    const fake = table(new FakeMssql()).on(/^INSERT INTO \[dbo\]/, { affected: 2 });
    const store = await fake.open();
    const lines = utf8('58015\t2026-01-02 03:04:05\t1.25\tff00', '58016\t\\N\t\\N\t\\N');
    const result = await store.bulk('dbo.t_obs', ['obtid', 'at', 't', 'raw'], lines, { hex: ['raw'] });
    expect(result).toEqual({ rows: 2, inserted: 2, updated: 0, skipped: 0 });
    expect(fake.bulks).toEqual([
      {
        name: '#switchyard_bulk',
        columns: ['n', 'c1', 'c2', 'c3', 'c4'],
        rows: [
          ['0', '58015', '2026-01-02 03:04:05', '1.25', 'ff00'],
          ['1', '58016', null, null, null],
        ],
      },
    ]);
    const sent = fake.statements().filter((text) => !/^SELECT c\.name|^SET ROWCOUNT/.test(text));
    expect(sent).toEqual([
      'begin',
      'DROP TABLE IF EXISTS #switchyard_bulk; CREATE TABLE #switchyard_bulk (n bigint NOT NULL, c1 nvarchar(4000) NULL, c2 nvarchar(4000) NULL, c3 nvarchar(4000) NULL, c4 nvarchar(4000) NULL)',
      'bulk',
      'SELECT TOP (1) n, s.c2 FROM #switchyard_bulk AS s WHERE s.c2 IS NOT NULL AND (TRY_CONVERT(datetime, s.c2) IS NULL) ORDER BY n',
      'SELECT TOP (1) n, s.c3 FROM #switchyard_bulk AS s WHERE s.c3 IS NOT NULL AND (TRY_CONVERT(decimal(8,2), s.c3) IS NULL' +
        ' OR TRY_CONVERT(decimal(38,32), s.c3) <> TRY_CONVERT(decimal(8,2), s.c3)) ORDER BY n',
      'INSERT INTO [dbo].[t_obs] ([obtid], [at], [t], [raw]) SELECT s.c1, TRY_CONVERT(datetime, s.c2), TRY_CONVERT(decimal(8,2), s.c3),' +
        ' CONVERT(varbinary(max), s.c4, 2) FROM #switchyard_bulk AS s ORDER BY n',
      'DROP TABLE #switchyard_bulk',
      'commit',
    ]);
  });

  it('update by key and insert the rest, or leave what is there', async () => {
    const fake = table(new FakeMssql()).on(/NOT EXISTS/, { affected: 1 });
    const store = await fake.open();
    const lines = utf8('58015\t1', '58016\t2', '58015\t3');
    const update = { onDuplicate: 'update', keys: ['obtid'], touch: ['upttime'] } as const;
    expect(await store.bulk('t', ['obtid', 't'], lines, update)).toEqual({
      rows: 3,
      inserted: 1,
      updated: 2,
      skipped: 0,
    });
    const once = (order: string): string =>
      `(SELECT *, ROW_NUMBER() OVER (PARTITION BY s.c1 ORDER BY n ${order}) AS turn FROM #switchyard_bulk AS s) AS s`;
    const rest = (order: string): string =>
      `INSERT INTO [t] ([obtid], [t]) SELECT s.c1, TRY_CONVERT(decimal(8,2), s.c2) FROM ${once(order)} WHERE s.turn = 1` +
      ` AND NOT EXISTS (SELECT 1 FROM [t] AS t WITH (UPDLOCK, SERIALIZABLE) WHERE t.[obtid] = s.c1)`;
    expect(fake.statements().filter((text) => /^(UPDATE|INSERT)/.test(text))).toEqual([
      `UPDATE t SET t.[t] = TRY_CONVERT(decimal(8,2), s.c2), t.[upttime] = CAST(SYSDATETIME() AS datetime2(0)) FROM [t] AS t` +
        ` WITH (UPDLOCK, SERIALIZABLE) JOIN ${once('DESC')} ON t.[obtid] = s.c1 WHERE s.turn = 1`,
      rest('DESC'),
    ]);
    expect(await store.bulk('t', ['obtid', 't'], lines, { onDuplicate: 'skip', keys: ['obtid'] })).toEqual({
      rows: 3, inserted: 1, updated: 0, skipped: 2,
    }); // prettier-ignore
    expect(
      fake
        .statements()
        .filter((text) => text.startsWith('INSERT'))
        .at(-1),
    ).toBe(rest('ASC'));
  });

  it('allow values for an identity column', async () => {
    const fake = table(new FakeMssql()).on(/IDENTITY_INSERT/, { affected: 1 });
    await (await fake.open()).bulk('t', ['obtid', 'keyid'], utf8('1\t2'));
    expect(fake.statements().find((text) => text.includes('IDENTITY_INSERT'))).toMatch(
      /^SET IDENTITY_INSERT \[t\] ON; INSERT INTO .*; SET IDENTITY_INSERT \[t\] OFF$/,
    );
  });

  it('are all or nothing, and say which row was wrong', async () => {
    const fake = table(new FakeMssql()).on(/^SELECT TOP \(1\) n, s\.c1/, { columns: [['n', 'BigInt'], ['c1', 'NVarChar']], rows: [['1', '1.239']] }); // prettier-ignore
    const store = await fake.open();
    await expect(store.bulk('t', ['t'], utf8('1', '1.239'))).rejects.toMatchObject({
      code: 'CONSTRAINT', row: 1, message: 'row 2: "1.239" is no value of t (decimal(8,2))',
    }); // prettier-ignore
    expect(fake.statements().at(-1)).toBe('rollback');
    await expect(store.bulk('t', ['obtid'], utf8('a', 'x'.repeat(4_001)))).rejects.toMatchObject({ row: 1 });
    await expect(store.bulk('t', ['raw'], utf8('xyz'))).rejects.toMatchObject({ code: 'CONSTRAINT', row: 0 });
    await expect(store.bulk('t', ['none'], utf8('1'))).rejects.toMatchObject({ code: 'SYNTAX' });
    await expect(store.bulk('t', ['obtid'], utf8('1'), { onDuplicate: 'update' })).rejects.toMatchObject({
      code: 'BIND',
    });
  });

  it('inside a transaction are undone up to a savepoint, and it goes on', async () => {
    const fake = table(new FakeMssql());
    const store = await fake.open();
    await store.transaction(async (tx) => {
      expect(await codeOf(tx.bulk('t', ['raw'], utf8('xyz')))).toBe('CONSTRAINT');
      await tx.execute('DELETE FROM u');
    });
    expect(fake.statements()).toContain('SAVE TRANSACTION switchyard_sp');
    expect(fake.statements().slice(-3)).toEqual([
      'IF XACT_STATE() = 1 ROLLBACK TRANSACTION switchyard_sp',
      'DELETE FROM u',
      'commit',
    ]);
  });
});

describe('transactions of SQL Server', () => {
  it('run one call after the other on one connection', async () => {
    const fake = new FakeMssql();
    const store = await fake.open();
    let kept: SqlRunner | undefined;
    await store.transaction(async (tx) => {
      kept = tx;
      await Promise.all([tx.execute('DELETE FROM a'), tx.execute('DELETE FROM b')]);
    });
    expect(fake.statements()).toEqual(['begin', 'DELETE FROM a', 'DELETE FROM b', 'commit']);
    expect(kept && (await codeOf(kept.execute('DELETE FROM c')))).toBe('CLOSED');
    await expect(store.transaction(async () => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    expect(fake.statements().at(-1)).toBe('rollback');
  });

  it('end at their deadline, rolled back', async () => {
    const fake = new FakeMssql().on(/slow/, { hang: 'until-cancel' });
    const store = await fake.open();
    const work = store.transaction((tx) => tx.execute('DELETE FROM slow'), { timeoutMs: 20 });
    expect(await codeOf(work)).toBe('TIMEOUT');
    expect(await codeOf(store.transaction(() => new Promise(() => undefined), { timeoutMs: 20 }))).toBe(
      'TIMEOUT',
    );
    expect(fake.statements()).toEqual(['begin', 'DELETE FROM slow', 'rollback', 'begin', 'rollback']);
  });
});
