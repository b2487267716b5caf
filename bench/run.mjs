// `npm run bench -- NAME [options]`: compiles bench/ into dist-bench/ and runs it there.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const tsc = path('../node_modules/typescript/bin/tsc');
if (!existsSync(tsc)) {
  console.error('bench: TypeScript is not installed here; run `npm ci` first');
  process.exit(69);
}
const built = spawnSync(process.execPath, [tsc, '-p', path('./tsconfig.json')], { stdio: 'inherit' });
if (built.status !== 0) process.exit(70);
await import(new URL('../dist-bench/bench/main.js', import.meta.url));
