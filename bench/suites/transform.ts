/**
 * Files of foreign formats into row XML by the stage `transform`, fsync and exactly-once included, against Python's csv and json
 * modules (C) doing the same, and for CSV against awk, which neither unquotes nor escapes.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as stage from '../../src/actors/pipeline/transform.js';
import { inTemporaryFolder, type CaseResult, type Sample, type Series } from '../lib/compare.js';
import type { BenchOptions } from '../lib/options.js';
import { root } from '../lib/paths.js';
import type { Report } from '../lib/report.js';
import { runStage } from '../lib/stage.js';

const ROWS = 1_000_000;
const QUICK_ROWS = 200_000;
const NAMES = ['obtid', 'ddatetime', 't', 'p', 'u', 'wd', 'wf', 'r', 'vis'];
const HEADER = '站点代码,数据时间,气温,气压,相对湿度,风向,风速,降雨量,能见度';
const RENAMED = NAMES.map((name, i) => `${name}:$${i + 1}`).join(', ');
/** Units of the tables, and a check of every value. */
const MAPPING = `[columns]
obtid = 站点代码
ddatetime = 数据时间
${['气温', '气压', '相对湿度', '风向', '风速', '降雨量', '能见度'].map((name, i) => `${NAMES[i + 2]} = shift(\`${name}\`, 1)`).join('\n')}
[checks]
obtid = required length=5
ddatetime = required date
${NAMES.slice(2)
  .map((name) => `${name} = int min=-1000 max=1000000`)
  .join('\n')}
`;

function csvRows(count: number): string {
  const lines = [HEADER];
  for (let i = 0; i < count; i++) {
    const minute = String(i % 60).padStart(2, '0');
    const values = [i % 350, 10_000 + (i % 264), i % 101, i % 360, i % 150, i % 16, 100_000 + (i % 5_000)];
    lines.push(
      `${50_000 + (i % 10_000)},202307061${i % 10}${minute}00,${values.map((value) => (value / 10).toFixed(1)).join(',')}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function ndjsonRows(csv: string): string {
  const objects = csv
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => {
      const values = line.split(',');
      return `{${NAMES.map((name, i) => `"${name}":"${values[i]}"`).join(',')}}`;
    });
  return `${objects.join('\n')}\n`;
}

const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

interface Measured {
  readonly sample: Sample;
  readonly out: string;
}

class Bench {
  constructor(
    private readonly dir: string,
    private readonly rows: number,
  ) {}

  async ours(file: string, written: Readonly<Record<string, string>>): Promise<Measured> {
    const [inbox, out] = [join(this.dir, 'in'), join(this.dir, 'out')];
    for (const folder of [inbox, out]) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
    }
    copyFileSync(join(this.dir, file), join(inbox, file));
    const given: Readonly<Record<string, string>> = { path: inbox, out, ...written };
    const { seconds, cpu, counts } = await runStage(stage, given);
    const failed = counts.rowsOut === this.rows ? 0 : 1;
    const rssMb = Math.round(process.memoryUsage.rss() / 2 ** 20);
    const bytes = statSync(join(this.dir, file)).size;
    const detail = { seconds, cpu, rssMb, bytes };
    return {
      sample: { value: this.rows / seconds, failed, detail },
      out: join(out, readdirSync(out)[0] ?? ''),
    };
  }

  /** @param wanted hash of what must come out; undefined: not compared */
  peer(command: string, args: readonly string[], out: string, wanted: string | undefined): Sample {
    rmSync(out, { force: true });
    const began = performance.now();
    const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
    const seconds = (performance.now() - began) / 1000;
    if (status !== 0) throw new Error(`${command}: ${stderr}`);
    const failed = wanted === undefined || hash(out) === wanted ? 0 : 1;
    return { value: this.rows / seconds, failed, detail: { seconds } };
  }
}

function has(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args).status === 0;
}

interface Case {
  readonly name: string;
  readonly file: string;
  readonly params: Readonly<Record<string, string>>;
  /** Kind that the Python peer reads. */
  readonly python?: 'csv' | 'ndjson';
  readonly awk?: boolean;
}

async function measure(bench: Bench, dir: string, one: Case, rounds: number): Promise<CaseResult> {
  const series: Record<string, Sample[]> = { 'stage transform': [] };
  const { python, awk } = one;
  const add = (name: string, sample: Sample): void => void (series[name] ??= []).push(sample);
  const tags = NAMES.map((name, i) => `"<${name}>" $${i + 1} "</${name}>"`).join(' ');
  const program = `BEGIN { FS = ","; print "<data>" } NR > 1 { print ${tags} "<endl/>" } END { print "</data>" }`;
  for (let round = 1; round <= rounds; round++) {
    process.stderr.write(`${one.name}: round ${round} of ${rounds}\n`);
    const { sample, out } = await bench.ours(one.file, one.params);
    add('stage transform', sample);
    const [source, target, wanted] = [join(dir, one.file), join(dir, 'peer.xml'), hash(out)];
    if (python !== undefined && has('python3', ['--version'])) {
      const args = [join(root, 'bench/peers/to-rowxml.py'), python, source, target];
      add(`python3 ${python === 'csv' ? 'csv' : 'json'}`, bench.peer('python3', args, target, wanted));
    }
    if (awk === true && has('awk', ['BEGIN { exit 0 }'])) {
      const args = ['-c', 'awk "$0" "$1" > "$2" && sync "$2"', program, source, target];
      add('awk', bench.peer('sh', args, target, wanted));
    }
  }
  const all: Series[] = Object.entries(series).map(([contestant, samples]) => ({ contestant, samples }));
  return { name: one.name, series: all };
}

export async function transform(options: BenchOptions): Promise<Report> {
  return inTemporaryFolder(async (dir) => {
    const rows = options.seconds < 5 ? QUICK_ROWS : ROWS;
    const csv = csvRows(rows);
    writeFileSync(join(dir, 'a.csv'), csv);
    writeFileSync(join(dir, 'a.csv.gz'), gzipSync(csv));
    writeFileSync(join(dir, 'a.ndjson'), ndjsonRows(csv));
    writeFileSync(join(dir, 'x.map'), MAPPING);
    const cases: readonly Case[] = [
      { name: 'csv, renamed', file: 'a.csv', params: { columns: RENAMED }, python: 'csv', awk: true },
      { name: 'csv.gz, renamed', file: 'a.csv.gz', params: { columns: RENAMED } },
      { name: 'csv, computed and checked', file: 'a.csv', params: { mapping: join(dir, 'x.map') } },
      { name: 'ndjson', file: 'a.ndjson', params: {}, python: 'ndjson' },
    ];
    const bench = new Bench(dir, rows);
    const results: CaseResult[] = [];
    for (const one of cases) results.push(await measure(bench, dir, one, options.rounds));
    return { bench: 'transform', unit: 'rows/s', lessIsBetter: false, cases: results };
  });
}
