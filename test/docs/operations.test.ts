import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { EXIT } from '../../src/cli/verb.js';
import { allSections, allTypes } from '../../src/conf-schema.js';
import { ADMIN_COMMANDS } from '../../src/runtime/admin-commands/index.js';
import { MetricRegistry } from '../../src/runtime/metrics.js';
import { processMetrics, ProcessSampler } from '../../src/runtime/process-sampler.js';
import { systemMetrics } from '../../src/runtime/system-metrics.js';
import { fakeControlPlane } from '../support/fake-control-plane.js';

const text = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
const rows = text.split('\n').filter((line) => line.startsWith('|'));

describe('docs/operations.md', () => {
  it('has every admin command', () => {
    for (const { name } of ADMIN_COMMANDS) expect(rows.join('\n')).toMatch(new RegExp(`\`${name}[ \`]`));
  });

  it('has every exit code and no other sysexits code in its table', () => {
    const codes = rows.flatMap((row) => /^\| (\d[\d, ]*) \|/.exec(row)?.[1]?.split(', ') ?? []);
    expect(new Set(codes)).toEqual(new Set([...Object.values(EXIT).map(String), '65', '130', '143']));
  });

  it('has every metric and only real ones', async () => {
    const registry = new MetricRegistry();
    const sampler = new ProcessSampler();
    processMetrics(registry, sampler, '0');
    const stop = systemMetrics(registry, fakeControlPlane());
    await new Promise((resolve) => setImmediate(resolve));
    const real = new Set([...registry.text().matchAll(/^# TYPE (\w+)/gm)].map((match) => match[1]));
    const named = new Set(rows.join('\n').match(/switchyard_\w+/g));
    // Set only where /proc can be read, by a sample later than the first one.
    for (const name of ['switchyard_process_open_fds', 'switchyard_process_max_fds']) real.add(name);
    expect([...named].sort()).toEqual([...real].sort());
    stop();
    sampler.close();
  });

  it('names only conf keys that exist', () => {
    const keysOf = (section: string): Set<string> => {
      const own = allSections().filter((spec) => spec.section === section);
      const typed = allTypes().filter((type) => type.section === section);
      return new Set([...own, ...typed].flatMap(({ keys }) => Object.keys(keys)));
    };
    let seen = 0;
    // `[section] key`, and in the table of limits the further keys behind it.
    for (const row of text.split('\n')) {
      let section: string | undefined;
      const cell = row.startsWith('|') ? (row.split(' | ')[1] ?? '') : row;
      for (const [, named, key = ''] of cell.matchAll(/`(?:\[(\w+)\] )?([a-z_]+)`/g)) {
        section = named ?? (row.startsWith('|') ? section : undefined);
        if (section === undefined) continue;
        expect(keysOf(section), `[${section}] ${key}`).toContain(key);
        seen += 1;
      }
    }
    expect(seen).toBeGreaterThan(40);
  });
});
