import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { openStore } from '../../src/store/driver.js';
import { storeContract } from './contract.js';

const folder = mkdtempSync(join(tmpdir(), 'contract-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;

storeContract('SQLite', {
  // Who opens a file that is open on this thread shares its thread and its limits.
  open: (options) => {
    const name = options === undefined ? 'data.db' : `data${++files}.db`;
    return openStore(`sqlite:${join(folder, name)}`, options);
  },
  types: {
    integer: 'INTEGER',
    bigint: 'INTEGER',
    // SQLite's own decimals are floats.
    decimal: 'TEXT',
    float: 'REAL',
    text: (n) => `VARCHAR(${n})`,
    bytes: 'BLOB',
    time: 'DATETIME',
    timeText: '2023-07-06 15:43:00.123456',
    counter: 'INTEGER PRIMARY KEY AUTOINCREMENT',
  },
  looseTypes: true,
  slow: 'WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 60000000) SELECT max(n) FROM c',
  series: (rows) =>
    `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT ${rows}) SELECT n, printf('%.*c', 1000, 'x') AS pad FROM c`,
  rowLocks: false,
});
