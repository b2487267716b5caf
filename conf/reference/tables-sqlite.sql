-- Tables of the application database (SQLite). A number in the name says whose copy it is: 1 loaded from files, 2 and 3 kept in step.
CREATE TABLE IF NOT EXISTS T_ZHOBTCODE1 (
  obtid VARCHAR(10) NOT NULL UNIQUE,
  cityname VARCHAR(30),
  provname VARCHAR(30),
  lat INT,
  lon INT,
  height INT,
  upttime DATETIME NOT NULL DEFAULT (datetime('now')),
  keyid INTEGER PRIMARY KEY AUTOINCREMENT);

CREATE TABLE IF NOT EXISTS T_ZHOBTCODE2 (
  stid VARCHAR(10) NOT NULL UNIQUE,
  cityname VARCHAR(30),
  provname VARCHAR(30),
  lat INT,
  lon INT,
  altitude INT,
  upttime DATETIME NOT NULL DEFAULT (datetime('now')),
  keyid INTEGER PRIMARY KEY AUTOINCREMENT);

CREATE TABLE IF NOT EXISTS T_ZHOBTCODE3 (
  stid VARCHAR(10) NOT NULL UNIQUE,
  cityname VARCHAR(30),
  provname VARCHAR(30),
  lat INT,
  lon INT,
  altitude INT,
  upttime DATETIME NOT NULL DEFAULT (datetime('now')),
  keyid INTEGER PRIMARY KEY AUTOINCREMENT);

CREATE TABLE IF NOT EXISTS T_ZHOBTMIND1 (
  obtid VARCHAR(10) NOT NULL,
  ddatetime DATETIME NOT NULL,
  t INT, p INT, u INT, wd INT, wf INT, r INT, vis INT,
  upttime DATETIME NOT NULL DEFAULT (datetime('now')),
  keyid INTEGER PRIMARY KEY AUTOINCREMENT,
  UNIQUE (obtid, ddatetime));

CREATE TABLE IF NOT EXISTS T_ZHOBTMIND2 (
  stid VARCHAR(10) NOT NULL,
  ddatetime DATETIME NOT NULL,
  t INT, p INT, u INT, wd INT, wf INT, r INT, vis INT,
  upttime DATETIME NOT NULL DEFAULT (datetime('now')),
  recid INTEGER PRIMARY KEY AUTOINCREMENT,
  UNIQUE (stid, ddatetime));

CREATE TABLE IF NOT EXISTS T_ZHOBTMIND3 (
  stid VARCHAR(10) NOT NULL,
  ddatetime DATETIME NOT NULL,
  t INT, p INT, u INT, wd INT, wf INT, r INT, vis INT,
  upttime DATETIME NOT NULL DEFAULT (datetime('now')),
  recid INTEGER PRIMARY KEY AUTOINCREMENT,
  UNIQUE (stid, ddatetime));

-- Observations that came as JSON and were transformed.
CREATE TABLE IF NOT EXISTS T_ZHOBTMIND4 (
  obtid VARCHAR(10) NOT NULL,
  ddatetime DATETIME NOT NULL,
  t INT, p INT, u INT, wd INT, wf INT, r INT, vis INT,
  upttime DATETIME NOT NULL DEFAULT (datetime('now')),
  keyid INTEGER PRIMARY KEY AUTOINCREMENT,
  UNIQUE (obtid, ddatetime));
