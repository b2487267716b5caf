import { describe, expect, it } from 'vitest';
import { StoreError, openStore } from '../../src/store/driver.js';
import { openMssql } from '../../src/store/mssql.js';
import { FakeMssql, type FakeAnswer } from '../support/fake-mssql.js';
import { codeOf } from '../support/oracle-store.js';

const described = (...columns: [string, string][]): FakeAnswer => ({
  columns: [['name', 'NVarChar'], ['system_type_name', 'NVarChar'], ['error_number', 'Int']],
  rows: columns.map(([name, type]) => [name, type, null]),
}); // prettier-ignore

describe('opening SQL Server', () => {
  it('makes a pool with encryption, ISO dates and no time-out of its own', async () => {
    const fake = new FakeMssql();
    const store = await fake.open({ maxConnections: 7, timeoutMs: 5_000 });
    expect(fake.config).toMatchObject({
      server: 'db.example', port: 1433, database: 'weather', user: 'sa', password: 'secret', requestTimeout: 0, connectionTimeout: 5_000,
      pool: { max: 7 },
      options: { encrypt: true, trustServerCertificate: false, useUTC: true, dateFormat: 'ymd' },
    }); // prettier-ignore
    expect(await store.version()).toBe('SQL Server 16.0.1000.6 Developer Edition');
    await store.close();
    expect(fake.closed).toBe(true);
    expect(await codeOf(store.query('SELECT 1'))).toBe('CLOSED');
  });

  it('takes a named instance, a domain and the ways of encryption', async () => {
    const fake = new FakeMssql();
    const url = 'mssql://a%40b:p%2Fw@host/db?instance=SQL1&domain=CORP&encrypt=no&trust=yes';
    await openMssql(url, {}, fake.load);
    expect(fake.config).toMatchObject({ user: 'a@b', password: 'p/w', domain: 'CORP', options: { instanceName: 'SQL1', encrypt: false, trustServerCertificate: true } }); // prettier-ignore
    expect(fake.config?.port).toBeUndefined();
  });

  it('refuses a URL it cannot read without telling the password', async () => {
    for (const url of [
      'mssql://h/db',
      'mssql://u:secret@h/db?encript=no',
      'mssql://u:secret@h/db?trust=1',
      'mssql://u:secret@/db',
    ]) {
      const error = await openMssql(url, {}, new FakeMssql().load).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'URL' });
      expect((error as Error).message).not.toContain('secret');
    }
  });

  it('says OPEN when the server is not there or refuses the password', async () => {
    const fake = new FakeMssql();
    fake.connectError = [{ code: 'ELOGIN', message: 'Login failed' }];
    expect(await codeOf(fake.open())).toBe('OPEN');
    // The driver itself is loaded here; nothing listens on that port.
    expect(await codeOf(openStore('mssql://u:p@127.0.0.1:1/none', { timeoutMs: 20_000 }))).toBe('OPEN');
  }, 40_000);
});

