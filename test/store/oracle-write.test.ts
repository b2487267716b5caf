import { describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/driver.js';
import { FakeOracle, type FakeAnswer } from '../support/fake-oracledb.js';
import { codeOf, opened, utf8 } from '../support/oracle-store.js';

describe('batches of Oracle', () => {
  it('send all rows in one call and tell the fate of each', async () => {
    const fake = new FakeOracle().on(/^INSERT/, {
      batchErrors: [
        { offset: 1, errorNum: 1, message: 'ORA-00001: unique constraint violated' },
        { offset: 2, errorNum: 12899, message: 'ORA-12899: value too large' },
      ],
    });
    const store = await opened(fake);
    const rows = [
      [1, 'a'],
      [2, 'ü'.repeat(30)],
      ['3', null],
      [undefined as unknown as null, 'x'],
      [4n, 'b'],
    ] as const;
    const result = await store.batch('INSERT INTO t VALUES (?, ?)', rows, { onDuplicate: 'skip' });
    expect(result).toEqual({
      done: 2,
      duplicates: [1],
      errors: [
        { row: 2, code: 'CONSTRAINT', message: 'ORA-12899: value too large' },
        { row: 3, code: 'BIND', message: 'value 1 is undefined; use null, number, bigint, text or bytes' },
      ],
    });
    const call = fake.calls.find(({ op }) => op === 'many');
    expect(call?.binds).toEqual([
      ['1', 'a'],
      ['2', 'ü'.repeat(30)],
      ['3', null],
      ['4', 'b'],
    ]);
    expect(call?.options).toMatchObject({
      batchErrors: true,
      autoCommit: false,
      bindDefs: [
        { type: { name: 'VARCHAR' }, maxSize: 32 },
        { type: { name: 'VARCHAR' }, maxSize: 128 },
      ],
    });
    expect(fake.calls.at(-1)?.op).toBe('commit');
  });

  it('call a duplicate an error when nothing else was said', async () => {
    const fake = new FakeOracle().on(/^INSERT/, {
      batchErrors: [{ offset: 0, errorNum: 1, message: 'ORA-00001: unique' }],
    });
    const result = await (await opened(fake)).batch('INSERT INTO t VALUES (?)', [[1]]);
    expect(result).toMatchObject({ done: 0, errors: [{ row: 0, code: 'DUPLICATE' }] });
    expect(fake.calls.find(({ op }) => op === 'many')?.options['bindDefs']).toEqual([
      { type: { name: 'NUMBER' } },
    ]);
  });

  it('are undone when the whole is in trouble', async () => {
    const full = { offset: 0, errorNum: 1653, message: 'ORA-01653: unable to extend table' };
    const fake = new FakeOracle().on(/^INSERT/, { batchErrors: [full] });
    const store = await opened(fake);
    expect(await codeOf(store.batch('INSERT INTO t VALUES (?)', [[1]]))).toBe('FULL');
    expect(fake.calls.at(-1)?.op).toBe('rollback');
    const tx = store.transaction(async (runner) => {
      expect(await codeOf(runner.batch('INSERT INTO t VALUES (?)', [[1]]))).toBe('FULL');
      return runner.execute('DELETE FROM u');
    });
    await tx;
    expect(fake.statements().slice(-5)).toEqual([
      'SAVEPOINT SWITCHYARD_SP',
      'many: INSERT INTO t VALUES (:1)',
      'ROLLBACK TO SAVEPOINT SWITCHYARD_SP',
      'DELETE FROM u',
      'commit: ',
    ]);
  });
});

/** A table with the columns a (key), b, n NUMBER(5,2), obtid, ddatetime, t and upttime. */
function withTable(fake: FakeOracle): FakeOracle {
  const text = (names: string[], rows: (string | null)[][]): FakeAnswer => ({
    columns: names.map((name) => ({ name, type: 'VARCHAR' })),
    rows,
  });
  const column = (name: string, type = 'VARCHAR2', scale: string | null = null): (string | null)[] =>
    [name, type, '30', null, scale, 'Y', 'NO', '30']; // prettier-ignore
  return fake
    .on(/all_tables/, text(['O', 'T', 'L'], [['WX', 'T', null]]))
    .on(/all_tab_cols/, {
      columns: ['N', 'T', 'C', 'P', 'S', 'Y', 'V', 'L'].map((name, i) => ({ name, type: i === 4 ? ('NUMBER' as const) : ('VARCHAR' as const) })),
      rows: [
        column('A'), column('B', 'RAW'), column('N', 'NUMBER', '2'), column('OBTID'), column('DDATETIME', 'TIMESTAMP(3)', '3'),
        column('T'), column('UPTTIME', 'DATE'),
      ],
    })
    .on(/all_tab_identity_cols|all_constraints|all_indexes/, text(['N', 'T', 'C'], [])); // prettier-ignore
}

describe('bulk loads of Oracle', () => {
  it('round nothing', async () => {
    const store = await opened(withTable(new FakeOracle()));
    const load = (column: string, ...values: string[]): Promise<unknown> =>
      store.bulk('t', [column], utf8(...values));
    await load('n', '1.250', '-3', '1e3', '125e-2', '.5');
    await load('ddatetime', '2026-01-02 03:04:05.1230000', '2026-01-02 03:04:05');
    for (const [column, bad] of [
      ['n', '1.239'],
      ['n', '1e-3'],
      ['ddatetime', '2026-01-02 03:04:05.1234'],
    ] as const) {
      await expect(load(column, '\\N', bad)).rejects.toMatchObject({ code: 'CONSTRAINT', row: 1 });
    }
    expect(await codeOf(load('nothing', '1'))).toBe('SYNTAX');
  });

  it('insert tab text as arrays of text', async () => {
    const fake = withTable(new FakeOracle());
    const store = await opened(fake);
    const bytes = Buffer.from(
      '58015\t2026-01-02 03:04:05\t-1.5\t\\N\n58016\t2026-01-02 03:04:06\ta\\tb\tff00',
    );
    const chunks = [bytes.subarray(0, 9), bytes.subarray(9, 40), bytes.subarray(40)];
    const result = await store.bulk('t_obs', ['obtid', 'ddatetime', 't', 'b'], chunks, { hex: ['b'] });
    expect(result).toEqual({ rows: 2, inserted: 2, updated: 0, skipped: 0 });
    const call = fake.calls.find(({ op }) => op === 'many');
    expect(call?.sql).toBe('INSERT INTO "T_OBS" ("OBTID", "DDATETIME", "T", "B") VALUES (:1, :2, :3, :4)');
    expect(call?.binds).toEqual([
      ['58015', '2026-01-02 03:04:05', '-1.5', null],
      ['58016', '2026-01-02 03:04:06', 'a\tb', Buffer.from([255, 0])],
    ]);
  });

  it('leave out duplicates, or update the rows that are there', async () => {
    const fake = withTable(new FakeOracle()).on(/^INSERT/, {
      batchErrors: [{ offset: 1, errorNum: 1, message: 'ORA-00001: unique' }],
    });
    const store = await opened(fake);
    expect(await store.bulk('t', ['a'], utf8('1', '2'), { onDuplicate: 'skip' })).toEqual({
      rows: 2, inserted: 1, updated: 0, skipped: 1,
    }); // prettier-ignore
    const options = { onDuplicate: 'update', keys: ['a'], touch: ['upttime'] } as const;
    expect(await store.bulk('t', ['a', 'b'], utf8('1\tx', '2\ty'), options)).toEqual({
      rows: 2, inserted: 1, updated: 1, skipped: 0,
    }); // prettier-ignore
    const call = fake.calls.find(({ sql }) => sql.startsWith('UPDATE'));
    expect(call?.sql).toBe('UPDATE "T" SET "B" = :1, "UPTTIME" = SYSDATE WHERE "A" = :2');
    expect(call?.binds).toEqual([['y', '2']]);
  });

  it('are refused when another unique key stands against an update', async () => {
    const fake = withTable(new FakeOracle())
      .on(/^INSERT/, { batchErrors: [{ offset: 0, errorNum: 1, message: 'ORA-00001: unique' }] })
      .on(/^UPDATE/, { rowsAffected: 0 });
    const store = await opened(fake);
    const work = store.bulk('t', ['a', 'b'], utf8('1\tx'), { onDuplicate: 'update', keys: ['a'] });
    expect(await codeOf(work)).toBe('DUPLICATE');
    expect(fake.calls.at(-1)?.op).toBe('rollback');
  });

  it('are all or nothing, and say which row was wrong', async () => {
    const fake = withTable(new FakeOracle()).on(/^INSERT/, {
      batchErrors: [{ offset: 1, errorNum: 1722, message: 'ORA-01722: invalid number' }],
    });
    const store = await opened(fake);
    await expect(store.bulk('t', ['a'], utf8('1', 'x'))).rejects.toMatchObject({
      code: 'CONSTRAINT',
      row: 1,
    });
    expect(fake.calls.at(-1)?.op).toBe('rollback');
    await expect(store.bulk('t', ['a', 'b'], utf8('1\t2', '1'))).rejects.toMatchObject({
      code: 'BIND',
      row: 1,
    });
    await expect(store.bulk('t', ['a'], utf8('abc'), { hex: ['a'] })).rejects.toMatchObject({
      code: 'CONSTRAINT',
      row: 0,
    });
    await expect(store.bulk('t', ['a'], [Buffer.from([0xff, 0x0a])])).rejects.toMatchObject({
      code: 'BIND',
      row: 0,
    });
    expect(fake.open).toBe(0);
  });

  it('end at the deadline when the source brings nothing', async () => {
    const fake = withTable(new FakeOracle());
    const store = await opened(fake);
    const silent = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('1\n');
      await new Promise(() => undefined);
    };
    expect(await codeOf(store.bulk('t', ['a'], silent(), { timeoutMs: 30 }))).toBe('TIMEOUT');
    expect(fake.open).toBe(0);
  });
});

