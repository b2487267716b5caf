/** Stations and observations (spec data-centre 4.3). Names and units are the seeds'. */
import { migrate, type Migration } from './migrations.js';
import type { Store } from './driver.js';
import { onServers } from './schema-words.js';

/**
 * keyid grows with every insert and is never used again, which is what incremental extraction goes by. SQLite counts up
 * only its primary key, so the seeds' primary keys are unique keys there.
 */
const WEATHER: readonly Migration[] = [
  {
    version: 1,
    statements: {
      sqlite: [
        `CREATE TABLE T_ZHOBTCODE (
          obtid VARCHAR(10) NOT NULL UNIQUE,
          cityname VARCHAR(30),
          provname VARCHAR(30),
          lat INT,
          lon INT,
          height INT,
          upttime DATETIME NOT NULL DEFAULT (datetime('now')),
          keyid INTEGER PRIMARY KEY AUTOINCREMENT)`,
        `CREATE TABLE T_ZHOBTMIND (
          obtid VARCHAR(10) NOT NULL,
          ddatetime DATETIME NOT NULL,
          t INT, p INT, u INT, wd INT, wf INT, r INT, vis INT,
          upttime DATETIME NOT NULL DEFAULT (datetime('now')),
          keyid INTEGER PRIMARY KEY AUTOINCREMENT,
          UNIQUE (obtid, ddatetime))`,
        'CREATE INDEX IX_ZHOBTMIND_DDATETIME ON T_ZHOBTMIND (ddatetime)',
      ],
      ...onServers(({ create, counter, time, stamp, index, end, indexes }) => [
        `${create} T_ZHOBTCODE (
          obtid VARCHAR(10) NOT NULL,
          cityname VARCHAR(30),
          provname VARCHAR(30),
          lat INT,
          lon INT,
          height INT,
          upttime ${stamp},
          keyid ${counter} UNIQUE,
          PRIMARY KEY (obtid)${end}`,
        `${create} T_ZHOBTMIND (
          obtid VARCHAR(10) NOT NULL,
          ddatetime ${time} NOT NULL,
          t INT, p INT, u INT, wd INT, wf INT, r INT, vis INT,
          upttime ${stamp},
          keyid ${counter} UNIQUE,
          PRIMARY KEY (obtid, ddatetime)${index('IX_ZHOBTMIND_DDATETIME', 'ddatetime')}${end}`,
        ...indexes('T_ZHOBTMIND', 'IX_ZHOBTMIND_DDATETIME', 'ddatetime'),
      ]),
    },
  },
];

/** Makes T_ZHOBTCODE and T_ZHOBTMIND. Dates are text `YYYY-MM-DD HH:MM:SS`. */
export async function migrateWeather(store: Store): Promise<void> {
  await migrate(store, 'weather', WEATHER);
}