describe('values of SQL Server', () => {
  it('come as they are', async () => {
    const tick = (iso: string, delta: number): Date =>
      Object.defineProperty(new Date(iso), 'nanosecondsDelta', { value: delta });
    const fake = new FakeMssql().on(/FROM t\n/, {
      columns: [
        ['i', 'Int'], ['b', 'BigInt'], ['big', 'BigInt'], ['bit', 'Bit'], ['f', 'Float'], ['m', 'Money'], ['s', 'NVarChar'],
        ['raw', 'VarBinary'], ['d', 'Date'], ['dt', 'DateTime'], ['dt2', 'DateTime2'], ['tm', 'Time'], ['n', 'NVarChar'],
      ],
      rows: [[
        1, '5', '9223372036854775807', true, 1.5, 12.5, '', Buffer.from([1]), new Date('2026-01-02T00:00:00Z'),
        new Date('2026-01-02T03:04:05.007Z'), tick('2026-01-02T03:04:05.123Z', 0.0004567), new Date('1970-01-01T03:04:05Z'), null,
      ]],
    }); // prettier-ignore
    const store = await fake.open();
    const set = await store.query('SELECT * FROM t');
    expect(set.columns).toEqual(['i', 'b', 'big', 'bit', 'f', 'm', 's', 'raw', 'd', 'dt', 'dt2', 'tm', 'n']);
    expect(set.rows).toEqual([[
      1, 5, 9223372036854775807n, 1, 1.5, '12.5000', '', Buffer.from([1]), '2026-01-02', '2026-01-02 03:04:05.007',
      '2026-01-02 03:04:05.1234567', '03:04:05', null,
    ]]); // prettier-ignore
  });

  it('are turned into text by the server when the driver would lose digits or the zone', async () => {
    const fake = new FakeMssql()
      .on(/dm_exec_describe/, described(['price', 'decimal(38,10)'], ['price', 'int'], ['at', 'datetimeoffset(7)']))
      .on(/RESULT SETS/, {
        columns: [['c1', 'VarChar'], ['c2', 'Int'], ['c3', 'VarChar']],
        rows: [['1234567890123456789012345678.0123456789', 2, '2026-01-02 03:04:05.1234567 +08:00']],
      }); // prettier-ignore
    const store = await fake.open();
    const sql = "SELECT price, n AS price, at FROM [od?d] WHERE a = ? AND b = '?' ORDER BY at";
    const before = fake.calls.length;
    const first = await store.query(sql, ['x']);
    await store.query(sql, ['y']);
    expect(first).toEqual({
      columns: ['price', 'price', 'at'],
      kinds: ['decimal', 'integer', 'date'],
      rows: [['1234567890123456789012345678.0123456789', 2, '2026-01-02 03:04:05.1234567 +08:00']],
    });
    const calls = fake.calls.slice(before);
    // Described once, run twice.
    expect(calls).toHaveLength(3);
    expect(calls[0]?.inputs).toEqual({
      sql: "SELECT price, n AS price, at FROM [od?d] WHERE a = @p1 AND b = '?' ORDER BY at",
      params: '@p1 varchar(8000)',
    });
    expect(calls[2]?.sql).toContain(
      'EXEC sp_executesql @sql, @params, @p1 = @p1 WITH RESULT SETS (([c1] varchar(48), [c2] int, [c3] varchar(48)))',
    );
    expect(calls[2]?.inputs).toMatchObject({ p1: 'y' });
  });

  it('are bound with the type that fits, NULL as the word', async () => {
    const fake = new FakeMssql();
    const store = await fake.open();
    const long = 'x'.repeat(9_000);
    const values = [1, 2 ** 40, 1.5, 2n ** 62n, 2n ** 70n, 'ascii', '雨', long, new Uint8Array([7]), null];
    await store.execute('INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', values);
    const call = fake.calls.at(-1);
    expect(call?.sql).toBe('INSERT INTO t VALUES (@p1, @p2, @p3, @p4, @p5, @p6, @p7, @p8, @p9, NULL)');
    expect(call?.types).toEqual({
      p1: 'Int', p2: 'BigInt', p3: 'Float', p4: 'BigInt', p5: 'VarChar(8000)', p6: 'VarChar(8000)', p7: 'NVarChar(4000)',
      p8: 'VarChar(65535)', p9: 'VarBinary(8000)',
    }); // prettier-ignore
    expect(call?.inputs).toMatchObject({
      p2: 1099511627776n,
      p5: '1180591620717411303424',
      p9: Buffer.from([7]),
    });
    expect(await codeOf(store.execute('DELETE FROM t WHERE a = ?', []))).toBe('BIND');
  });
});

