import { describe } from 'vitest';
import { openStore } from '../../src/store/driver.js';
import { storeContract } from './contract.js';

/** `mssql://user:password@host:1433/database` of a database whose user may create tables and schemas. */
const url = process.env['MSSQL_URL'] ?? '';

describe.skipIf(url === '')('mssql', () => {
  storeContract('SQL Server', {
    open: (options) => openStore(url, options),
    types: {
      integer: 'int',
      bigint: 'bigint',
      decimal: 'decimal(30,10)',
      price: 'decimal(5,2)',
      float: 'float',
      text: (n) => `nvarchar(${n})`,
      bytes: 'varbinary(2000)',
      time: 'datetime2(6)',
      timeText: '2023-07-06 15:43:00.123456',
      counter: 'int IDENTITY PRIMARY KEY',
    },
    slow: 'SELECT count_big(*) AS n FROM sys.all_columns a, sys.all_columns b, sys.all_columns c, sys.all_columns d',
    series: (rows) =>
      `SELECT TOP (${rows}) ROW_NUMBER() OVER (ORDER BY (SELECT NULL)) AS n, REPLICATE('x', 1000) AS pad
       FROM sys.all_columns a, sys.all_columns b, sys.all_columns c`,
    schemas: async (store) => {
      await store.execute(`IF SCHEMA_ID('elsewhere') IS NULL EXEC('CREATE SCHEMA elsewhere')`);
      return ['dbo', 'elsewhere'];
    },
    rowLocks: true,
  });
});
