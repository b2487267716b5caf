import { describe, expect, it } from 'vitest';
import { openStore, StoreError } from '../../src/store/driver.js';
import { openOracle } from '../../src/store/oracle.js';
import { FakeOracle } from '../support/fake-oracledb.js';
import { codeOf, opened, ora } from '../support/oracle-store.js';

describe('opening Oracle', () => {
  it('makes a pool and sets every session to ISO dates and a decimal point', async () => {
    const fake = new FakeOracle();
    const store = await opened(fake, { maxConnections: 7, maxPending: 9, timeoutMs: 5_000 });
    expect(fake.poolAttributes).toMatchObject({
      user: 'scott',
      password: 'ti@ger',
      connectString: 'db.example:1521/orcl',
      poolMax: 7,
      queueMax: 9,
      queueTimeout: 5_000,
    });
    expect(fake.calls[0]?.sql).toBe(
      `ALTER SESSION SET NLS_DATE_FORMAT = 'YYYY-MM-DD HH24:MI:SS' NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF'` +
        ` NLS_TIMESTAMP_TZ_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FFTZH:TZM' NLS_NUMERIC_CHARACTERS = '.,'`,
    );
    expect(fake.initialised).toEqual([]);
    expect(await store.version()).toBe('Oracle 19.3.0.0.0');
    await store.close();
    expect(fake.poolClosed).toBe(true);
    expect(await codeOf(store.query('SELECT 1 FROM DUAL'))).toBe('CLOSED');
    expect(fake.open).toBe(0);
  });

  it('goes through the client libraries when the URL says thick', async () => {
    const fake = new FakeOracle();
    await openOracle('oracle://u:p@TNS11?thick=/opt/ic&config=/etc/oracle', {}, fake.load);
    expect(fake.initialised).toEqual([{ libDir: '/opt/ic', configDir: '/etc/oracle' }]);
    expect(fake.poolAttributes['connectString']).toBe('TNS11');
    const plain = new FakeOracle();
    await openOracle('oracle://u:p@h:1521?sid=ORCL&thick=yes', {}, plain.load);
    expect(plain.initialised).toEqual([{}]);
    expect(plain.poolAttributes['connectString']).toBe(
      '(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=h)(PORT=1521))(CONNECT_DATA=(SID=ORCL)))',
    );
  });

  it('refuses a URL it cannot read without telling the password', async () => {
    for (const url of [
      'oracle://h/s',
      'oracle://u:se@cret@h/s',
      'oracle://u:secret@h/s?thik=yes',
      'oracle://u:secret@?thick=yes',
    ]) {
      const error = await openOracle(url, {}, new FakeOracle().load).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'URL' });
      expect((error as Error).message).not.toMatch(/secret|cret@/);
    }
  });

  it('says OPEN when the server is not there or refuses the password', async () => {
    for (const number of [1017, 12154, 12514, 12541, 3113]) {
      const fake = new FakeOracle();
      fake.connectError = ora(number);
      expect(await codeOf(opened(fake))).toBe('OPEN');
      expect(fake.poolClosed).toBe(true);
    }
  });

  it('is reached by its scheme and by the connection string of the seeds', async () => {
    // The driver itself is loaded here; nothing listens on that port.
    expect(await codeOf(openStore('oracle://u:p@127.0.0.1:1/none', { timeoutMs: 20_000 }))).toBe('OPEN');
    expect(await codeOf(openStore('u/p@127.0.0.1:1/none', { timeoutMs: 20_000 }))).toBe('OPEN');
  });
});