describe('queries of SQL Server', () => {
  const ten: FakeAnswer = { columns: [['n', 'Int']], rows: Array.from({ length: 10 }, (_, i) => [i]) };

  it('refuse more rows than allowed, and let the server stop there', async () => {
    const fake = new FakeMssql().on(/numbers/, ten);
    const store = await fake.open();
    expect((await store.query('SELECT n FROM numbers', [], { maxRows: 10 })).rows).toHaveLength(10);
    expect(await codeOf(store.query('SELECT n FROM numbers', [], { maxRows: 9 }))).toBe('TOO_MANY_ROWS');
    expect(fake.calls.at(-1)?.sql).toContain('SET ROWCOUNT 10;');
    expect(await codeOf(store.query('DELETE FROM nothing'))).toBe('SYNTAX');
    expect(await codeOf(store.execute('DELETE FROM a; DELETE FROM b'))).toBe('SYNTAX');
    expect(await store.execute("DELETE FROM a WHERE b = ';x' ;")).toBe(0);
  });

  it('stream batch by batch, paused while nobody reads', async () => {
    const fake = new FakeMssql().on(/numbers/, ten);
    const store = await fake.open({ maxConnections: 1 });
    const sizes: number[] = [];
    for await (const batch of store.stream('SELECT n FROM numbers', [], { batchRows: 4 })) {
      sizes.push(batch.rows.length);
      expect(fake.paused).toBe(Math.min(sizes.length, 2));
    }
    expect(sizes).toEqual([4, 4, 2]);
    // The one connection is free again.
    await store.execute('DELETE FROM t');
  });

  it('free the connection of a reader that leaves early, and tell what went wrong', async () => {
    const fake = new FakeMssql().on(/numbers/, ten).on(/broken/, { ...ten, errors: [{ number: 1205 }] });
    const store = await fake.open({ maxConnections: 1 });
    for await (const batch of store.stream('SELECT n FROM numbers', [], { batchRows: 4 })) {
      expect(batch.rows).toHaveLength(4);
      break;
    }
    const read = async (): Promise<void> => {
      for await (const batch of store.stream('SELECT n FROM broken')) expect(batch.rows).toEqual([]);
    };
    expect(await codeOf(read())).toBe('BUSY');
    expect(await codeOf(store.execute('DELETE FROM t'))).toBe('Error: it worked');
  });

  it('are cancelled at the deadline or by the signal', async () => {
    const store = await new FakeMssql().on(/slow/, { hang: 'until-cancel' }).open();
    expect(await codeOf(store.execute('DELETE FROM slow', [], { timeoutMs: 20 }))).toBe('TIMEOUT');
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 20);
    expect(await codeOf(store.execute('DELETE FROM slow', [], { signal: abort.signal }))).toBe('CANCELLED');
  });

  it('wait for a free connection up to the deadline, and not in any number', async () => {
    const fake = new FakeMssql().on(/slow/, { hang: 'until-cancel' });
    const store = await fake.open({ maxConnections: 1, maxPending: 1 });
    const slow = codeOf(store.execute('DELETE FROM slow', [], { timeoutMs: 200 }));
    const waiting = codeOf(store.execute('DELETE FROM t', [], { timeoutMs: 50 }));
    expect(await codeOf(store.execute('DELETE FROM t'))).toBe('QUEUE_FULL');
    expect([await slow, await waiting]).toEqual(['TIMEOUT', 'TIMEOUT']);
    expect(await store.execute('DELETE FROM t')).toBe(0);
    // Nothing was sent for the one that gave up.
    expect(fake.statements()).toEqual(['DELETE FROM slow', 'DELETE FROM t']);
  });
});

describe('the dictionary of SQL Server', () => {
  it('is asked by schema and name, and sees unique indexes', async () => {
    const fake = new FakeMssql()
      .on(/sys\.indexes/, {
        columns: [['i', 'NVarChar'], ['p', 'Bit'], ['c', 'NVarChar']],
        rows: [['PK__x', true, 'obtid'], ['PK__x', true, 'ddatetime'], ['u', false, 'keyid']],
      })
      .on(/sys\.columns c WHERE/, (call) => ({
        columns: [['n', 'NVarChar'], ['t', 'NVarChar'], ['l', 'SmallInt'], ['p', 'TinyInt'], ['s', 'TinyInt'], ['y', 'Bit'], ['i', 'Bit'], ['c', 'Bit']],
        rows: call.inputs['p1'] === '[dbo].[none]' ? [] : [
          ['obtid', 'nvarchar', 20, 0, 0, false, false, false],
          ['ddatetime', 'datetime2', 8, 27, 3, false, false, false],
          ['t', 'decimal', 5, 8, 2, true, false, false],
          ['keyid', 'bigint', 8, 19, 0, false, true, false],
          ['note', 'varchar', -1, 0, 0, true, false, false],
          ['twice', 'int', 4, 10, 0, true, false, true],
        ],
      })); // prettier-ignore
    const store = await fake.open();
    const info = await store.columns('dbo.t_obs');
    expect(
      fake.calls.find(({ sql }) => /sys\.columns c WHERE/.test(sql) && !/describe/.test(sql))?.inputs,
    ).toMatchObject({ p1: '[dbo].[t_obs]' });
    expect(info.primaryKey).toEqual(['obtid', 'ddatetime']);
    expect(info.uniqueKeys).toEqual([['keyid']]);
    expect(info.columns.map(({ name, type, kind, length, scale, nullable, generated }) =>
      [name, type, kind, length, scale, nullable, generated].join(' '))).toEqual([
      'obtid nvarchar text 10  false false',
      'ddatetime datetime2 date  3 false false',
      't decimal decimal 8 2 true false',
      'keyid bigint integer 19 0 false true',
      'note varchar text   true false',
      'twice int integer 10 0 true true',
    ]); // prettier-ignore
    expect(await codeOf(store.columns('dbo.none'))).toBe('NO_TABLE');
  });
});

