import { describe } from 'vitest';
import { openStore } from '../../src/store/driver.js';
import { have, mariadb, ownMariadb } from '../support/servers.js';
import { storeContract } from './contract.js';

describe.skipIf(!have.mariadb)('mysql', () => {
  let url: Promise<string> | undefined;
  storeContract('MariaDB', {
    open: async (options, params = '') => openStore(`${await (url ??= mariadb())}?${params}`, options),
    types: {
      integer: 'int',
      bigint: 'bigint',
      decimal: 'decimal(30,10)',
      price: 'decimal(5,2)',
      float: 'double',
      text: (n) => `varchar(${n})`,
      bytes: 'blob',
      time: 'datetime(6)',
      timeText: '2023-07-06 15:43:00.123456',
      counter: 'integer AUTO_INCREMENT PRIMARY KEY',
    },
    slow: 'SELECT SLEEP(90)',
    series: (rows) => `SELECT seq AS n, REPEAT('x', 1000) FROM seq_1_to_${rows}`,
    schemas: async (store) => {
      const here = String((await store.query('SELECT DATABASE()')).rows[0]?.[0]);
      await store.execute(`CREATE DATABASE IF NOT EXISTS ${here}_elsewhere`);
      return [here, `${here}_elsewhere`];
    },
    rowLocks: true,
    own: () => ownMariadb(),
    openUrl: openStore,
  });
});
