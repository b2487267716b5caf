import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { A, B, COUNT, KIND, Kind } from '../../src/runtime/record.js';
import { createRing, ringCapacity, RingReader, RingWriter, Word } from '../../src/runtime/ring.js';

const CAPACITY = 1024;

function pair(capacity = CAPACITY): { writer: RingWriter; reader: RingReader } {
  const memory = createRing(capacity);
  return { writer: new RingWriter(memory), reader: new RingReader(memory) };
}

/** Takes every record: [kind, a, payload as latin1]. */
function take(reader: RingReader): [number, number, string][] {
  const out: [number, number, string][] = [];
  for (let at = reader.peek(); at >= 0; at = reader.peek()) {
    out.push([reader.int32[at + KIND]!, reader.int32[at + A]!, reader.payload(at).toString('latin1')]);
    reader.advance(at);
  }
  reader.release();
  return out;
}

describe('a ring', () => {
  it('gives records back in order and unchanged', () => {
    const { writer, reader } = pair();
    writer.append(Kind.TELL, 1, 7, 8, 0, 0, Buffer.from('first'));
    writer.append(Kind.ASK, 1, 9, 0, 0, 0, Buffer.from('second'));
    expect(take(reader)).toEqual([
      [Kind.TELL, 7, 'first'],
      [Kind.ASK, 9, 'second'],
    ]);
    expect(reader.empty).toBe(true);
  });

  it('refuses what does not fit and takes it after a release', () => {
    const { writer, reader } = pair();
    const half = Buffer.alloc(480, 'x');
    expect(writer.append(Kind.TELL, 1, 1, 0, 0, 0, half)).toBe(true);
    expect(writer.append(Kind.TELL, 1, 2, 0, 0, 0, half)).toBe(true);
    expect(writer.append(Kind.TELL, 1, 3, 0, 0, 0, half)).toBe(false);
    take(reader);
    expect(writer.append(Kind.TELL, 1, 3, 0, 0, 0, half)).toBe(true);
    expect(take(reader)).toEqual([[Kind.TELL, 3, half.toString()]]);
  });

  it('keeps the asked reserve free', () => {
    const { writer } = pair();
    expect(writer.append(Kind.TELL, 1, 1, 0, 0, 0, Buffer.alloc(600), 0, 600, 512)).toBe(false);
    expect(writer.append(Kind.TELL, 1, 1, 0, 0, 0, Buffer.alloc(400), 0, 400, 512)).toBe(true);
  });

  it('collects replies to one address into one record and starts another for the next address', () => {
    const { writer, reader } = pair(65_536);
    for (const text of ['a', 'b', 'c']) writer.extend(Kind.FRAMES, 1, 1, 0, Buffer.from(text), 256);
    writer.extend(Kind.FRAMES, 2, 1, 0, Buffer.from('d'), 256);
    writer.flush();
    const at = reader.peek();
    expect([reader.int32[at + COUNT], reader.int32[at + B]]).toEqual([3, 1]);
    expect(take(reader)).toEqual([
      [Kind.FRAMES, 1, 'abc'],
      [Kind.FRAMES, 2, 'd'],
    ]);
  });

  it('hands over the open record of a producer that died', () => {
    const { writer, reader } = pair(65_536);
    writer.append(Kind.TELL, 1, 5, 0, 0, 0, Buffer.from('closed'));
    writer.extend(Kind.FRAMES, 1, 1, 0, Buffer.from('open-1 '), 256);
    writer.extend(Kind.FRAMES, 1, 1, 0, Buffer.from('open-2'), 256);
    expect(take(reader)).toHaveLength(1); // the open record is not visible yet
    reader.recoverOpen();
    expect(take(reader)).toEqual([[Kind.FRAMES, 1, 'open-1 open-2']]);
    reader.recoverOpen();
    expect(take(reader)).toEqual([]);
  });

  it('goes on where a reader of the same memory stopped', () => {
    const { writer, reader } = pair();
    for (let i = 0; i < 4; i++) writer.append(Kind.TELL, 1, i, 0, 0, 0, undefined);
    reader.advance(reader.peek());
    reader.release();
    expect(take(new RingReader(reader.memory)).map(([, a]) => a)).toEqual([1, 2, 3]);
  });

  it('survives the wrap of its 32-bit positions', () => {
    const memory = createRing(CAPACITY);
    const words = new Int32Array(memory, 0, 32);
    words[Word.WRITE] = words[Word.READ] = 0x7fffff00;
    const writer = new RingWriter(memory);
    const reader = new RingReader(memory);
    for (let i = 0; i < 100; i++) {
      expect(writer.append(Kind.TELL, 1, i, 0, 0, 0, Buffer.alloc(90, i))).toBe(true);
      expect(take(reader)).toEqual([[Kind.TELL, i, Buffer.alloc(90, i).toString('latin1')]]);
    }
    expect(words[Word.WRITE]).toBeLessThan(0);
  });

  it('keeps every record whatever the order of writes, reads and sizes', () => {
    const step = fc.oneof(
      fc.record({ write: fc.integer({ min: 0, max: 480 }) }),
      fc.record({ extend: fc.integer({ min: 1, max: 60 }), address: fc.integer({ min: 1, max: 2 }) }),
      fc.constant('read' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { writer, reader } = pair();
        let sent = '';
        let got = '';
        let next = 33;
        for (const one of steps) {
          if (one === 'read') {
            writer.flush();
            got += take(reader)
              .map(([, , text]) => text)
              .join('');
            continue;
          }
          const bytes = Buffer.alloc(
            'write' in one ? one.write : one.extend,
            (next = next === 126 ? 33 : next + 1),
          );
          const done =
            'write' in one
              ? writer.append(Kind.TELL, 1, 0, 0, 0, 0, bytes)
              : writer.extend(Kind.FRAMES, one.address, 0, 0, bytes, 100);
          if (done) sent += bytes.toString('latin1');
        }
        writer.flush();
        got += take(reader)
          .map(([, , text]) => text)
          .join('');
        expect(got).toBe(sent);
      }),
      { numRuns: 300 },
    );
  });

  it('rounds capacities up to a power of two and refuses others', () => {
    expect([1, 1024, 1025, 5_000_000].map(ringCapacity)).toEqual([1024, 1024, 2048, 8_388_608]);
    expect(() => createRing(1000)).toThrow(RangeError);
  });
});
