import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StoreError } from '../../src/store/driver.js';
import { errorNumber, rowOf, storeError } from '../../src/store/mysql/errors.js';
import { TabChunks } from '../../src/store/mysql/tab-chunks.js';
import { asRowInsert, fill, literal, mustBringRows, splitAtBinds } from '../../src/store/mysql/text.js';
import { parseMysqlUrl } from '../../src/store/mysql/url.js';

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'done';
  } catch (error) {
    return error instanceof StoreError ? error.code : String(error);
  }
};

describe('question marks', () => {
  it('are values outside of literals, names and comments only', () => {
    const sql = `SELECT '?''?\\'?', "?""?", \`?\`, a-?, b/?, -- ?\n c--?, /* ? */ # ?\n ? /* open ?`;
    expect(splitAtBinds(sql)).toHaveLength(5);
    expect(splitAtBinds(sql).join('?')).toBe(sql);
    expect(splitAtBinds('SELECT 1')).toEqual(['SELECT 1']);
  });

  it('are found without losing a character, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(fc.constantFrom('?', "'", '"', '`', '--', '/*', '*/', '#', '\\', '\n'), fc.string()),
        ),
        (parts) => {
          const sql = parts.join('');
          expect(splitAtBinds(sql).join('?')).toBe(sql);
        },
      ),
    );
  });

  it('need one value each', () => {
    expect(fill(splitAtBinds('a=? AND b=?'), [1, "it's"])).toBe("a=1 AND b='it''s'");
    expect(codeOf(() => fill(splitAtBinds('a=?'), []))).toBe('BIND');
    expect(codeOf(() => fill(splitAtBinds('a=?'), [1, 2]))).toBe('BIND');
  });
});

describe('values in the text', () => {
  it('mean the same whether a backslash escapes or not', () => {
    expect(literal('plain 中文')).toBe("'plain 中文'");
    expect(literal("a'b\n")).toBe("'a''b\n'");
    expect(literal(`\\'; DROP TABLE t; --`)).toMatch(/^_utf8mb4 x'[0-9a-f]+'$/);
    expect(literal(new Uint8Array([0, 39, 255]))).toBe("x'0027ff'");
    expect([literal(null), literal(-0), literal(1e300), literal(2n ** 64n)]).toEqual(['NULL', '-0e0', '1e+300', '18446744073709551616']); // prettier-ignore
  });

  it('are refused when no database could keep them', () => {
    for (const bad of [undefined, Number.NaN, Infinity, true, {}, 'half \ud83d', "'\ude00"])
      expect(codeOf(() => literal(bad as never))).toBe('BIND');
  });
});

describe('an insert of one row', () => {
  it('is cut so that it can carry many', () => {
    expect(asRowInsert('INSERT INTO `d`.`t` (a, b) VALUES (?, upper(?))')).toEqual({
      head: 'INSERT INTO `d`.`t` (a, b) VALUES ',
      table: 'd.t',
      tuple: ['(', ', upper(', '))'],
      tail: '',
    });
    const update = asRowInsert("insert into t values (?, '?)', ?) on duplicate key update a = values(a)");
    expect(update).toMatchObject({
      table: 't',
      tuple: ['(', ", '?)', ", ')'],
      tail: ' on duplicate key update a = values(a)',
    });
  });

  it('is nothing else', () => {
    for (const sql of [
      'UPDATE t SET a = ?',
      'INSERT INTO t SELECT ?',
      'INSERT INTO t VALUES (?), (?)',
      'INSERT INTO t VALUES (?) ON DUPLICATE KEY UPDATE a = ?',
      'INSERT INTO t VALUES (?) AS new ON DUPLICATE KEY UPDATE a = new.a',
      'INSERT INTO t VALUES (?) RETURNING id',
      'INSERT INTO t VALUES (1)',
      'INSERT INTO t SET a = ?',
      'INSERT INTO t VALUES (?',
    ])
      expect(asRowInsert(sql), sql).toBeUndefined();
  });
});

describe('a query', () => {
  it('that brings no rows is refused before it does anything', () => {
    for (const sql of [
      'DELETE FROM t',
      ' /* x */ (update t set a=1)',
      '-- SELECT\nDROP TABLE t',
      '# a\nSET x = 1',
    ])
      expect(
        codeOf(() => mustBringRows(sql)),
        sql,
      ).toBe('SYNTAX');
    for (const sql of [
      'SELECT 1',
      '(SELECT 1) UNION (SELECT 2)',
      'WITH q AS (SELECT 1) SELECT * FROM q',
      'SHOW TABLES',
      'CALL p()',
      'DELETE FROM t RETURNING id',
    ])
      expect(
        codeOf(() => mustBringRows(sql)),
        sql,
      ).toBe('done');
  });
});

