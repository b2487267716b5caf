import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import type { FieldPacket } from 'mysql2';
import { describe, expect, it } from 'vitest';
import { rowXmlWriter } from '../../src/protocol/rowxml.js';
import type { XmlBatch } from '../../src/store/driver.js';
import { XmlCollector } from '../../src/store/mysql/xml.js';
import { compile, target } from '../support/wasm.mjs';

const TAGS = ['key', 'a_rather_long_name_of_a_column', 'b'];
const TEXT = { columnType: 253, characterSet: 45, flags: 0 } as unknown as FieldPacket;
const NUMBER = { columnType: 8, characterSet: 63, flags: 0 } as unknown as FieldPacket;
const END = Buffer.from([5, 0, 0, 9, 0xfe, 0, 0, 2, 0]);

type Row = readonly (string | null)[];

function packet(row: Row): Buffer {
  const cells = row.map((value) => {
    if (value === null) return Buffer.from([0xfb]);
    const bytes = Buffer.from(value);
    const head = bytes.length < 0xfb ? [bytes.length] : [0xfc, bytes.length & 255, bytes.length >> 8];
    return Buffer.concat([Buffer.from(head), bytes]);
  });
  const body = Buffer.concat(cells);
  return Buffer.concat([Buffer.from([body.length & 255, body.length >> 8, 0, 1]), body]);
}

function reading(batchRows: number, values: readonly number[] = []) {
  const batches: XmlBatch[] = [];
  const collector = new XmlCollector({ tags: TAGS, lengths: [], escape: true, values }, batchRows);
  const { chunk } = collector.begin([NUMBER, TEXT, TEXT], () => batches.push(collector.take()));
  if (chunk === undefined) throw new Error('it takes chunks');
  return { chunk, collector, batches };
}

const hostile = fc.constantFrom('<', '&', '"', "'", '\r', '\n', '\t', '\0', '\x1b', '\ufffe', '\uffff', '\uffef', '亳', '𠮷', 'abcdefghijklmnop', 'x'); // prettier-ignore
const text = fc.option(fc.array(hostile, { maxLength: 60 }).map((parts) => parts.join('')));

describe('Packets of rows', () => {
  it('become row XML wherever they are cut, and what is behind them comes back', () => {
    const write = rowXmlWriter(TAGS);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(text, text), { maxLength: 40 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 7 }),
        (given, cuts, batchRows) => {
          const rows = given.map(([a, b], i) => [String(i), a, b] as const);
          const wire = Buffer.concat([...rows.map(packet), END, Buffer.from('next')]);
          const { chunk, collector, batches } = reading(batchRows, [0, 2]);
          let rest: Uint8Array | undefined;
          let at = 0;
          for (let n = 0; rest === undefined && at < wire.length; n++) {
            const to = at + (cuts[n % cuts.length] ?? 1);
            rest = chunk(wire.subarray(at, to));
            at = to;
          }
          const behind = Buffer.concat([rest ?? Buffer.alloc(0), wire.subarray(at)]);
          expect(behind.toString('latin1')).toBe(END.toString('latin1') + 'next');
          expect(batches.every(({ ends }) => ends.length === batchRows)).toBe(true);
          batches.push(collector.take());
          expect(Buffer.concat(batches.map(({ bytes }) => bytes)).toString()).toBe(rows.map(write).join(''));
          expect(batches.flatMap(({ values }) => values)).toEqual(rows.map(([, , b], i) => [i, b]));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('larger than any buffer so far are taken whole', () => {
    const { chunk, collector } = reading(10);
    const long = '&'.repeat(60_000);
    for (let i = 0; i < 3; i++) expect(chunk(packet([String(i), long, null]))).toBeUndefined();
    const { bytes } = collector.take();
    expect(bytes.toString()).toBe([0, 1, 2].map((i) => rowXmlWriter(TAGS)([i, long, null])).join(''));
  });

  it('of more than 16 MB are left to the library, and so is an error', () => {
    const first = Buffer.from([0xff, 0xff, 0xff, 1, 1, 49]);
    const error = Buffer.from([9, 0, 0, 4, 0xff, 0x25, 5, 35, 52, 48, 48, 48, 49]);
    for (const other of [first, error]) {
      const { chunk, collector } = reading(10);
      expect(chunk(Buffer.concat([packet(['1', 'a', 'b']), other]))).toEqual(other);
      expect(collector.rows).toBe(1);
    }
  });

  it('that say more than they hold are refused', () => {
    const { chunk } = reading(10);
    const lying = packet(['1', 'a', 'b']);
    lying[6] = 200;
    expect(() => chunk(Buffer.concat([lying, packet(['2', 'a', 'b'])]))).toThrow('longer than its packet');
  });
});

it('The compiled code is that of its source: npm run wasm', { timeout: 60_000 }, async () => {
  expect(readFileSync(target, 'utf8')).toBe(await compile());
});
