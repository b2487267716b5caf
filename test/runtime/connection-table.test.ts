import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission, plainAddress } from '../../src/runtime/admission.js';
import { ConnectionTable } from '../../src/runtime/connection-table.js';
import type { ConnectionRef } from '../../src/runtime/ref.js';

interface Entry {
  readonly ref: ConnectionRef;
}
const add = (table: ConnectionTable<Entry>): ConnectionRef => table.add((ref) => ({ ref })).ref;

describe('the table of connections', () => {
  it('uses free slots again, never under a reference that was given out before', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(20), { nil: undefined }), { maxLength: 200 }), (steps) => {
        const table = new ConnectionTable<Entry>();
        const live: ConnectionRef[] = [];
        const seen = new Set<string>();
        let most = 0;
        for (const step of steps) {
          const gone = step === undefined ? undefined : live.splice(step % (live.length + 1), 1)[0];
          if (gone !== undefined) {
            table.remove(gone);
            table.remove(gone);
            expect(table.get(gone.slot, gone.generation)).toBeUndefined();
          } else {
            const ref = add(table);
            const id = `${ref.slot}.${ref.generation}`;
            expect(seen.has(id)).toBe(false);
            seen.add(id);
            live.push(ref);
          }
          most = Math.max(most, live.length);
          expect(table.size).toBe(live.length);
          expect(table.capacity).toBe(most);
          for (const ref of live) expect(table.get(ref.slot, ref.generation)?.ref).toBe(ref);
        }
        expect([...table].map((entry) => entry.ref).sort((a, b) => a.slot - b.slot)).toEqual(
          [...live].sort((a, b) => a.slot - b.slot),
        );
      }),
    );
  });

  it('wraps generations inside a positive int32 and never gives out 0', () => {
    const table = new ConnectionTable<Entry>();
    table.remove(add(table));
    (table as unknown as { generations: number[] }).generations[0] = 0x7fff_fffe;
    const last = add(table);
    expect(last).toEqual({ slot: 0, generation: 0x7fff_ffff });
    table.remove(last);
    expect(add(table)).toEqual({ slot: 0, generation: 1 });
  });
});

describe('admission', () => {
  it('remembers no address that has no connection', () => {
    const admission = new Admission(10, Infinity);
    const limits = { max_connections: 10, max_per_ip: 2 };
    expect(admission.enter('a', 0, limits)).toBeUndefined();
    expect(admission.enter('a', 1, limits)).toBeUndefined();
    expect(admission.enter('a', 2, limits)).toBe('address-full');
    admission.leave('a');
    expect(admission.enter('a', 1, limits)).toBeUndefined();
    admission.leave('a');
    admission.leave('a');
    expect(admission.total).toBe(0);
    expect((admission as unknown as { perAddress: Map<string, number> }).perAddress.size).toBe(0);
  });

  it('names IPv4 clients of an IPv6 socket by their IPv4 address', () => {
    expect(plainAddress('::ffff:10.1.2.3')).toBe('10.1.2.3');
    expect(plainAddress('::1')).toBe('::1');
  });
});
