/**
 * Debian packages that tests use as real peers. Installed when missing and root; otherwise said loudly, and in CI
 * (CI=true) a missing one is a failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { findProgram } from './find-program.mjs';

/** [what to look for, packages, what happens without it] */
const PROGRAMS = [
  ['openssl', 'openssl', 'the tests of TLS fail'],
  ['cc', 'gcc libc6-dev', 'the tests of the load generators in bench/ are skipped'],
  ['mariadbd', 'mariadb-server mariadb-client', 'the tests of MySQL and MariaDB are skipped'],
  ['postgres', 'postgresql', 'the tests of PostgreSQL are skipped'],
  ['redis-server', 'redis-server', 'the tests of Redis are skipped'],
];

const has = (program) => findProgram(program) !== undefined;

/** Debian asks this script whether a fresh package may start its service; the tests start private servers themselves. */
const POLICY = '/usr/sbin/policy-rc.d';

function withoutServices(work) {
  const ours = !existsSync(POLICY);
  if (ours) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    work();
  } finally {
    if (ours) rmSync(POLICY, { force: true });
  }
}

export function installServers() {
  const missing = PROGRAMS.filter(([program]) => !has(program));
  if (missing.length === 0) return;
  const root = process.getuid?.() === 0 && has('apt-get');
  if (root) {
    const packages = missing.map(([, name]) => name).join(' ');
    console.log(`installing Debian packages: ${packages}`);
    const install = `apt-get update -qq && apt-get install -y -qq --no-install-recommends ${packages} >/dev/null`;
    withoutServices(() =>
      spawnSync('sh', ['-c', install], {
        stdio: 'inherit',
        env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      }),
    );
  }
  for (const [program, name, without] of missing) {
    if (has(program)) continue;
    const line = `MISSING ${program} (Debian: apt-get install ${name}): without it ${without}`;
    if (process.env.CI === 'true') throw new Error(line);
    console.error(`\n!!! ${line}\n`);
  }
}
