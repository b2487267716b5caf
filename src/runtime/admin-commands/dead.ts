import { showBytes, showTime, textTable } from '../text-table.js';
import { limitOf, noMore, show, type AdminCommand } from './command.js';

const DEFAULT_LIMIT = 20;

export const dead: AdminCommand = {
  name: 'dead',
  usage: '[limit=20]',
  help: 'dead letters, newest first: what could not be delivered or handled, and why',
  run(args, control) {
    noMore(args, 1);
    const letters = control.deadLetters(limitOf(args[0]?.replace(/^limit=/, ''), DEFAULT_LIMIT));
    const text = textTable(
      [['TIME'], ['TO'], ['FROM'], ['MESSAGE'], ['BYTES', 'right'], ['REASON']],
      letters.map((d) => [showTime(d.at), d.to, d.from, d.message, showBytes(d.bytes), d.reason]),
    );
    return show(letters, text);
  },
};