describe('the dialect and the errors of SQL Server', () => {
  it('quotes names with brackets and limits by TOP', async () => {
    const { dialect } = await new FakeMssql().open();
    expect(dialect.quoteIdentifier('dbo.a]b')).toBe('[dbo].[a]]b]');
    expect(dialect.quoteIdentifier('[my.schema].t')).toBe('[my.schema].[t]');
    for (const name of ['', 'a..b', '[a', 'a.b.c.d.e'])
      expect(() => dialect.quoteIdentifier(name)).toThrow(StoreError);
    expect(dialect.limit('SELECT a FROM t ORDER BY b', 5)).toBe('SELECT TOP (5) a FROM t ORDER BY b');
    expect(dialect.limit('select distinct a from t', 5)).toBe('select distinct TOP (5) a from t');
    expect(dialect.limit('SELECT a FROM t UNION SELECT 1', 5)).toBe(
      'SELECT TOP (5) * FROM (SELECT a FROM t UNION SELECT 1\n) AS q',
    );
    expect(dialect.upsert('t', ['a', 'b'], ['a'], ['upttime'])).toBe(
      'MERGE INTO [t] WITH (HOLDLOCK) AS t USING (VALUES (?, ?)) AS s ([a], [b]) ON (t.[a] = s.[a]) WHEN MATCHED THEN UPDATE SET' +
        ' t.[b] = s.[b], t.[upttime] = CAST(SYSDATETIME() AS datetime2(0)) WHEN NOT MATCHED THEN INSERT ([a], [b]) VALUES (s.[a], s.[b]);',
    );
  });

  it.each([
    [2627, 'DUPLICATE'], [2601, 'DUPLICATE'], [1205, 'BUSY'], [1222, 'BUSY'], [208, 'NO_TABLE'], [8152, 'CONSTRAINT'], [2628, 'CONSTRAINT'],
    [8115, 'CONSTRAINT'], [245, 'CONSTRAINT'], [241, 'CONSTRAINT'], [515, 'CONSTRAINT'], [547, 'CONSTRAINT'], [102, 'SYNTAX'], [156, 'SYNTAX'],
    [1101, 'FULL'], [1105, 'FULL'], [9002, 'FULL'], [50000, 'DATABASE'],
  ])('maps error %i to %s', async (number, code) => {
    // The last error only says that the statement ended.
    const store = await new FakeMssql().on(/^DELETE/, { errors: [{ number }, { number: 3621 }] }).open();
    expect(await codeOf(store.execute('DELETE FROM t'))).toBe(code);
  }); // prettier-ignore

  it.each([['ETIMEOUT', 'TIMEOUT'], ['ECANCEL', 'CANCELLED'], ['ESOCKET', 'LOST'], ['ECONNCLOSED', 'LOST'], ['ELOGIN', 'OPEN']])(
    'maps %s of the driver to %s', async (own, code) => {
      const store = await new FakeMssql().on(/^DELETE/, { errors: [{ code: own }] }).open();
      expect(await codeOf(store.execute('DELETE FROM t'))).toBe(code);
    }); // prettier-ignore
});
