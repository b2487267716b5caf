/** Users, interfaces and the call log of the data service (spec data-centre 11.1). */
import { migrate, type Migration } from './migrations.js';
import type { Store } from './driver.js';
import { onServers } from './schema-words.js';

/** `passwd` holds a hash of store/passwords.ts, where the seeds keep clear text; hence its length. */
const DATA_API: readonly Migration[] = [
  {
    version: 1,
    statements: {
      sqlite: [
        `CREATE TABLE T_USERINFO (
          username VARCHAR(30) NOT NULL UNIQUE,
          passwd VARCHAR(200) NOT NULL,
          appname VARCHAR(50) NOT NULL,
          ip VARCHAR(50), contacts VARCHAR(50), tel VARCHAR(50), email VARCHAR(50), memo VARCHAR(300),
          rsts INT NOT NULL DEFAULT 1,
          upttime DATETIME NOT NULL DEFAULT (datetime('now')),
          keyid INTEGER PRIMARY KEY AUTOINCREMENT)`,
        `CREATE TABLE T_DATATYPE (
          typeid VARCHAR(30) NOT NULL UNIQUE,
          ptypeid VARCHAR(30) REFERENCES T_DATATYPE (typeid),
          typename VARCHAR(100) NOT NULL,
          orderby INT, memo VARCHAR(300),
          rsts INT NOT NULL DEFAULT 1,
          upttime DATETIME NOT NULL DEFAULT (datetime('now')),
          keyid INTEGER PRIMARY KEY AUTOINCREMENT)`,
        `CREATE TABLE T_INTERCFG (
          intername VARCHAR(30) NOT NULL UNIQUE,
          typeid VARCHAR(30) NOT NULL REFERENCES T_DATATYPE (typeid),
          intercname VARCHAR(100) NOT NULL,
          selectsql VARCHAR(1000) NOT NULL,
          colstr VARCHAR(300) NOT NULL,
          bindin VARCHAR(300),
          orderby INT, memo VARCHAR(300),
          rsts INT NOT NULL DEFAULT 1,
          upttime DATETIME NOT NULL DEFAULT (datetime('now')),
          keyid INTEGER PRIMARY KEY AUTOINCREMENT)`,
        `CREATE TABLE T_USERANDINTER (
          intername VARCHAR(30) NOT NULL REFERENCES T_INTERCFG (intername) ON DELETE CASCADE,
          username VARCHAR(30) NOT NULL REFERENCES T_USERINFO (username) ON DELETE CASCADE,
          PRIMARY KEY (intername, username))`,
        `CREATE TABLE T_USERLOG (
          keyid INTEGER PRIMARY KEY AUTOINCREMENT,
          username VARCHAR(30) NOT NULL,
          intername VARCHAR(30) NOT NULL,
          upttime DATETIME NOT NULL DEFAULT (datetime('now')),
          ip VARCHAR(45),
          rpc INT)`,
        'CREATE INDEX IX_USERLOG_UPTTIME ON T_USERLOG (upttime)',
        `CREATE TABLE T_USERLOGSTAT (
          username VARCHAR(30) NOT NULL,
          intername VARCHAR(30) NOT NULL,
          ddatetie DATETIME NOT NULL,
          rpc INT,
          keyid INTEGER PRIMARY KEY AUTOINCREMENT,
          UNIQUE (username, intername, ddatetie))`,
      ],
      ...onServers(({ create, counter, time, stamp, index, end, indexes }) => [
        `${create} T_USERINFO (
          username VARCHAR(30) NOT NULL,
          passwd VARCHAR(200) NOT NULL,
          appname VARCHAR(50) NOT NULL,
          ip VARCHAR(50), contacts VARCHAR(50), tel VARCHAR(50), email VARCHAR(50), memo VARCHAR(300),
          rsts INT NOT NULL DEFAULT 1,
          upttime ${stamp},
          keyid ${counter} UNIQUE,
          PRIMARY KEY (username)${end}`,
        `${create} T_DATATYPE (
          typeid VARCHAR(30) NOT NULL,
          ptypeid VARCHAR(30),
          typename VARCHAR(100) NOT NULL,
          orderby INT, memo VARCHAR(300),
          rsts INT NOT NULL DEFAULT 1,
          upttime ${stamp},
          keyid ${counter} UNIQUE,
          PRIMARY KEY (typeid),
          FOREIGN KEY (ptypeid) REFERENCES T_DATATYPE (typeid)${end}`,
        `${create} T_INTERCFG (
          intername VARCHAR(30) NOT NULL,
          typeid VARCHAR(30) NOT NULL,
          intercname VARCHAR(100) NOT NULL,
          selectsql VARCHAR(1000) NOT NULL,
          colstr VARCHAR(300) NOT NULL,
          bindin VARCHAR(300),
          orderby INT, memo VARCHAR(300),
          rsts INT NOT NULL DEFAULT 1,
          upttime ${stamp},
          keyid ${counter} UNIQUE,
          PRIMARY KEY (intername),
          FOREIGN KEY (typeid) REFERENCES T_DATATYPE (typeid)${end}`,
        `${create} T_USERANDINTER (
          intername VARCHAR(30) NOT NULL,
          username VARCHAR(30) NOT NULL,
          PRIMARY KEY (intername, username),
          FOREIGN KEY (intername) REFERENCES T_INTERCFG (intername) ON DELETE CASCADE,
          FOREIGN KEY (username) REFERENCES T_USERINFO (username) ON DELETE CASCADE${end}`,
        `${create} T_USERLOG (
          keyid ${counter},
          username VARCHAR(30) NOT NULL,
          intername VARCHAR(30) NOT NULL,
          upttime ${stamp},
          ip VARCHAR(45),
          rpc INT,
          PRIMARY KEY (keyid)${index('IX_USERLOG_UPTTIME', 'upttime')}${end}`,
        ...indexes('T_USERLOG', 'IX_USERLOG_UPTTIME', 'upttime'),
        `${create} T_USERLOGSTAT (
          username VARCHAR(30) NOT NULL,
          intername VARCHAR(30) NOT NULL,
          ddatetie ${time} NOT NULL,
          rpc INT,
          keyid ${counter} UNIQUE,
          PRIMARY KEY (username, intername, ddatetie)${end}`,
      ]),
    },
  },
];

/** Makes T_USERINFO, T_DATATYPE, T_INTERCFG, T_USERANDINTER, T_USERLOG and T_USERLOGSTAT; no rows. */
export async function migrateDataApi(store: Store): Promise<void> {
  await migrate(store, 'data-api', DATA_API);
}
