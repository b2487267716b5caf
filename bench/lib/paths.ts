/** Places. The bench runs from dist-bench/bench/, its C sources and peers stay in bench/. */
import { fileURLToPath } from 'node:url';

/** Folder of package.json; this file is bench/lib/paths.ts or dist-bench/bench/lib/paths.js. */
export const root = fileURLToPath(
  new URL(import.meta.url.includes('/dist-bench/') ? '../../..' : '../..', import.meta.url),
).replace(/\/$/, '');

export const source = (path: string): string => `${root}/bench/${path}`;
export const output = (path: string): string => `${root}/dist-bench/${path}`;
export const results = `${root}/bench/results`;
