import { describe, expect, it } from 'vitest';
import { keys, loadSettings, type LoadParams } from '../../../src/actors/pipeline/load/keys.js';
import { parseRules, type LoadRule } from '../../../src/actors/pipeline/load/rules.js';
import { sequenceBulk, sequencePlan } from '../../../src/actors/pipeline/load/sequence.js';
import { TablePlans } from '../../../src/actors/pipeline/load/table.js';
import {
  StoreError,
  type BatchResult,
  type ColumnInfo,
  type SqlRow,
  type SqlRunner,
  type Store,
  type TableInfo,
} from '../../../src/store/driver.js';
import { mysqlDialect } from '../../../src/store/mysql/dialect.js';
import { oracleDialect } from '../../../src/store/oracle/dialect.js';
import { postgresDialect } from '../../../src/store/postgres/dialect.js';
import { paramsOf } from '../../support/stage-params.js';

const column = (name: string, more: Partial<ColumnInfo> = {}): ColumnInfo => ({
  name,
  type: 'varchar',
  kind: 'text',
  length: undefined,
  scale: undefined,
  nullable: true,
  generated: false,
  ...more,
});
const rule = (mode: 'insert' | 'upsert', beforeSql?: string): LoadRule => ({
  matches: () => true,
  table: 'T_OBS',
  mode,
  beforeSql,
});
const settings = (written: Record<string, string> = {}): ReturnType<typeof loadSettings> =>
  loadSettings(paramsOf(keys, { path: '/in', table: 'T_OBS', ...written }) as LoadParams);

/** A plan of a table that only the dictionary knows. */
async function plan(info: Partial<TableInfo>, given: LoadRule, dialect = mysqlDialect, written = {}) {
  const store = {
    dialect,
    columns: async () => ({ columns: [], primaryKey: [], uniqueKeys: [], ...info }),
  } as unknown as Store;
  return new TablePlans(settings(written)).get(store, given);
}

describe('the plan of a table', () => {
  const columns = [
    column('ObtId', { nullable: false }),
    column('ddatetime', { kind: 'date', type: 'datetime' }),
    column('day', { kind: 'date', type: 'date' }),
    column('raw', { kind: 'bytes', type: 'blob' }),
    column('upttime', { kind: 'date', type: 'datetime' }),
    column('KEYID', { kind: 'integer', type: 'bigint' }),
    column('total', { generated: true }),
  ];

  it('leaves out what the database fills itself and reads the others by small letters', async () => {
    const made = await plan({ columns, primaryKey: ['ObtId'] }, rule('upsert'));
    expect(made.tabColumns.map(({ tag, kind }) => [tag, kind])).toEqual([
      ['obtid', 'text'],
      ['ddatetime', 'date'],
      ['day', 'day'],
      ['raw', 'hex'],
    ]);
    expect(made.keys).toEqual(['ObtId']);
  });

  it('takes a unique key when the primary one is not in the files, or the one that is written', async () => {
    const info = {
      columns,
      primaryKey: ['KEYID'],
      uniqueKeys: [
        ['ObtId', 'total'],
        ['ObtId', 'day'],
      ],
    };
    expect((await plan(info, rule('upsert'))).keys).toEqual(['ObtId', 'day']);
    expect((await plan(info, rule('upsert'), mysqlDialect, { key: 'obtid' })).keys).toEqual(['ObtId']);
    await expect(plan(info, rule('upsert'), mysqlDialect, { key: 'nope' })).rejects.toThrow('no column nope');
    await expect(plan({ columns, primaryKey: ['KEYID'] }, rule('upsert'))).rejects.toThrow(
      /no primary or unique key/,
    );
  });

  it('reads a self-numbering column when rows have no other key', async () => {
    const info = {
      columns: [column('id', { generated: true, nullable: false }), column('a')],
      primaryKey: ['id'],
    };
    const tags = async (made: ReturnType<typeof plan>): Promise<string[]> =>
      (await made).tabColumns.map(({ tag }) => tag);
    expect(await tags(plan(info, rule('upsert')))).toEqual(['id', 'a']);
    expect(await tags(plan(info, rule('insert')))).toEqual(['id', 'a']);
    expect(await tags(plan(info, rule('insert'), postgresDialect))).toEqual(['a']);
    expect(await tags(plan({ ...info, uniqueKeys: [['a']] }, rule('upsert')))).toEqual(['a']);
  });

  it('refuses SQL before a file that would end its transaction', async () => {
    const info = { columns, primaryKey: ['ObtId'] };
    expect((await plan(info, rule('insert', "delete from T_OBS where obtid like '5%%'"))).beforeSql).toBe(
      "delete from T_OBS where obtid like '5%'",
    );
    await expect(plan(info, rule('insert', 'TRUNCATE T_OBS'))).rejects.toThrow(
      'TRUNCATE would end the transaction',
    );
    expect((await plan(info, rule('insert', 'truncate T_OBS'), postgresDialect)).beforeSql).toBe(
      'truncate T_OBS',
    );
    await expect(plan(info, rule('insert', 'delete from T where a = :1'))).rejects.toThrow('it has binds');
  });
});

