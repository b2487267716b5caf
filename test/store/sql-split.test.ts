import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { splitSql, SqlSplitError } from '../../src/store/sql-split.js';

const texts = (sql: string, dialect = 'mysql'): string[] =>
  [...splitSql(sql, dialect)].map(({ text }) => text);

describe('splitting a file of SQL', () => {
  it('cuts at semicolons, and knows the line each statement begins in', () => {
    const sql =
      '\ufeff-- old rows go\n\n  delete from a;delete\nfrom b ;\n;\n/* last\none */ delete from c\n';
    expect([...splitSql(sql, 'mysql')]).toEqual([
      { text: 'delete from a', line: 3 },
      { text: 'delete\nfrom b', line: 3 },
      { text: 'delete from c', line: 7 },
    ]);
    expect(texts(' \n-- nothing\n;;/* at all */')).toEqual([]);
  });

  it.each<[string, string, string[]]>([
    ['mysql', `a ';' b; c`, [`a ';' b`, 'c']],
    ['mysql', `'it''s;' ; "a"";" ; x`, [`'it''s;'`, `"a"";"`, 'x']],
    ['mysql', String.raw`'\';' ; '\\' ; x`, [String.raw`'\';'`, String.raw`'\\'`, 'x']],
    ['sqlite', String.raw`'\' ; '\\' ; x`, [String.raw`'\'`, String.raw`'\\'`, 'x']],
    ['postgres', String.raw`'\' ; E'\';' ; x`, [String.raw`'\'`, String.raw`E'\';'`, 'x']],
    ['mysql', '`a;``b` ; x', ['`a;``b`', 'x']],
    ['sqlite', '[a;b] ; x', ['[a;b]', 'x']],
    ['mysql', 'a # ;\n; b', ['a # ;', 'b']],
    ['postgres', 'a #; b', ['a #', 'b']],
    ['mysql', 'select 1--1; b', ['select 1--1', 'b']],
    ['mysql', 'a -- ;\n; b', ['a -- ;', 'b']],
    ['sqlite', 'a --;\n; b', ['a --;', 'b']],
    ['mysql', 'a /* ; /* ; */ ; b', ['a /* ; /* ; */', 'b']],
    ['postgres', 'a /* ; /* ; */ ; */ ; b', ['a /* ; /* ; */ ; */', 'b']],
    ['mysql', '/*!40101 SET NAMES utf8 */; b', ['/*!40101 SET NAMES utf8 */', 'b']],
    ['sqlite', 'a /* never ; closed', ['a /* never ; closed']],
    ['postgres', 'do $$ begin; end $$; x', ['do $$ begin; end $$', 'x']],
    [
      'postgres',
      'do $a$ $b$ ; $$ ; $a$; select $1; x$y$ ; z',
      ['do $a$ $b$ ; $$ ; $a$', 'select $1', 'x$y$', 'z'],
    ],
    [
      'postgres',
      'create rule r as on insert to t do (a; b); x',
      ['create rule r as on insert to t do (a; b)', 'x'],
    ],
    [
      'postgres',
      'create function f() begin atomic select case when 1 then 2 end; select 2; end; x',
      ['create function f() begin atomic select case when 1 then 2 end; select 2; end', 'x'],
    ],
    [
      'mysql',
      'a;\nDELIMITER //\ncreate procedure p() begin b; c; end//\ndelimiter ;\nd;',
      ['a', 'create procedure p() begin b; c; end', 'd'],
    ],
    [
      'sqlite',
      'create temp trigger t after insert on x begin select case 1 when 1 then 2 end; delete from y; end; z',
      [
        'create temp trigger t after insert on x begin select case 1 when 1 then 2 end; delete from y; end',
        'z',
      ],
    ],
    [
      'oracle',
      "set echo off\nprompt a; b\ndelete from a;\ncommit;\n/\nbegin\n x; y;\nend;\n/\nrem it's over\nq;\nexit;\nnot this",
      ['delete from a', 'commit', 'begin\n x; y;\nend;', 'q'],
    ],
    [
      'oracle',
      "select q'[it's;]', nq'!;!' from dual; create or replace procedure p is\nbegin a; end;\n/\nselect 1\n/\nset role x;",
      [
        "select q'[it's;]', nq'!;!' from dual",
        'create or replace procedure p is\nbegin a; end;',
        'select 1',
        'set role x',
      ],
    ],
    [
      'mssql',
      "create proc p as a; b;\nGO\nc ';\ngo\n' \n  go 2 -- twice\n[x\ngo\n]\n",
      ['create proc p as a; b;', "c ';\ngo\n'", "c ';\ngo\n'", '[x\ngo\n]'],
    ],
  ])('sees through what %s has: %s', (dialect, sql, expected) => {
    expect(texts(sql, dialect)).toEqual(expected);
  });

  it('tells what is not closed, and in which line it begins', () => {
    const error = (sql: string, dialect: string): string => {
      try {
        return texts(sql, dialect).join();
      } catch (reason) {
        expect(reason).toBeInstanceOf(SqlSplitError);
        return (reason as Error).message;
      }
    };
    expect(error("a;\nb\n'c;\nd", 'mysql')).toBe("line 3: the quote is not closed by '");
    expect(error('a;\n/* b', 'postgres')).toBe('line 2: the comment is not closed');
    expect(error('a $x$ b;\n$y$', 'postgres')).toBe('line 1: the quote is not closed by $x$');
    expect(error("\n\nq'[a'", 'oracle')).toBe("line 3: the quote is not closed by ]'");
    expect(error('delimiter\na', 'mysql')).toMatch(/line 1: DELIMITER needs/);
    expect(error(`a;\n${'x'.repeat(17 << 20)} y`, 'mysql')).toMatch(/line 2: the statement is longer/);
  });

  it('gives up the statements before the place that is wrong', () => {
    const split = splitSql("a; b; 'c", 'sqlite');
    expect([split.next().value, split.next().value]).toMatchObject([{ text: 'a' }, { text: 'b' }]);
    expect(() => split.next()).toThrow(SqlSplitError);
  });

  it('finds again what was joined, whatever is in it', () => {
    const inner = fc.string({
      unit: fc.constantFrom('a', ';', '-', '/', '*', '#', '$', '\n', ' ', '"', '`', '\\', '//'),
    });
    const quoted = (dialect: string): fc.Arbitrary<string> => {
      const kinds: ((text: string) => string)[] = [
        (text) => `'${text.replaceAll("'", "''").replaceAll('\\', dialect === 'mysql' ? '\\\\' : '\\')}'`,
        (text) => `"${text.replaceAll('"', '""').replaceAll('\\', dialect === 'mysql' ? '\\\\' : '\\')}"`,
        (text) => `/*x${text.replaceAll('*', ' ').replaceAll('/', ' ')}*/`,
        (text) => `-- ${text.replaceAll('\n', ' ')}\n`,
      ];
      if (dialect === 'postgres') kinds.push((text) => ` $q$${text}$q$`);
      if (dialect !== 'postgres') kinds.push((text) => `\`${text.replaceAll('`', '``')}\``);
      if (dialect === 'mysql') kinds.push((text) => `# ${text.replaceAll('\n', ' ')}\n`);
      return fc.tuple(inner, fc.constantFrom(...kinds)).map(([text, kind]) => kind(text));
    };
    for (const dialect of ['mysql', 'postgres', 'sqlite']) {
      const piece = fc.oneof(fc.constantFrom(' select ', ' 1 ', '\n', ' , ', ' x '), quoted(dialect));
      const statement = fc.array(piece, { maxLength: 8 }).map((pieces) => `do${pieces.join('')}end`);
      const between = fc.constantFrom(';', ' ;\n', ';;', ';-- no ; more\n', '; /* ; */ ');
      fc.assert(
        fc.property(fc.array(fc.tuple(statement, between), { maxLength: 10 }), (parts) => {
          const sql = parts.flat().join('');
          const found = [...splitSql(sql, dialect)];
          expect(found.map(({ text }) => text)).toEqual(parts.map(([text]) => text));
          let from = 0;
          for (const { text, line } of found) {
            const at = sql.indexOf(text, from);
            expect(line).toBe(sql.slice(0, at).split('\n').length);
            from = at + text.length;
          }
        }),
        { numRuns: 300 },
      );
    }
  });

  it('takes time in proportion to the text', () => {
    const row = `('${'x'.repeat(50)}', "b", 1)`;
    const sql = `insert into t values ${Array(60_000).fill(row).join(', ')};`;
    expect(texts(`${sql}select 1`, 'mysql')).toHaveLength(2);
    expect(texts(`select '${'\\\\'.repeat(500_000)}'; x`, 'mysql')).toHaveLength(2);
  });
});