describe('values of Oracle', () => {
  it('keep every digit, and NULL', async () => {
    const fake = new FakeOracle().on(/^SELECT/, {
      columns: [
        { name: 'ID', type: 'NUMBER' },
        { name: 'BIG', type: 'NUMBER', precision: 20, scale: 0 },
        { name: 'PRICE', type: 'NUMBER', precision: 10, scale: 2 },
        { name: 'FREE', type: 'NUMBER', scale: -127 },
        { name: 'NOTE', type: 'CLOB' },
        { name: 'RAW1', type: 'RAW' },
        { name: 'Odd', type: 'VARCHAR' },
      ],
      rows: [
        ['5', '12345678901234567890', '5', '.25', 'long text', Buffer.from([1, 2]), 'x'],
        [null, '-9007199254740993', '-.5', '1234567890.123456789', null, null, null],
      ],
    });
    const store = await opened(fake);
    const set = await store.query(
      "SELECT * FROM t WHERE a = ? AND b <> '?' -- why?\n AND c = q'[it's ?]'",
      [1],
    );
    expect(set.kinds).toEqual(['decimal', 'integer', 'decimal', 'decimal', 'text', 'bytes', 'text']);
    expect(set.columns).toEqual(['id', 'big', 'price', 'free', 'note', 'raw1', '"Odd"']);
    expect(set.rows).toEqual([
      [5, 12345678901234567890n, '5', '0.25', 'long text', Buffer.from([1, 2]), 'x'],
      [null, -9007199254740993n, '-0.5', '1234567890.123456789', null, null, null],
    ]);
    const sql = "SELECT * FROM t WHERE a = :1 AND b <> '?' -- why?\n AND c = q'[it's ?]'";
    expect(fake.statements()).toEqual([`describe: ${sql}`, sql]);
  });

  it('are printed by the server when they are dates, and described once', async () => {
    const fake = new FakeOracle().on(/T_OBS/, {
      columns: [
        { name: 'ID', type: 'NUMBER' },
        { name: 'D', type: 'DATE' },
        { name: 'TS', type: 'TIMESTAMP', precision: 6 },
        { name: 'T0', type: 'TIMESTAMP', precision: 0 },
        { name: 'TZ', type: 'TIMESTAMP_TZ', precision: 3 },
      ],
      rows: [],
    });
    const store = await opened(fake);
    await store.query('SELECT * FROM T_OBS ORDER BY d');
    await store.query('SELECT * FROM T_OBS ORDER BY d');
    const wrapped =
      `SELECT "ID", TO_CHAR("D", 'YYYY-MM-DD HH24:MI:SS') AS "D", TO_CHAR("TS", 'YYYY-MM-DD HH24:MI:SS.FF') AS "TS",` +
      ` TO_CHAR("T0", 'YYYY-MM-DD HH24:MI:SS') AS "T0", TO_CHAR("TZ", 'YYYY-MM-DD HH24:MI:SS.FFTZH:TZM') AS "TZ"` +
      ` FROM (SELECT * FROM T_OBS ORDER BY d\n)`;
    expect(fake.statements()).toEqual(['describe: SELECT * FROM T_OBS ORDER BY d', wrapped, wrapped]);
  });

  it('may come in two columns of one name', async () => {
    const columns = (type: 'DATE' | 'VARCHAR') => [
      { name: 'D', type },
      { name: 'D', type: 'VARCHAR' as const },
    ];
    const fake = new FakeOracle().on(/./, ({ op }) => ({
      columns: columns(op === 'describe' ? 'DATE' : 'VARCHAR'),
      rows: [['2026-01-02 03:04:05', 'x']],
    }));
    const store = await opened(fake);
    const set = await store.query('SELECT a.d, b.d FROM a, b');
    expect(set).toEqual({
      columns: ['d', 'd'],
      kinds: ['date', 'text'],
      rows: [['2026-01-02 03:04:05', 'x']],
    });
    expect(fake.statements()[1]).toBe(
      `WITH SWITCHYARD_Q ("C1", "C2") AS (SELECT a.d, b.d FROM a, b\n)` +
        ` SELECT TO_CHAR("C1", 'YYYY-MM-DD HH24:MI:SS') AS "C1", "C2" FROM SWITCHYARD_Q`,
    );
    expect(await codeOf(store.query('WITH x AS (SELECT 1 FROM DUAL) SELECT a.d, b.d FROM a, b'))).toBe(
      'SYNTAX',
    );
  });

  it('keep the clock of a DATE that is selected for update, which cannot be wrapped', async () => {
    const when = new Date(2026, 0, 2, 3, 4, 5);
    const fake = new FakeOracle().on(/./, { columns: [{ name: 'D', type: 'DATE' }], rows: [[when], [null]] });
    const set = await (await opened(fake)).query('SELECT d FROM t FOR UPDATE');
    expect(set.rows).toEqual([['2026-01-02 03:04:05'], [null]]);
  });

  it('are bound as they are: integers beyond 2^53 as text, bytes as a Buffer', async () => {
    const fake = new FakeOracle();
    const store = await opened(fake);
    await store.execute('INSERT INTO t VALUES (?, ?, ?, ?)', [
      1.5,
      12345678901234567890n,
      null,
      new Uint8Array([7]),
    ]);
    const call = fake.calls.at(-1);
    expect(call?.sql).toBe('INSERT INTO t VALUES (:1, :2, :3, :4)');
    expect(call?.binds).toEqual([1.5, '12345678901234567890', null, Buffer.from([7])]);
    expect(call?.options).toEqual({ autoCommit: true });
    expect(await codeOf(store.execute('INSERT INTO t VALUES (?)', []))).toBe('BIND');
    expect(await codeOf(store.execute('INSERT INTO t VALUES (?)', [NaN]))).toBe('BIND');
  });
});