describe('a rule file', () => {
  it('is read whatever the length of its records and the letters of its flags', () => {
    const sql = `delete from T where ${'a < 1 or '.repeat(200)} b = 2`;
    const text = `<?xml version='1.0'?>\n<xmltodb>\n<!-- <filename>no</filename> -->\n<filename>A*.XML, b.xml</filename><tname>T_A</tname><uptbz>1</uptbz><execsql>${sql}</execsql><endl/>\n<filename>*</filename><tname>T_B</tname><endl/>`;
    const rules = parseRules(text, 'r.xml');
    expect(rules.map(({ table, mode, beforeSql }) => [table, mode, beforeSql])).toEqual([
      ['T_A', 'upsert', sql],
      ['T_B', 'insert', undefined],
    ]);
    expect(
      ['a1.xml', 'B.XML', 'c.xml'].map((name) => rules.find(({ matches }) => matches(name))?.table),
    ).toEqual(['T_A', 'T_A', 'T_B']);
  });

  it('says what is wrong with it, and where', () => {
    expect(() => parseRules('\n<filename>a</filename><endl/>\n', 'r.xml')).toThrow(
      'r.xml:2: the rule has no <tname>',
    );
    expect(() => parseRules('<tname>a</tname><endl/>\n', 'r.xml')).toThrow(
      'r.xml:1: the rule has no <filename>',
    );
    expect(() => parseRules('<filename>a</filename><tname>T</tname>\n', 'r.xml')).toThrow(
      'the last record has no <endl/>',
    );
    expect(() => parseRules('', 'r.xml')).toThrow('r.xml has no rule');
  });
});

/** Records what it is told; the second row of each insert is there already. */
class Recorder {
  readonly said: string[] = [];
  errors: BatchResult['errors'] = [];

  async execute(sql: string): Promise<number> {
    this.said.push(sql);
    return 0;
  }

  async batch(sql: string, rows: readonly SqlRow[]): Promise<BatchResult> {
    this.said.push(sql, ...rows.map((row) => JSON.stringify(row)));
    const duplicates = sql.startsWith('INSERT') && rows.length > 1 ? [1] : [];
    return { done: rows.length - duplicates.length, duplicates, errors: this.errors };
  }
}

describe('a keyid drawn from a sequence', () => {
  const keyid = column('KEYID');
  const skipped = new Set(['keyid']);
  const target = {
    table: 'T_OBS',
    columns: ['OBTID', 'T'],
    keys: ['OBTID'],
    touch: ['UPTTIME'],
    hex: [],
    column: 'KEYID',
    sequence: 'SEQ_OBS',
  };

  it('is for Oracle tables whose keyid nothing fills', () => {
    expect(sequencePlan(rule('insert'), keyid, skipped, oracleDialect)).toEqual({
      column: 'KEYID',
      sequence: 'SEQ_OBS',
    });
    expect(
      sequencePlan({ ...rule('insert'), table: 'IDC.T_OBS' }, keyid, skipped, oracleDialect)?.sequence,
    ).toBe('IDC.SEQ_OBS');
    expect(
      sequencePlan(rule('insert'), { ...keyid, generated: true }, skipped, oracleDialect),
    ).toBeUndefined();
    expect(sequencePlan(rule('insert'), undefined, skipped, oracleDialect)).toBeUndefined();
    expect(sequencePlan(rule('insert'), keyid, skipped, mysqlDialect)).toBeUndefined();
  });

  it('inserts rows with the next number and updates those that are there', async () => {
    const recorder = new Recorder();
    const result = await sequenceBulk(recorder as unknown as SqlRunner, oracleDialect, target, [
      Buffer.from('1\t5\n2\t'),
      Buffer.from('\\N\n'),
    ]);
    expect(result).toEqual({ rows: 2, inserted: 1, updated: 1, skipped: 0 });
    expect(recorder.said).toEqual([
      'SAVEPOINT SWITCHYARD_LOAD',
      'INSERT INTO "T_OBS" ("OBTID", "T", "KEYID") VALUES (?, ?, "SEQ_OBS".NEXTVAL)',
      '["1","5"]',
      '["2",null]',
      'UPDATE "T_OBS" SET "T" = ?, "UPTTIME" = SYSDATE WHERE "OBTID" = ?',
      '[null,"2"]',
    ]);
  });

  it('undoes everything when a row is bad, and names it', async () => {
    const recorder = new Recorder();
    recorder.errors = [{ row: 0, code: 'CONSTRAINT', message: 'too large' }];
    const failed = sequenceBulk(recorder as unknown as SqlRunner, oracleDialect, target, [
      Buffer.from('1\t5\n'),
    ]);
    await expect(failed).rejects.toMatchObject({ code: 'CONSTRAINT', row: 0 });
    await expect(failed).rejects.toBeInstanceOf(StoreError);
    expect(recorder.said.at(-1)).toBe('ROLLBACK TO SAVEPOINT SWITCHYARD_LOAD');
  });
});
