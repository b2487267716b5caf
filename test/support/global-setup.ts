/**
 * Builds what runs outside vite's transform before any test: the program (worker threads load dist/) and
 * the test actors (dist-test/). Incremental, so a second run costs a second. A type error is printed and does not stop
 * the tests (tsc emits all the same); the type check of `npm test` is the step that fails on it.
 *
 * Also makes the folder of the database servers that tests may start (servers.ts), and ends those servers.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { removeRun, RUN_FOLDER, runFolderPrefix, sweepRuns } from './server-process.js';

export function setup(): () => void {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const tsc = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
  for (const project of ['tsconfig.json', 'test/support/tsconfig.json']) {
    spawnSync(process.execPath, [tsc, '-p', project], { cwd: root, stdio: 'inherit' });
  }

  sweepRuns();
  const folder = mkdtempSync(runFolderPrefix());
  // Servers run as their own users and have to get at their folders in it.
  chmodSync(folder, 0o711);
  process.env[RUN_FOLDER] = folder;
  const remove = (): void => removeRun(folder);
  process.once('exit', remove);
  return remove;
}
