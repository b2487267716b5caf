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

describe('Packets of binary rows', () => {
  const BIG = { columnType: 8, characterSet: 63, flags: 0 } as unknown as FieldPacket;
  const SMALL = { columnType: 2, characterSet: 63, flags: 32 } as unknown as FieldPacket;
  const WHEN = { columnType: 12, characterSet: 63, flags: 0, decimals: 6 } as unknown as FieldPacket;
  /** More than fit into one byte of NULLs. */
  const fields = [BIG, TEXT, SMALL, WHEN, BIG, BIG, SMALL, TEXT, WHEN];
  const tags = fields.map((_, i) => `c${i}`);

  type Cell = readonly [wire: Buffer, text: string] | null;
  const numbered =
    (bytes: number, unsigned: boolean) =>
    (value: bigint): Cell => {
      const wire = Buffer.alloc(8);
      if (unsigned) wire.writeBigUInt64LE(value);
      else wire.writeBigInt64LE(value);
      return [wire.subarray(0, bytes), String(value)];
    };
  const big = fc.option(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(numbered(8, false)));
  const small = fc.option(fc.bigInt({ min: 0n, max: 65_535n }).map(numbered(2, true)));
  const words = fc.option(
    fc.array(hostile, { maxLength: 40 }).map((parts): Cell => {
      const text = parts.join('');
      const bytes = Buffer.from(text);
      const head = bytes.length < 0xfb ? [bytes.length] : [0xfc, bytes.length & 255, bytes.length >> 8];
      return [Buffer.concat([Buffer.from(head), bytes]), text];
    }),
  );
  const when = fc.option(
    fc
      .date({ min: new Date('1000-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
      .map((date): Cell => {
        const wire = Buffer.alloc(12);
        wire[0] = 11;
        wire.writeUInt16LE(date.getUTCFullYear(), 1);
        wire.set([date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()], 3); // prettier-ignore
        wire.writeUInt32LE(date.getUTCMilliseconds() * 1_000, 8);
        return [wire, `${date.toISOString().slice(0, 23).replace('T', ' ')}000`];
      }),
  );
  const rows = fc.array(fc.tuple(big, words, small, when, big, big, small, words, when), { maxLength: 40 });

  function binaryPacket(row: readonly Cell[]): Buffer {
    const nulls = Buffer.alloc((row.length + 9) >> 3);
    row.forEach((cell, i) => {
      const at = (i + 2) >> 3;
      if (cell === null) nulls[at] = (nulls[at] ?? 0) | (1 << ((i + 2) & 7));
    });
    const body = Buffer.concat([Buffer.from([0]), nulls, ...row.flatMap((cell) => (cell ? [cell[0]] : []))]);
    return Buffer.concat([Buffer.from([body.length & 255, body.length >> 8, 0, 1]), body]);
  }

  function taking(batchRows: number, lengths: readonly number[], values: readonly number[]) {
    const batches: XmlBatch[] = [];
    const collector = new XmlCollector({ tags, lengths, escape: true, values }, batchRows);
    const { chunk } = collector.begin(fields, () => batches.push(collector.take()), true);
    if (chunk === undefined) throw new Error('it takes chunks');
    return { chunk, collector, batches };
  }

  it('become row XML wherever they are cut', () => {
    const write = rowXmlWriter(tags);
    fc.assert(
      fc.property(
        rows,
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 7 }),
        fc.constantFrom([], [4, 1_000, 4, 4, 4, 4, 4, 1_000, 4]),
        fc.constantFrom([], [3, 4, 0]),
        (given, cuts, batchRows, lengths, values) => {
          const wire = Buffer.concat([...given.map(binaryPacket), END]);
          const { chunk, collector, batches } = taking(batchRows, lengths, values);
          let rest: Uint8Array | undefined;
          for (let n = 0, at = 0; rest === undefined && at < wire.length; n++) {
            const to = at + (cuts[n % cuts.length] ?? 1);
            rest = chunk(wire.subarray(at, to));
            at = to;
          }
          batches.push(collector.take());
          const texts = given.map((row) => row.map((cell) => cell && cell[1]));
          const cut = texts.map((row) =>
            row.map((text, i) => text && text.slice(0, lengths[i] ?? text.length)),
          );
          expect(Buffer.concat(batches.map(({ bytes }) => bytes)).toString()).toBe(cut.map(write).join(''));
          const read = (text: string | null, i: number) =>
            text === null || i === 3
              ? text
              : Number.isSafeInteger(Number(text))
                ? Number(text)
                : BigInt(text);
          const wanted =
            values.length === 0 ? [] : texts.map((row) => values.map((i) => read(row[i] ?? null, i)));
          expect(batches.flatMap((batch) => batch.values)).toEqual(wanted);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('that say more than they hold are refused', () => {
    const row = [null, null, null, null, null, null, null, null, [Buffer.from([11, 1, 2, 3]), '']] as const;
    const { chunk } = taking(10, [], []);
    expect(() => chunk(Buffer.concat([binaryPacket(row), END]))).toThrow('longer than its packet');
  });

  it('are refused when their columns are not those that were looked at', () => {
    const collector = new XmlCollector({ tags, lengths: [], escape: true, values: [] }, 10);
    const float = { columnType: 5, characterSet: 63, flags: 0 } as unknown as FieldPacket;
    expect(() => collector.begin([BIG, float], () => undefined, true)).toThrow('have changed');
  });
});

it('The compiled code is that of its source: npm run wasm', { timeout: 60_000 }, async () => {
  expect(readFileSync(target, 'utf8')).toBe(await compile());
});
