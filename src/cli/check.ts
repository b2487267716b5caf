/** `check` and `--check`: validates conf files, prints every problem with its place. */
import { loadConf } from './conf.js';
import { problemText } from '../runtime/config-reader.js';
import { EXIT, UsageFault, type Verb } from './verb.js';

export const check: Verb = {
  name: 'check',
  usage: '[--json] CONF-FILE...',
  help: 'validates conf files, as --check does; exit 78 when there are errors',
  async run({ files, flags, env }, io) {
    if (files.length === 0) throw new UsageFault('no conf file to check');
    const { config, problems } = await loadConf(files, env);
    const errors = problems.filter((problem) => problem.severity === 'error').length;
    if (flags.json) io.out(JSON.stringify({ ok: errors === 0, problems }));
    else for (const problem of problems) io.err(problemText(problem));
    if (!flags.json) {
      if (errors === 0) io.out(`${files.length} file(s), ${config.sections.length} sections: good`);
      else io.err(`${errors} error(s)`);
    }
    return errors === 0 ? EXIT.ok : EXIT.conf;
  },
};