describe('transactions of Oracle', () => {
  it('commit on one connection, or roll back', async () => {
    const fake = new FakeOracle();
    const store = await opened(fake);
    let kept: unknown;
    await store.transaction(async (tx) => {
      kept = tx;
      await Promise.all([tx.execute('DELETE FROM a'), tx.execute('DELETE FROM b')]);
    });
    expect(fake.statements()).toEqual(['DELETE FROM a', 'DELETE FROM b', 'commit: ']);
    expect(new Set(fake.calls.slice(-3).map(({ connection }) => connection)).size).toBe(1);
    expect(await codeOf((kept as Store).execute('DELETE FROM c'))).toBe('CLOSED');
    await expect(store.transaction(async () => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    expect(fake.calls.at(-1)?.op).toBe('rollback');
    expect(fake.open).toBe(0);
  });

  it('end at their deadline', async () => {
    const fake = new FakeOracle().on(/slow/, { hang: 'until-break' });
    const store = await opened(fake);
    const work = store.transaction((tx) => tx.execute('DELETE FROM slow'), { timeoutMs: 20 });
    expect(await codeOf(work)).toBe('TIMEOUT');
    expect(await codeOf(store.transaction(() => new Promise(() => undefined), { timeoutMs: 20 }))).toBe(
      'TIMEOUT',
    );
    expect(fake.calls.some(({ op }) => op === 'commit')).toBe(false);
    expect(fake.dropped).toHaveLength(2);
  });
});
