import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/driver.js';
import { bindValue, rewriteSql, SqlRewriteError } from '../../src/store/sql-rewrite.js';
import { have, mariadb, postgres } from '../support/servers.js';

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

  const servers = [
    { name: 'mysql', url: mariadb, here: () => have.mariadb, time: 'datetime' },
    { name: 'postgres', url: postgres, here: () => have.postgres, time: 'timestamp' },
  ];
  it.for(servers)('works on $name', { timeout: 300_000 }, async ({ name, url, here, time }, { skip }) => {
    if (!here()) skip();
    const store = await openStore(await url());
    const run = async (text: string, values: readonly string[] = []): Promise<unknown> => {
      const { sql, binds } = rewriteSql(text, name);
      return (
        await store.query(
          sql,
          binds.map((bind) => bindValue(bind, values[bind.number - 1])),
        )
      ).rows;
    };
    try {
      await store.execute(`create table zhobtmind(obtid varchar(10), ddatetime ${time}, t int)`);
      await store.execute(
        `insert into zhobtmind values('58015','2023-07-06 15:43:00',301),('58102','2023-07-06 15:44:00',null)`,
      );
      const select = `select obtid,to_char(ddatetime,'yyyymmddhh24miss'),t from zhobtmind where`;
      const first = ['58015', '20230706154300', 301];
      const second = ['58102', '20230706154400', null];
      expect(await run(`${select} obtid=:1`, ['58015'])).toEqual([first]);
      expect(
        await run(
          `${select} ddatetime between to_date(:2,'yyyymmddhh24miss') and to_date( :1 , 'yyyymmddhh24miss') order by obtid`,
          ['20230706154400', '20230706154300'],
        ),
      ).toEqual([first, second]);
      expect(
        await run(`${select} ddatetime = to_date(:1||'00','yyyymmddhh24miss')`, ['202307061544']),
      ).toEqual([second]);
      expect(await run(`${select} ddatetime > to_date('20230706','yyyymmdd') and nvl(t,0)=0`)).toEqual([
        second,
      ]);
      expect(await run(`${select} ddatetime < to_date('2023-07-06 15:44','yyyy-mm-dd hh24:mi')`)).toEqual([
        first,
      ]);
      expect(
        await run(`select to_char(max(ddatetime),'yyyy-mm-dd hh24:mi:ss'), to_char(sum(t)) from zhobtmind`),
      ).toEqual([['2023-07-06 15:44:00', '301']]);
      // Text that is the same in both, or only there to be left alone.
      expect(
        await run(`select ':1 sysdate %%' from dual where sysdate - 10/1440 < sysdate and sysdate+1>sysdate`),
      ).toEqual([[':1 sysdate %']]);
      const seconds = name === 'mysql' ? 'unix_timestamp(' : 'extract(epoch from ';
      const [[apart]] = (await run(`select ${seconds}sysdate) - ${seconds}sysdate-1/24) from dual`)) as [
        [unknown],
      ];
      expect(Number(apart)).toBe(3600);
    } finally {
      await store.close();
    }
  });

  it('knows the words of SQL Server', () => {
    const words = (text: string): string => rewriteSql(text, 'mssql').sql;
    expect(
      words(`select to_char(d,'yyyy-mm-dd hh24:mi:ss'), nvl(a,0) from dual where d > sysdate-10/1440`),
    ).toBe(
      `select format(d, 'yyyy-MM-dd HH:mm:ss'), coalesce(a,0)  where d > dateadd(second, -600, cast(getdate() as datetime2(0)))`,
    );
    expect(words(`select 1 where d=to_date(:1,'yyyymmdd') and e=to_date(f,'yyyymm')`)).toBe(
      `select 1 where d=cast(? as datetime2(0)) and e=cast(concat(substring(f, 1, 4), '-', substring(f, 5, 2), '-', ` +
        `'01', 'T', '00', ':', '00', ':', '00') as datetime2(0))`,
    );
  });

  it('of MySQL may escape quotes in literals', () => {
    expect(rewriteSql(String.raw`select 'it\'s :1', :2`, 'mysql')).toEqual({
      sql: String.raw`select 'it\'s :1', ?`,
      binds: [{ number: 2 }],
    });
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
          for (const name of ['sqlite', 'mysql', 'postgres', 'mssql', 'oracle'])
            rewriteSql(pieces.join(' '), name);
        } catch (error) {
          expect(error).toBeInstanceOf(SqlRewriteError);
        }
      }),
    );
  });
});
