import { showMs, showTime, textTable } from '../text-table.js';
import { noMore, show, type AdminCommand } from './command.js';

export const stages: AdminCommand = {
  name: 'stages',
  usage: '',
  help: 'pipeline stages: state, last run and its result, next due',
  async run(args, control) {
    noMore(args, 0);
    const all = await control.stages();
    const text = textTable(
      [
        ['STAGE'],
        ['STATE'],
        ['LAST START'],
        ['TOOK', 'right'],
        ['RESULT'],
        ['ROWS', 'right'],
        ['FILES', 'right'],
        ['ERRORS', 'right'],
        ['NEXT DUE'],
      ],
      all.map((s) => [
        s.name,
        s.state,
        showTime(s.lastStartAt),
        showMs(s.lastDurationMs),
        s.lastResult,
        s.rows,
        s.files,
        s.errors,
        showTime(s.nextDueAt),
      ]),
    );
    return show(all, text);
  },
};