describe('queries of Oracle', () => {
  const ten = {
    columns: [{ name: 'N', type: 'NUMBER' as const }],
    rows: Array.from({ length: 10 }, (_, i) => [String(i)]),
  };

  it('refuse more rows than allowed', async () => {
    const store = await opened(new FakeOracle().on(/numbers/, ten));
    expect((await store.query('SELECT n FROM numbers', [], { maxRows: 10 })).rows).toHaveLength(10);
    expect(await codeOf(store.query('SELECT n FROM numbers', [], { maxRows: 9 }))).toBe('TOO_MANY_ROWS');
    expect(await codeOf(store.query('DELETE FROM numbers'))).toBe('SYNTAX');
  });

  it('stream batch by batch, the next one fetched only when asked for', async () => {
    const fake = new FakeOracle().on(/numbers/, ten);
    const store = await opened(fake);
    const sizes: number[] = [];
    const fetches: number[] = [];
    for await (const batch of store.stream('SELECT n FROM numbers', [], { batchRows: 4 })) {
      sizes.push(batch.rows.length);
      fetches.push(fake.calls.filter(({ op }) => op === 'fetch').length);
    }
    expect(sizes).toEqual([4, 4, 2]);
    expect(fetches).toEqual([1, 2, 3]);
    expect(fake.calls.at(-1)?.op).toBe('close-cursor');
    expect(fake.open).toBe(0);
  });

  it('close the cursor of a reader that leaves early', async () => {
    const fake = new FakeOracle().on(/numbers/, ten);
    const store = await opened(fake);
    for await (const batch of store.stream('SELECT n FROM numbers', [], { batchRows: 4 })) {
      expect(batch.rows).toHaveLength(4);
      break;
    }
    expect(fake.calls.at(-1)?.op).toBe('close-cursor');
    expect(fake.open).toBe(0);
  });

  it('fetch few rows at once when they hold large objects', async () => {
    const fake = new FakeOracle().on(/lobs/, {
      columns: [{ name: 'B', type: 'BLOB' }],
      rows: Array.from({ length: 20 }, () => [Buffer.from('x')]),
    });
    const store = await opened(fake);
    const sizes: number[] = [];
    for await (const batch of store.stream('SELECT b FROM lobs')) sizes.push(batch.rows.length);
    expect(sizes).toEqual([16, 4]);
  });

  it('are broken off at the deadline or by the signal, and the connection is thrown away', async () => {
    const fake = new FakeOracle().on(/slow/, { hang: 'until-break' });
    const store = await opened(fake);
    expect(await codeOf(store.execute('DELETE FROM slow', [], { timeoutMs: 20 }))).toBe('TIMEOUT');
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 20);
    expect(await codeOf(store.execute('DELETE FROM slow', [], { signal: abort.signal }))).toBe('CANCELLED');
    expect(fake.calls.filter(({ op }) => op === 'break')).toHaveLength(2);
    expect(fake.dropped).toHaveLength(2);
    expect(fake.open).toBe(0);
  });

  it('are LOST when the server does not even answer the break', async () => {
    const store = await opened(new FakeOracle().on(/deaf/, { hang: 'deaf' }));
    expect(await codeOf(store.execute('DELETE FROM deaf', [], { timeoutMs: 20 }))).toBe('LOST');
  }, 20_000);
});

