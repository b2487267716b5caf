/** `sample TYPE`: a section of the conf with every key of a stage or actor type, explained, to start from. */
import { allSections } from '../conf-schema.js';
import { nearest } from '../runtime/nearest.js';
import { actorTypes } from '../actors/index.js';
import { renderSample } from './sample.js';
import { EXIT, UsageFault, type Verb } from './verb.js';

export const sample: Verb = {
  name: 'sample',
  usage: 'TYPE [KEY=VALUE...]',
  help: 'prints a conf section of a stage or actor type with every key explained',
  async run({ words, files }, io) {
    const [wanted, ...pairs] = [...words, ...files];
    const names = actorTypes.map(({ type }) => type);
    if (wanted === undefined) throw new UsageFault(`which type? There are ${names.join(' ')}`);
    const found = actorTypes.find(({ type }) => type === wanted);
    if (found === undefined) {
      const near = nearest(wanted, names);
      throw new UsageFault(
        `there is no type "${wanted}"${near === undefined ? '' : `; did you mean ${near}?`}`,
      );
    }
    const set: Record<string, string> = { type: found.type };
    for (const [key, { required }] of Object.entries(found.keys)) if (required) set[key] = '';
    for (const pair of pairs) {
      const at = pair.indexOf('=');
      const key = pair.slice(0, Math.max(0, at));
      if (found.keys[key] === undefined)
        throw new UsageFault(`"${pair}" is not KEY=VALUE with a key of ${wanted}`);
      set[key] = pair.slice(at + 1);
    }
    const kind = found.kind === 'stage' ? 'stage' : 'actor';
    const section = allSections().find((spec) => spec.section === kind);
    if (section === undefined) throw new Error(`the conf has no section [${kind}]`);
    io.out(
      renderSample({ ...section, help: found.help }, { name: found.type, set, extra: found.keys }).trimEnd(),
    );
    return EXIT.ok;
  },
};
