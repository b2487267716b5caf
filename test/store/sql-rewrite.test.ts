import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bindValue, rewriteSql, SqlRewriteError } from '../../src/store/sql-rewrite.js';

const sqlite = (sql: string): ReturnType<typeof rewriteSql> => rewriteSql(sql, 'sqlite');

describe('SQL of the reference systems', () => {
  it('gets question marks in the order of appearance, outside literals, names and comments', () => {
    expect(sqlite(`select ':1', ":2", a /* :3 */ from t where b=:2 and c=:1 -- :4`)).toEqual({
      sql: `select ':1', ":2", a /* :3 */ from t where b=? and c=? -- :4`,
      binds: [{ number: 2 }, { number: 1 }],
    });
    expect(sqlite('select a from t where b=:12').binds).toEqual([{ number: 12 }]);
  });

  it('may double its percent signs', () => {
    expect(sqlite(`select a from t where b like '%%x%'`).sql).toBe(`select a from t where b like '%x%'`);
  });

  it('is left alone for a database that has the functions', () => {
    const text = `select to_char(d,'yyyymmdd') from t where d>sysdate-1 and a=:1`;
    expect(rewriteSql(text, 'oracle').sql).toBe(text.replace(':1', '?'));
  });

  it('works on SQLite: the four demo interfaces', () => {
    const db = new Database(':memory:');
    db.exec(`create table T_ZHOBTMIND(obtid text, ddatetime text, t int);
      insert into T_ZHOBTMIND values('58015','2023-07-06 15:43:00',301),('58102','2023-07-06 15:44:00',null)`);
    const run = (text: string, values: readonly (string | undefined)[]): unknown[] => {
      const { sql, binds } = sqlite(text);
      return db
        .prepare(sql)
        .raw()
        .all(binds.map((bind) => bindValue(bind, values[bind.number - 1])));
    };
    const select = `select obtid,to_char(ddatetime,'yyyymmddhh24miss'),t from T_ZHOBTMIND where `;
    expect(run(`${select} obtid=:1`, ['58015'])).toEqual([['58015', '20230706154300', 301]]);
    expect(run(`${select} obtid=:1`, [undefined])).toEqual([]);
    const between = `ddatetime between to_date(:1,'yyyymmddhh24miss') and to_date( :2 , 'yyyymmddhh24miss')`;
    expect(run(`${select} ${between}`, ['20230706154300', '20230706154400'])).toHaveLength(2);
    expect(
      run(`${select} obtid=:1 and ${between.replace(':2', ':3').replace(':1', ':2')}`, [
        '58102',
        '20230706154300',
        '20230706154400',
      ]),
    ).toEqual([['58102', '20230706154400', null]]);
    expect(run(`${select} ddatetime >= to_date('20230706','yyyymmdd')+0 or nvl(t,0)=0`, [])).toHaveLength(2);
    expect(run(`${select} ddatetime = to_date(:1||'00','yyyymmddhh24miss')`, ['202307061544'])).toHaveLength(
      1,
    );
    expect(
      run(`select to_char(ddatetime,'yyyy-mm-dd hh24:mi:ss') from T_ZHOBTMIND where obtid=:1`, ['58015']),
    ).toEqual([['2023-07-06 15:43:00']]);
    const now = new Date();
    const [row] = run(
      `select strftime('%s',sysdate) - strftime('%s',sysdate-10/1440), sysdate from T_ZHOBTMIND`,
      [],
    ) as [number, string][];
    expect(row?.[0]).toBe(600);
    expect(Math.abs(new Date(row?.[1] ?? '').getTime() - now.getTime())).toBeLessThan(10_000);
    db.close();
  });

  it('refuses a time that does not exist or does not follow the format', () => {
    const [bind] = sqlite(`select 1 where d=to_date(:1,'yyyymmddhh24miss')`).binds;
    if (bind === undefined) throw new Error('no bind');
    expect(bindValue(bind, '20240229120000')).toBe('2024-02-29 12:00:00');
    expect(bindValue(bind, '')).toBeNull();
    for (const text of ['20230229120000', '2023', 'abcdefghijklmn', '20230101250000']) {
      expect(() => bindValue(bind, text), text).toThrow(SqlRewriteError);
    }
    expect(() => sqlite(`select to_date('x','yyyy')`)).toThrow(SqlRewriteError);
    expect(() => sqlite(`select to_date('2020','yyyy'`)).toThrow(SqlRewriteError);
  });

  it('never throws anything else, whatever the text', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        'to_date(',
        'to_char(',
        'nvl(',
        'sysdate',
        "'yyyy'",
        ',',
        ')',
        '(',
        ':1',
        "'",
        '/*',
        '-1/0',
      ),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        try {
          sqlite(pieces.join(' '));
        } catch (error) {
          expect(error).toBeInstanceOf(SqlRewriteError);
        }
      }),
    );
  });
});
