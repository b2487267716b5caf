/** Process memory that an idle packet connection costs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { choose, inTurns } from '../lib/compare.js';
import { holdConnections } from '../lib/load.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';
import { median } from '../lib/stats.js';
import type { ServerProcess } from '../lib/server-process.js';
import { nodeEcho } from '../peers/servers.js';
import { packetServer } from '../peers/switchyard.js';

/** Resident set: median of five readings over a second, so that one collection does not decide. */
async function resident(server: ServerProcess): Promise<number> {
  const readings = [];
  for (let i = 0; i < 5; i++) {
    await sleep(200);
    readings.push(server.residentBytes());
  }
  return median(readings);
}

export async function idleConnections(options: BenchOptions): Promise<Report> {
  const contestants = choose([packetServer(options), nodeEcho], options);
  const cases = [];
  for (const connections of options.connections ?? [10_000]) {
    const result = await inTurns(`${connections} idle`, contestants, options.rounds, async (server) => {
      await sleep(options.warmup * 1000);
      const before = await resident(server);
      const held = await holdConnections(server.port, connections);
      await sleep(options.seconds * 1000);
      const after = await resident(server);
      const alive = await held.release();
      const value = (after - before) / connections;
      return { value, failed: connections - alive, detail: { before, after, alive } };
    });
    cases.push(result);
  }
  return { bench: 'idle-connections', unit: 'bytes each', lessIsBetter: true, cases };
}
