import { showMs, textTable } from '../text-table.js';
import { noMore, show, type AdminCommand } from './command.js';

export const ps: AdminCommand = {
  name: 'ps',
  usage: '',
  help: 'actors: state, thread, current message and its age, restarts, last error',
  run(args, control) {
    noMore(args, 0);
    const actors = control.ps();
    const text = textTable(
      [
        ['ACTOR'],
        ['STATE'],
        ['POOL'],
        ['THREAD', 'right'],
        ['UP', 'right'],
        ['HANDLED', 'right'],
        ['QUEUED', 'right'],
        ['RESTARTS', 'right'],
        ['BUSY', 'right'],
        ['MESSAGE'],
        ['LAST ERROR'],
      ],
      actors.map((a) => [
        a.ref,
        a.state,
        a.pool,
        a.thread,
        showMs(a.uptimeMs),
        a.handled,
        a.depth,
        a.restarts,
        showMs(a.messageAgeMs),
        a.message,
        a.lastError,
      ]),
    );
    return show(actors, text);
  },
};
