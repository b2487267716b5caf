import { showMs, showTime, textTable } from '../text-table.js';
import { limitOf, noMore, show, type AdminCommand } from './command.js';

const DEFAULT_LIMIT = 20;

export const runs: AdminCommand = {
  name: 'runs',
  usage: '[stage|-] [limit=20]',
  help: 'run ledger, newest first, of one stage or of all (-)',
  async run(args, control) {
    noMore(args, 2);
    const [stage, limit] = args;
    const all = await control.runs(
      stage === undefined || stage === '-' ? undefined : stage,
      limitOf(limit?.replace(/^limit=/, ''), DEFAULT_LIMIT),
    );
    const text = textTable(
      [
        ['RUN', 'right'],
        ['STAGE'],
        ['START'],
        ['TOOK', 'right'],
        ['RESULT'],
        ['IN', 'right'],
        ['OUT', 'right'],
        ['REJECTED', 'right'],
        ['FILES', 'right'],
        ['MB', 'right'],
        ['ROWS/S', 'right'],
        ['LAG', 'right'],
        ['ERRORS', 'right'],
        ['ERROR'],
      ],
      all.map((r) => [
        r.id,
        r.stage,
        showTime(r.startAt),
        showMs(r.endAt === undefined ? undefined : r.endAt - r.startAt),
        r.result,
        r.rowsIn,
        r.rows,
        r.rejected,
        r.files,
        (r.bytes / 1e6).toFixed(1),
        r.rowsPerSecond,
        showMs(r.lagMs),
        r.errors,
        r.error,
      ]),
    );
    return show(all, text);
  },
};
