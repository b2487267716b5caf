import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { all, condition, keyList, keyRange, splitColumns } from '../../../src/actors/pipeline/sync/sql.js';
import { mysqlDialect } from '../../../src/store/mysql/dialect.js';
import { sqliteDialect } from '../../../src/store/sqlite/dialect.js';

/** Works out a range condition for one row, to see whether it means what it should. */
function meets(sql: string, binds: readonly unknown[], row: Readonly<Record<string, number>>): boolean {
  let at = 0;
  const script = sql
    .replace(/\?/g, () => String(binds[at++]))
    .replace(/\bk(\d)\b/g, (_, n: string) => String(row[`k${n}`]))
    .replaceAll(' = ', ' === ')
    .replaceAll('AND', '&&')
    .replaceAll('OR', '||');
  return Boolean(runInNewContext(script));
}

describe('a key range', () => {
  const value = fc.integer({ min: 0, max: 3 });
  it.each([1, 2, 3])('of %i columns holds what comes after, or up to, a key', (columns) => {
    const names = ['k1', 'k2', 'k3'].slice(0, columns);
    const key = fc.array(value, { minLength: columns, maxLength: columns });
    fc.assert(
      fc.property(key, key, (bound, row) => {
        const order = row.map((v, i) => v - (bound[i] ?? 0)).find((d) => d !== 0) ?? 0;
        const record = Object.fromEntries(row.map((v, i) => [`k${i + 1}`, v]));
        for (const op of ['>', '<='] as const) {
          const { sql, binds } = keyRange(names, op, bound);
          expect(meets(sql, binds, record)).toBe(op === '>' ? order > 0 : order <= 0);
        }
      }),
    );
  });
});

describe('a list of keys', () => {
  const rows = [
    ['a', 1, 'not a key'],
    ['b', 2, 'nor this'],
  ];
  it('is written as the database wants it', () => {
    expect(keyList(mysqlDialect, ['x'], rows)).toEqual({ sql: 'x IN (?, ?)', binds: ['a', 'b'] });
    expect(keyList(mysqlDialect, ['x', 'y'], rows).sql).toBe('(x, y) IN ((?, ?), (?, ?))');
    expect(keyList(sqliteDialect, ['x', 'y'], rows).sql).toBe('(x, y) IN (VALUES (?, ?), (?, ?))');
    const mssql = { ...mysqlDialect, name: 'mssql' };
    expect(keyList(mssql, ['x', 'y'], rows)).toEqual({
      sql: '((x = ? AND y = ?) OR (x = ? AND y = ?))',
      binds: ['a', 1, 'b', 2],
    });
  });
});

describe('conditions', () => {
  it('are joined in brackets, with or without a leading word', () => {
    expect(condition('  WHERE a = 1 or b = 2 ', mysqlDialect, 'where')).toBe('a = 1 or b = 2');
    expect(condition('and a=1', mysqlDialect, 'where')).toBe('a=1');
    expect(condition('android = 1', mysqlDialect, 'where')).toBe('android = 1');
    expect(condition(' ', mysqlDialect, 'where')).toBe('');
    expect(all('a or b', undefined, '', { sql: 'c = ?', binds: [1] })).toEqual({
      sql: '(a or b) AND (c = ?)',
      binds: [1],
    });
  });

  it('are refused when they ask for a value', () => {
    expect(() => condition('a > :1', mysqlDialect, 'rwhere')).toThrow(/rwhere: ":1" has no value here/);
  });
});

it('columns are parted at commas outside of brackets and quotes', () => {
  expect(splitColumns(`a, b/10 ,f(c, 'x,)y', "d,e") as total,\`g,h\``)).toEqual([
    'a',
    'b/10',
    `f(c, 'x,)y', "d,e")`,
    '`g,h`',
  ]);
  expect(splitColumns('')).toEqual([]);
});