describe('errors', () => {
  it('get the code that says what to do', () => {
    const server = (errno: number, sqlMessage = 'x'): StoreError =>
      storeError(Object.assign(new Error(sqlMessage), { errno, sqlMessage, code: 'ER_X' }));
    const codes = [
      1062, 1205, 1213, 1146, 1048, 1366, 1264, 1053, 1114, 1317, 3024, 1064, 1045, 1290, 9999,
    ].map((n) => server(n).code);
    expect(codes).toEqual(['DUPLICATE', 'BUSY', 'BUSY', 'NO_TABLE', 'CONSTRAINT', 'BIND', 'CONSTRAINT', 'LOST', 'FULL', 'CANCELLED', 'TIMEOUT', 'SYNTAX', 'OPEN', 'OPEN', 'DATABASE']); // prettier-ignore
    const full = [
      server(1030, 'Got error 28 "No space left on device" from storage engine InnoDB'),
      server(3, `Error writing file '/tmp/MLx' (Errcode: 28 "No space left on device")`),
      server(1030, 'Got error 128 from storage engine'),
    ];
    expect(full.map(({ code }) => code)).toEqual(['FULL', 'FULL', 'DATABASE']);
    expect(
      storeError(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', errno: -104 })).code,
    ).toBe('LOST');
    expect(errorNumber(Object.assign(new Error('x'), { errno: -104 }))).toBeUndefined();
    expect([
      rowOf("Data too long for column 'a' at row 3"),
      rowOf("Row 7 doesn't contain data for all columns"),
      rowOf('x'),
    ]).toEqual([2, 6, undefined]);
  });

  it('keep nothing of the statement', () => {
    const cause = Object.assign(new Error('bad'), { errno: 1064, sqlMessage: 'bad', sql: "SELECT 'secret'" });
    expect(JSON.stringify(storeError(cause))).not.toContain('secret');
    expect(storeError(cause).cause).toBeUndefined();
  });
});

describe('the URL', () => {
  it('is read with its parts decoded', async () => {
    const { connection, label, database } = await parseMysqlUrl(
      'mysql://us%40er:p%3Aa%2F%25@db.example/data%2Dbase?lock_wait=9&ssl=require',
    );
    expect(connection).toMatchObject({
      host: 'db.example',
      port: 3306,
      user: 'us@er',
      password: 'p:a/%',
      ssl: { rejectUnauthorized: false },
    });
    expect([label, database]).toEqual(['db.example:3306/data-base', 'data-base']);
    expect((await parseMysqlUrl('mysql://u:p@[::1]:3307/d')).connection).toMatchObject({
      host: '::1',
      port: 3307,
    });
    expect((await parseMysqlUrl('mysql://u:p@localhost/d?socket=/run/m.sock')).connection).toMatchObject({
      socketPath: '/run/m.sock',
    });
  });

  it('is refused without telling its secrets', async () => {
    for (const rest of [
      'h/d?sll=require',
      'h/d?ssl=maybe',
      'h/d?ca=/nowhere',
      'h/d?ca=/nowhere&ssl=verify',
      'h/d?lock_wait=0',
      'h/a/b',
      '/d',
      'h:x/d',
      'h/%',
    ]) {
      const error: unknown = await parseMysqlUrl(`mysql://somebody:secret@${rest}`).catch((e: unknown) => e);
      expect(error, rest).toMatchObject({ code: 'URL' });
      expect(String(error)).not.toMatch(/secret|somebody/);
    }
    expect(String(await parseMysqlUrl('mysql://u:sec%ret@h/d').catch((e: unknown) => e))).not.toContain(
      'sec',
    );
  });
});

describe('tab text on its way', () => {
  it('comes in parts of whole rows, wherever it was cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.constantFrom(97, 10), { maxLength: 8 })),
        fc.integer({ min: 1, max: 4 }),
        async (cuts, limit) => {
          const source = new TabChunks(cuts.map((bytes) => new Uint8Array(bytes)));
          const whole = Buffer.from(cuts.flat());
          const parts: Buffer[] = [];
          for (;;) {
            const pieces: Buffer[] = [];
            for await (const piece of source.part(limit)) pieces.push(piece);
            if (pieces.length === 0) break;
            const part = Buffer.concat(pieces);
            const ended = part.filter((byte) => byte === 10).length;
            expect(source.rowsOfPart).toBe(ended + (part.at(-1) === 10 ? 0 : 1));
            expect(source.rowsOfPart).toBeLessThanOrEqual(limit);
            parts.push(part);
          }
          expect(Buffer.concat(parts).equals(whole)).toBe(true);
        },
      ),
    );
  });
});
