/** Static files over HTTP against one nginx worker. */
import { writeFileSync } from 'node:fs';
import { choose, inTemporaryFolder, inTurns, type CaseResult, type Contestant } from '../lib/compare.js';
import { httpLoad, type HttpLoadOptions } from '../lib/load.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';
import { nginx } from '../peers/servers.js';
import { webServer } from '../peers/switchyard.js';
import { toSample } from './packets.js';

const PAGE = 'page.html';
const PAGE_BYTES = 1024;

type Style = Pick<HttpLoadOptions, 'clients' | 'version' | 'keepAlive'>;

/** A folder with one page of 1 KB. */
async function withSite<T>(use: (site: string) => Promise<T>): Promise<T> {
  return inTemporaryFolder(async (site) => {
    writeFileSync(
      `${site}/${PAGE}`,
      'The quick brown fox jumps over the lazy dog. '.repeat(30).slice(0, PAGE_BYTES),
    );
    return use(site);
  });
}

async function run(
  name: string,
  contestants: readonly Contestant[],
  options: BenchOptions,
  site: string,
  style: Style,
): Promise<CaseResult> {
  return inTurns(name, contestants, options.rounds, async (server) => {
    const url = `http://127.0.0.1:${server.port}/${PAGE}`;
    const { seconds, warmup, core } = options;
    const load = { ...style, url, seconds, warmup, pid: server.workingPid, bodyFile: `${site}/${PAGE}` };
    return toSample(await httpLoad({ ...load, ...(core !== undefined && { core }) }));
  });
}

export async function httpStatic(options: BenchOptions): Promise<Report> {
  return withSite(async (site) => {
    const all = choose(
      [webServer(options, 'uws', site), nginx(site), webServer(options, 'node', site)],
      options,
    );
    const cases = [];
    for (const clients of options.connections ?? [64]) {
      cases.push(
        await run(`keep-alive, ${clients} clients`, all, options, site, {
          clients,
          version: '1.1',
          keepAlive: true,
        }),
      );
    }
    return { bench: 'http-static', unit: 'requests/s', lessIsBetter: false, cases };
  });
}

/** Webbench's way: a new connection for each request. HTTP/1.0 only on the node engine; uws does not speak it. */
export async function httpClose(options: BenchOptions): Promise<Report> {
  return withSite(async (site) => {
    const [uws, node, peer] = [
      webServer(options, 'uws', site),
      webServer(options, 'node', site),
      nginx(site),
    ];
    const chosen = choose([uws, node, peer], options);
    const among = (wanted: readonly Contestant[]): readonly Contestant[] =>
      wanted.filter((one) => chosen.includes(one));
    const one = await run('HTTP/1.1, 64 clients', among([uws, peer, node]), options, site, {
      clients: 64,
      version: '1.1',
      keepAlive: false,
    });
    const two = await run('HTTP/1.0, 1,000 clients', among([node, peer]), options, site, {
      clients: 1000,
      version: '1.0',
      keepAlive: false,
    });
    return { bench: 'http-close', unit: 'requests/s', lessIsBetter: false, cases: [one, two] };
  });
}
