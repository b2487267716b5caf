/**
 * Where a program is that tests use as a real peer: on the PATH, or where Debian keeps servers.
 */
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const POSTGRES = '/usr/lib/postgresql';

function folders() {
  let versions = [];
  try {
    versions = readdirSync(POSTGRES).sort((a, b) => Number(b) - Number(a));
  } catch {
    // No PostgreSQL there.
  }
  const path = (process.env.PATH ?? '').split(delimiter);
  return [
    ...path,
    '/usr/sbin',
    '/usr/local/sbin',
    ...versions.map((version) => join(POSTGRES, version, 'bin')),
  ];
}

/** @returns its path, the newest one of several PostgreSQLs */
export function findProgram(name) {
  return folders()
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
