import { showBytes, showMs, textTable } from '../text-table.js';
import { noMore, show, type AdminCommand } from './command.js';

export const queues: AdminCommand = {
  name: 'queues',
  usage: '',
  help: 'mailboxes: depth, bytes, limits, high-water mark, age of the oldest, refused, dropped',
  run(args, control) {
    noMore(args, 0);
    const all = control.queues();
    const text = textTable(
      [
        ['QUEUE'],
        ['DEPTH', 'right'],
        ['LIMIT', 'right'],
        ['BYTES', 'right'],
        ['LIMIT', 'right'],
        ['HIGH', 'right'],
        ['OLDEST', 'right'],
        ['POLICY'],
        ['REFUSED', 'right'],
        ['DROPPED', 'right'],
      ],
      all.map((q) => [
        q.name,
        q.depth,
        q.capacity,
        showBytes(q.bytes),
        showBytes(q.capacityBytes),
        q.highWater,
        showMs(q.oldestMs),
        q.policy,
        q.refused,
        q.dropped,
      ]),
    );
    return show(all, text);
  },
};
