/** Writes the result file and prints the table. */
import { mkdirSync, writeFileSync } from 'node:fs';
import type { CaseResult, Sample, Series } from './compare.js';
import { commit, machine } from './machine.js';
import { results } from './paths.js';
import { median, ratio, spread } from './stats.js';

export interface Report {
  readonly bench: string;
  /** Unit of the compared value, e.g. `packets/s`. */
  readonly unit: string;
  /** True when less is better: bytes, milliseconds. */
  readonly lessIsBetter: boolean;
  readonly cases: readonly CaseResult[];
}

/** Thousands apart, three significant digits for small values. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) < 100) return String(Number(value.toPrecision(3)));
  return Math.round(value).toLocaleString('en-US');
}

function optional(samples: readonly Sample[], pick: (sample: Sample) => number | undefined): string {
  const values = samples.map(pick).filter((value) => value !== undefined);
  return values.length > 0 ? figure(median(values)) : '';
}

/** Aligned columns; the first two to the left, figures to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return rows.map(line).join('\n');
}

function values(series: Series): readonly number[] {
  return series.samples.map(({ value }) => value);
}

/** The first contestant of a case is the subject; the ratio columns are subject / this one. */
export function rows(report: Report): readonly (readonly string[])[] {
  const head = ['case', 'contestant', report.unit, 'min', 'max', 'p50 us', 'p99 us', 'server CPU', 'load CPU', 'us CPU each', 'failed',
    'x of medians', 'x of pairs']; // prettier-ignore
  const body = report.cases.flatMap(({ name, series }) =>
    series.map((one, i) => {
      const { median: middle, min, max } = spread(values(one));
      const subject = series[0];
      const compared = i > 0 && subject ? ratio(values(subject), values(one)) : undefined;
      return [
        i === 0 ? name : '',
        one.contestant,
        figure(middle),
        figure(min),
        figure(max),
        optional(one.samples, ({ p50Us }) => p50Us),
        optional(one.samples, ({ p99Us }) => p99Us),
        optional(one.samples, ({ serverCpu }) => serverCpu),
        optional(one.samples, ({ generatorCpu }) => generatorCpu),
        optional(one.samples, ({ serverCpu, value }) => serverCpu && (serverCpu / value) * 1e6),
        String(one.samples.reduce((sum, { failed }) => sum + failed, 0)),
        compared ? compared.ofMedians.toFixed(2) : '',
        compared ? compared.ofPairs.toFixed(2) : '',
      ];
    }),
  );
  return [head, ...body];
}

/** UTC for the file name, to the second: 2026-01-31T235959. */
function stamp(now: Date): string {
  return now.toISOString().slice(0, 19).replaceAll(':', '');
}

/** @returns the path of the result file */
export function publish(report: Report, command: readonly string[], before = machine()): string {
  const { id, dirty } = commit();
  const now = new Date();
  const summary = report.cases.map(({ name, series }) => ({
    case: name,
    contestants: series.map((one, i) => ({
      contestant: one.contestant,
      ...spread(values(one)),
      failed: one.samples.reduce((sum, { failed }) => sum + failed, 0),
      ...(i > 0 && series[0] && { subjectRatio: ratio(values(series[0]), values(one)) }),
    })),
  }));
  const file = `${results}/${report.bench}-${stamp(now)}-${id}.json`;
  mkdirSync(results, { recursive: true });
  const document = {
    bench: report.bench, unit: report.unit, lessIsBetter: report.lessIsBetter, takenAt: now.toISOString(),
    command, commit: id, dirty, machine: before, summary, cases: report.cases,
  }; // prettier-ignore
  writeFileSync(file, `${JSON.stringify(document, null, 1)}\n`);
  console.log(`\n${table(rows(report))}\n\n${file}`);
  const failed = report.cases.flatMap(({ series }) =>
    series.flatMap(({ samples }) => samples.map((s) => s.failed)),
  );
  if (failed.some((count) => count > 0))
    console.log('Runs with failed requests are invalid: find out why before quoting them.');
  return file;
}
