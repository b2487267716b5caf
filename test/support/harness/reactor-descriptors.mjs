// A reactor in a process of its own whose limit of open files the test has lowered. Prints one JSON line per event.
import { createPacketCodec } from '../../../dist/protocol/packet.js';
import { Reactor } from '../../../dist/runtime/reactor.js';

const { listener, reactor: shared, room, fd } = JSON.parse(process.argv[2]);
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const write = (event, fields = {}) => print({ event, ...fields });
const log = {
  debug: write,
  info: write,
  notice: write,
  warn: write,
  error: write,
  fatal: write,
  child: () => log,
};
const reactor = new Reactor({
  log,
  values: shared,
  ...(room === 'unlimited' ? { connectionRoom: Infinity } : {}),
});
const sink = {
  offer(connection, bytes, start, end, count) {
    reactor.send(connection.slot, connection.generation, Buffer.from(bytes.subarray(start, end)), count);
    reactor.flush();
    return true;
  },
  whenRoom: () => undefined,
  opened: () => undefined,
  closed: () => undefined,
};
const { port, counters } = await reactor.listen({
  name: 'packet',
  values: listener,
  codec: createPacketCodec(),
  sink,
  fd,
});
print({ event: 'ready', port });
process.stdin.on('data', () => print({ event: 'counters', refused: counters.refused, ...reactor.totals() }));
process.stdin.on('end', () => process.exit(0));
