/** `docs`: writes the generated documents of a source checkout. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { writeDocs } from './docs.js';
import { EXIT, type Verb } from './verb.js';

export const docs: Verb = {
  name: 'docs',
  usage: '[FOLDER]',
  help: 'writes docs/configuration.md and docs/errors.md',
  async run({ words }, io) {
    const folder = words[0] ?? fileURLToPath(new URL('../../docs', import.meta.url));
    if (!existsSync(folder)) {
      io.err(`switchyard: there is no folder ${folder}`);
      return EXIT.cannotCreate;
    }
    await writeDocs(folder);
    io.out(`written to ${folder}`);
    return EXIT.ok;
  },
};
