import type { ConnectionFilter } from '../control-plane.js';
import { showBytes, showMs, textTable } from '../text-table.js';
import { limitOf, show, UsageError, type AdminCommand } from './command.js';

const DEFAULT_LIMIT = 100;

/** `listener=packet ip=10.0.0.7 limit=50`, in any order. */
function filterOf(args: readonly string[]): ConnectionFilter {
  const found: Record<string, string> = {};
  for (const arg of args) {
    const [, key, value] = /^(listener|ip|limit)=(.+)$/.exec(arg) ?? [];
    if (key === undefined || value === undefined) throw new UsageError(`unexpected argument "${arg}"`);
    found[key] = value;
  }
  return {
    ...(found['listener'] === undefined ? {} : { listener: found['listener'] }),
    ...(found['ip'] === undefined ? {} : { ip: found['ip'] }),
    limit: limitOf(found['limit'], DEFAULT_LIMIT),
  };
}

export const conns: AdminCommand = {
  name: 'conns',
  usage: '[listener=NAME] [ip=ADDRESS] [limit=100]',
  help: 'client connections: address, age, idle time, traffic, send queue',
  run(args, control) {
    const filter = filterOf(args);
    const rows = control.conns(filter);
    const table = textTable(
      [
        ['ID'],
        ['LISTENER'],
        ['REMOTE'],
        ['TLS'],
        ['AGE', 'right'],
        ['IDLE', 'right'],
        ['IN', 'right'],
        ['OUT', 'right'],
        ['BYTES IN', 'right'],
        ['BYTES OUT', 'right'],
        ['SENDQ', 'right'],
        ['READING'],
      ],
      rows.map((c) => [
        c.id,
        c.listener,
        c.remoteAddress.includes(':')
          ? `[${c.remoteAddress}]:${c.remotePort}`
          : `${c.remoteAddress}:${c.remotePort}`,
        c.secure ? 'yes' : 'no',
        showMs(c.ageMs),
        showMs(c.idleMs),
        c.packetsIn,
        c.packetsOut,
        showBytes(c.bytesIn),
        showBytes(c.bytesOut),
        showBytes(c.sendQueueBytes),
        c.paused ? 'paused' : 'yes',
      ]),
    );
    const total = control.totals().connections;
    return show(rows, `${table}\n${rows.length} shown, ${total} open`);
  },
};
