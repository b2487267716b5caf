// A process with the signal table and nothing else: says what it was asked on standard output. For signals.test.ts.
// argv: how `stop` behaves: `quick`, `hang`, `fail`; deadline in ms.
import { clearInterval, setInterval } from 'node:timers';
import { installSignals } from '../../../dist/runtime/signals.js';

const [, , behaviour, deadline] = process.argv;
const say = (text) => process.stdout.write(`${text}\n`);
const event = (level) => (name, fields) => say(`${level} ${name} ${JSON.stringify(fields ?? {})}`);
const log = Object.fromEntries(
  ['debug', 'info', 'notice', 'warn', 'error', 'fatal'].map((l) => [l, event(l)]),
);
const alive = setInterval(() => undefined, 1000);

installSignals({
  log,
  stopDeadlineMs: () => Number(deadline),
  actions: {
    stop: async (reason) => {
      say(`stop ${reason}`);
      if (behaviour === 'fail') throw new Error('a child bit');
      if (behaviour === 'hang') return new Promise(() => undefined);
      clearInterval(alive);
      process.stdin.destroy();
    },
    reload: async () => say('reload'),
    reopenLogs: async () => {
      throw new Error('no such folder');
    },
    drain: async () => say('drain'),
    beforeExit: () => say('flushed'),
  },
});
process.stdin.on('data', (text) => {
  if (String(text).startsWith('throw')) throw new Error('thrown on purpose');
  if (String(text).startsWith('reject')) void Promise.reject(new Error('rejected on purpose'));
  if (String(text).startsWith('epipe')) process.stderr.write('nobody reads this\n', () => say('still here'));
});
say('ready');
