/** Round trips of packets through the worker actor, against bare echoes and Redis PING. */
import { choose, inTurns, type Contestant, type Sample } from '../lib/compare.js';
import { packetLoad, type LoadResult } from '../lib/load.js';
import type { BenchOptions } from '../lib/options.js';
import { registerAccount } from '../lib/packet-client.js';
import type { Report } from '../lib/report.js';
import { epollEcho, nodeEcho, redis, threadsEcho } from '../peers/servers.js';
import { packetServer } from '../peers/switchyard.js';

const account = { user: 'bench', password: 'bench-password' };

export function toSample(result: LoadResult): Sample {
  const { server, generator } = result.cpu;
  return {
    value: result.perSecond,
    failed: result.failed,
    p50Us: result.latencyUs.p50,
    p99Us: result.latencyUs.p99,
    serverCpu: (server.user + server.system) / result.seconds,
    generatorCpu: (generator.user + generator.system) / result.seconds,
    detail: result,
  };
}

async function grid(
  options: BenchOptions,
  contestants: readonly Contestant[],
  code: string,
  all: readonly number[] = [1, 100, 1000],
): Promise<Report['cases']> {
  const cases = [];
  for (const window of options.windows ?? [1, 32]) {
    for (const connections of options.connections ?? all) {
      const name = `${connections} x ${window}`;
      const result = await inTurns(name, contestants, options.rounds, async (server, contestant) => {
        if (contestant.name === 'switchyard' && code !== '0') await registerAccount(server.port, account);
        const { seconds, warmup, processes, core } = options;
        const load = {
          port: server.port,
          connections,
          window,
          seconds,
          warmup,
          processes,
          pid: server.pid,
          ...(core !== undefined && { core }),
        };
        const asked = contestant.name === 'redis' ? 'redis-ping' : code;
        return toSample(await packetLoad({ ...load, ...account, code: asked }));
      });
      cases.push(result);
    }
  }
  return cases;
}

export async function packets(options: BenchOptions): Promise<Report> {
  const contestants = choose([packetServer(options), nodeEcho, epollEcho, redis], options);
  const cases = await grid(options, contestants, '0');
  return { bench: 'packets', unit: 'packets/s', lessIsBetter: false, cases };
}

/** Not the program: how much several reactor threads on one descriptor would gain over one, before any work is done. */
export async function reactors(options: BenchOptions): Promise<Report> {
  const contestants = choose([threadsEcho(2), threadsEcho(3), nodeEcho], options);
  const cases = await grid({ ...options, windows: options.windows ?? [1] }, contestants, '0');
  return { bench: 'reactors', unit: 'packets/s', lessIsBetter: false, cases };
}

/**
 * Logins of one account; the echoes send the request back, which is a valid reply on the wire. A login is a password check, and
 * that is slow on purpose. The lowest cost is set here, so that something is left to be seen of the way there and back; one
 * login at the default cost takes some 30 times as long, on any server.
 */
export async function packetsLogin(options: BenchOptions): Promise<Report> {
  const cheap = ['hash_cost = 10', 'hash_waiting = 100000', 'total_pending = 100000'];
  const contestants = choose([packetServer(options, cheap), nodeEcho, epollEcho], options);
  const cases = await grid(options, contestants, '6', [1, 100]);
  return { bench: 'packets-login', unit: 'logins/s', lessIsBetter: false, cases };
}
