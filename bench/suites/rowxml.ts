/** One part alone: row XML into checked tab text, on one thread, against the reader that makes strings of the values. */
import { RowXmlReader } from '../../src/protocol/rowxml.js';
import { RowXmlTab } from '../../src/protocol/rowxml-tab.js';
import { tabLine } from '../../src/protocol/tab-text.js';
import type { TabColumn } from '../../src/protocol/tab-writer.js';
import { OBSERVATION_COLUMNS } from '../lib/database.js';
import type { Sample } from '../lib/compare.js';
import { observationFile } from '../lib/observations.js';
import type { BenchOptions } from '../lib/options.js';
import type { Report } from '../lib/report.js';

const ROWS = 1_000;

const columns: readonly TabColumn[] = OBSERVATION_COLUMNS.map((tag, i) => ({
  tag,
  kind: i === 0 ? 'text' : i === 1 ? 'date' : 'integer',
  length: i === 0 ? 10 : undefined,
  scale: undefined,
  nullable: i > 1,
}));

function timed(options: BenchOptions, turn: () => number): Sample {
  const until = (end: number): number => {
    let rows = 0;
    while (performance.now() < end) rows += turn();
    return rows;
  };
  until(performance.now() + options.warmup * 1000);
  const start = performance.now();
  const rows = until(start + options.seconds * 1000);
  const seconds = (performance.now() - start) / 1000;
  return { value: rows / seconds, failed: 0, detail: { rows, seconds } };
}

function throughTab(options: BenchOptions, bytes: Buffer): Sample {
  let bad = 0;
  const parser = new RowXmlTab(columns, () => bad++);
  const sample = timed(options, () => {
    parser.reset();
    parser.push(bytes);
    parser.end();
    return parser.rows;
  });
  return { ...sample, failed: bad };
}

function throughStrings(options: BenchOptions, bytes: Buffer): Sample {
  let text = '';
  let bad = 0;
  const sample = timed(options, () => {
    let rows = 0;
    text = '';
    const reader = new RowXmlReader(OBSERVATION_COLUMNS, {
      row: (values) => {
        rows++;
        text += tabLine(values.map((value) => (value === '' ? undefined : value)));
      },
      bad: () => bad++,
    });
    reader.push(bytes.toString());
    reader.end();
    Buffer.from(text);
    return rows;
  });
  return { ...sample, failed: bad };
}

export async function rowxml(options: BenchOptions): Promise<Report> {
  const bytes = observationFile(0, ROWS);
  const tab: Sample[] = [];
  const strings: Sample[] = [];
  for (let round = 0; round < options.rounds; round++) {
    tab.push(throughTab(options, bytes));
    strings.push(throughStrings(options, bytes));
  }
  const series = [
    { contestant: 'bytes to bytes', samples: tab },
    { contestant: 'by strings', samples: strings },
  ];
  const name = `files of ${ROWS} rows, ${Math.round(bytes.length / ROWS)} B a row`;
  return { bench: 'rowxml', unit: 'rows/s', lessIsBetter: false, cases: [{ name, series }] };
}
