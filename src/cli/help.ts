/** The help texts, made from the tables of verbs and flags. */
import { textTable } from '../runtime/text-table.js';
import { FLAGS } from './flags.js';
import type { Verb } from './verb.js';

export function helpText(verbs: readonly Verb[]): string {
  const flags = Object.entries(FLAGS).map(([name, spec]) => [
    `  ${'short' in spec ? `-${spec.short}, ` : ''}--${name}${'value' in spec ? ` ${spec.value}` : ''}`,
    spec.help,
  ]);
  return [
    'Usage: switchyard [VERB] [FLAG...] CONF-FILE...',
    '',
    'Without a verb the program runs: switchyard conf/*.conf',
    '',
    textTable(
      [['Verbs:'], ['']],
      verbs.map((v) => [`  ${v.name} ${v.usage}`.trimEnd(), v.help]),
    ),
    '',
    textTable([['Flags:'], ['']], flags),
    '',
    'Exit codes: 0 done, 1 the server said no, 64 usage, 69 unavailable, 70 internal, 73 cannot create,',
    '75 temporary failure, 77 no permission, 78 bad conf. See docs/operations.md.',
  ].join('\n');
}

export function verbHelp(verb: Verb): string {
  return `Usage: switchyard ${verb.name} ${verb.usage}\n${verb.help}`;
}
