/**
 * Builds what runs outside vite's transform before any test: the program (worker threads load dist/) and
 * the test actors (dist-test/). Incremental, so a second run costs a second. A type error is printed and does not stop
 * the tests (tsc emits all the same); the type check of `npm test` is the step that fails on it.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export function setup(): void {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const tsc = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
  for (const project of ['tsconfig.json', 'test/support/tsconfig.json']) {
    spawnSync(process.execPath, [tsc, '-p', project], { cwd: root, stdio: 'inherit' });
  }
}
