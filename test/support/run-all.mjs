/**
 * `npm test`: lint, format, types, then every test, and one closing line with the counts. Goes on after a failing step so
 * that one run shows everything; the exit code is that of the worst.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installServers } from './install.mjs';

const bin = (name) => join('node_modules', '.bin', name);
const folder = mkdtempSync(join(tmpdir(), 'switchyard-test-'));
const report = join(folder, 'report.json');

const steps = [
  ['types', bin('tsc'), ['--noEmit', '-p', 'tsconfig.test.json']],
  ['lint', bin('eslint'), ['.']],
  ['format', bin('prettier'), ['--check', '--log-level', 'warn', '.']],
];

let passed = 0;
let failed = 0;
let skipped = 0;

installServers();
for (const [name, command, args] of steps) {
  console.log(`\n== ${name}`);
  if (spawnSync(command, args, { stdio: 'inherit' }).status === 0) passed++;
  else failed++;
}

console.log('\n== tests');
const vitest = [
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${report}`,
  ...process.argv.slice(2),
];
const run = spawnSync(bin('vitest'), vitest, { stdio: 'inherit' });
try {
  const result = JSON.parse(readFileSync(report, 'utf8'));
  passed += result.numPassedTests;
  failed += result.numFailedTests;
  skipped += result.numPendingTests + result.numTodoTests;
} catch (error) {
  console.error(`no test report: ${error.message}`);
  failed++;
}
// An error outside of any test (a worker that died) has no failed test to count.
if (run.status !== 0 && failed === 0) failed++;
rmSync(folder, { recursive: true, force: true });

console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(failed > 0 ? 1 : 0);
