/** Invented observations as files of row XML and as tab text, the same in every run. */
import { rowXmlWriter } from '../../src/protocol/rowxml.js';
import { tabLine } from '../../src/protocol/tab-text.js';
import { OBSERVATION_COLUMNS } from './database.js';

type Row = readonly (string | number | null)[];

const RANGES = [600, 1_500, 101, 360, 400, 300, 300_000];

/** 1,000 stations, minute after minute; one value in 29 is missing. */
function observation(seq: number): Row {
  const minute = Math.floor(seq / 1_000);
  const time = new Date(Date.UTC(2024, 0, 1) + minute * 60_000).toISOString();
  // A few rounds of a linear congruence: nothing compresses or caches too well.
  let state = (seq * 2_654_435_761) >>> 0;
  const values = RANGES.map((range) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % 29 === 0 ? null : state % range;
  });
  return [`5${8_000 + (seq % 1_000)}`, time, ...values];
}

const write = rowXmlWriter([...OBSERVATION_COLUMNS, 'keyid']);

/** As the stage `extract` writes it. */
export function observationFile(from: number, rows: number): Buffer {
  let text = '<data>\n';
  for (let seq = from; seq < from + rows; seq++) {
    const [id = '', time = '', ...values] = observation(seq);
    text += write([id, String(time).slice(0, 19).replace(/\D/g, ''), ...values, seq + 1]);
  }
  return Buffer.from(`${text}</data>\n`);
}

/** The same rows for the bulk loads of databases. */
export function observationTab(from: number, rows: number): Buffer {
  let text = '';
  for (let seq = from; seq < from + rows; seq++) {
    const [id = '', time = '', ...values] = observation(seq);
    text += tabLine([id, String(time).slice(0, 19).replace('T', ' '), ...values]);
  }
  return Buffer.from(text);
}