describe('the dictionary of Oracle', () => {
  it('is asked by owner and name in upper case, and sees generated names of keys', async () => {
    const text = (names: string[]): { columns: { name: string; type: 'VARCHAR' }[] } => ({
      columns: names.map((name) => ({ name, type: 'VARCHAR' })),
    });
    const fake = new FakeOracle()
      .on(/all_tab_identity_cols/, { error: ora(942) })
      .on(/all_constraints c JOIN/, {
        ...text(['N', 'T', 'C']),
        rows: [
          ['SYS_C001', 'P', 'OBTID'],
          ['SYS_C001', 'P', 'DDATETIME'],
          ['SYS_C002', 'U', 'KEYID'],
        ],
      })
      .on(/all_indexes/, { ...text(['N', 'T', 'C']), rows: [] })
      .on(/all_tab_cols/, {
        columns: ['N', 'T', 'C', 'P', 'S', 'Y', 'V', 'L'].map((name, i) => ({
          name,
          type: [2, 3, 4, 7].includes(i) ? ('NUMBER' as const) : ('VARCHAR' as const),
        })),
        rows: [
          ['OBTID', 'VARCHAR2', '10', null, null, 'N', 'NO', '40'],
          ['DDATETIME', 'DATE', '0', null, null, 'N', 'NO', '7'],
          ['T', 'NUMBER', '0', '8', '2', 'Y', 'NO', '22'],
          ['KEYID', 'NUMBER', '0', '15', '0', 'N', 'NO', '22'],
          ['STAMP', 'TIMESTAMP(6) WITH TIME ZONE', '0', null, '6', 'Y', 'NO', '13'],
          ['TWICE', 'NUMBER', '0', null, null, 'Y', 'YES', '22'],
          ['PIC', 'BLOB', '0', null, null, 'Y', 'NO', '4000'],
        ],
      })
      .on(/all_tables/, (call) => ({
        ...text(['O', 'T', 'L']),
        rows: call.binds.includes('NONE') ? [] : [['WX', 'T_OBS', null]],
      }));
    const store = await opened(fake);
    const info = await store.columns('wx.t_obs');
    expect(fake.calls.find(({ op, sql }) => op === 'execute' && /all_tables/.test(sql))?.binds).toEqual([
      'WX', 'T_OBS', 'WX', 'T_OBS', 'WX', 'T_OBS',
    ]); // prettier-ignore
    expect(info.primaryKey).toEqual(['obtid', 'ddatetime']);
    expect(info.uniqueKeys).toEqual([['keyid']]);
    expect(info.columns.map(({ name, type, kind, length, scale, nullable, generated }) =>
      [name, type, kind, length, scale, nullable, generated].join(' '))).toEqual([
      'obtid varchar2 text 10  false false',
      'ddatetime date date   false false',
      't number decimal 8 2 true false',
      'keyid number integer 15 0 false false',
      'stamp timestamp with time zone date  6 true false',
      'twice number decimal   true true',
      'pic blob bytes   true false',
    ]); // prettier-ignore
    expect(await codeOf(store.columns('wx.none'))).toBe('NO_TABLE');
    expect(await codeOf(store.columns('t@link'))).toBe('NO_TABLE');
  });
});

describe('the dialect and the errors of Oracle', () => {
  it('writes names as the dictionary has them', async () => {
    const { dialect } = await opened(new FakeOracle());
    expect(dialect.quoteIdentifier('wx.t_obs')).toBe('"WX"."T_OBS"');
    expect(dialect.quoteIdentifier('"Obtid"')).toBe('"Obtid"');
    expect(dialect.quoteIdentifier('T_X@db130')).toBe('"T_X"@DB130');
    for (const name of ['', 'a..b', 'a"b', 'a@b@c', `x${'y'.repeat(200)}`]) {
      expect(() => dialect.quoteIdentifier(name)).toThrow(StoreError);
    }
    expect(dialect.limit('SELECT 1 FROM t -- all', 5)).toBe(
      'SELECT * FROM (SELECT 1 FROM t -- all\n) WHERE ROWNUM <= 5',
    );
    expect(dialect.upsert('t', ['a'], ['A'])).toBe(
      'MERGE INTO "T" t USING (SELECT ? AS "A" FROM DUAL) s ON (t."A" = s."A") WHEN NOT MATCHED THEN INSERT ("A") VALUES (s."A")',
    );
  });

  it.each([
    [1, 'DUPLICATE'], [54, 'BUSY'], [60, 'BUSY'], [30006, 'BUSY'], [942, 'NO_TABLE'], [1400, 'CONSTRAINT'], [1438, 'CONSTRAINT'],
    [2291, 'CONSTRAINT'], [1861, 'CONSTRAINT'], [3113, 'LOST'], [3135, 'LOST'], [12170, 'LOST'], [1653, 'FULL'], [1652, 'FULL'],
    [1691, 'FULL'], [904, 'SYNTAX'], [933, 'SYNTAX'], [600, 'DATABASE'],
  ])('maps ORA-%i to %s', async (number, code) => {
    const store = await opened(new FakeOracle().on(/^DELETE/, { error: ora(number) }));
    expect(await codeOf(store.execute('DELETE FROM t'))).toBe(code);
  }); // prettier-ignore

  it('throws a connection away that was lost, and the next call gets a new one', async () => {
    let lost = true;
    const fake = new FakeOracle().on(/^DELETE/, () =>
      lost ? { error: { code: 'NJS-500', errorNum: 3113 } } : {},
    );
    const store = await opened(fake);
    expect(await codeOf(store.execute('DELETE FROM t'))).toBe('LOST');
    lost = false;
    await store.execute('DELETE FROM t');
    expect(fake.dropped).toEqual([1]);
    expect(fake.calls.at(-1)?.connection).toBe(2);
  });
});
