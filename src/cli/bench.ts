/** `bench`: hands over to the benchmarks of a source checkout; an installed program has none. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { EXIT, type Verb } from './verb.js';

export const bench: Verb = {
  name: 'bench',
  usage: '[NAME] [FLAG...]',
  help: 'measures a part, or lists what can be measured (source checkout only)',
  raw: true,
  async run({ words }, io) {
    const script = fileURLToPath(new URL('../../bench/run.mjs', import.meta.url));
    if (!existsSync(script)) {
      io.err(`switchyard: no benchmarks here (${script}); they come with a source checkout`);
      return EXIT.unavailable;
    }
    const child = spawn(process.execPath, [script, ...words], { stdio: 'inherit' });
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code) => resolve(code ?? EXIT.internal));
    });
  },
};
