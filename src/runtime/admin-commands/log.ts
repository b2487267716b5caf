import { textTable } from '../text-table.js';
import { fromOutcome, levelOf, noMore, show, UsageError, type AdminCommand } from './command.js';

export const log: AdminCommand = {
  name: 'log',
  usage: '[level debug|info|notice|warn|error|fatal [actor] | reopen]',
  help: 'shows or sets log levels, of the process or of one actor; reopens the log files',
  async run(args, control) {
    const [verb, level, ref] = args;
    if (verb === undefined || (verb === 'level' && level === undefined)) {
      const levels = control.logLevels();
      return show(levels, textTable([['ACTOR'], ['LEVEL']], Object.entries(levels)));
    }
    if (verb === 'reopen') {
      noMore(args, 1);
      return fromOutcome(await control.reopenLogs());
    }
    if (verb !== 'level' || level === undefined) throw new UsageError(`unexpected argument "${verb}"`);
    noMore(args, 3);
    return fromOutcome(control.setLogLevel(levelOf(level), ref));
  },
};
