import { describe, expect, it } from 'vitest';
import { StoreError } from '../../src/store/driver.js';
import { TabChunks } from '../../src/store/mysql/tab-chunks.js';
import { Watched } from '../support/garbage.js';

async function textOf(pieces: AsyncIterable<Buffer>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece.toString();
  return text;
}

describe('tab text for the server', () => {
  it('comes in parts of whole rows, wherever it was cut', async () => {
    const source = new TabChunks(['a\tb\nc', '\td\ne\tf\ng', '\th'].map((text) => Buffer.from(text)));
    expect(await textOf(source.part(2))).toBe('a\tb\nc\td\n');
    expect(source.rowsOfPart).toBe(2);
    expect(await textOf(source.part(2))).toBe('e\tf\ng\th');
    expect(source.rowsOfPart).toBe(2);
    source.check();
  });

  it('is not kept once it was sent, however long the load takes', async () => {
    const chunks = new Watched<Uint8Array>();
    const source = new TabChunks(
      (async function* () {
        for (let i = 0; i < 100; i++) yield chunks.add(Buffer.from(`row ${i}\n`));
      })(),
    );
    let alive = 0;
    for (;;) {
      let bytes = 0;
      for await (const piece of source.part(10)) bytes += piece.length;
      if (chunks.seen === 100) alive ||= await chunks.alive();
      if (bytes === 0) break;
    }
    // Those at hand.
    expect(alive).toBeLessThan(4);
  });

  it('ends when it is stopped, though its source brings nothing', async () => {
    const source = new TabChunks(
      (async function* (): AsyncGenerator<Uint8Array> {
        yield Buffer.from('a\n');
        await new Promise(() => undefined);
      })(),
    );
    const text = textOf(source.part(5));
    setImmediate(() => source.stop(new StoreError('TIMEOUT', 'too long')));
    expect(await text).toBe('a\n');
    expect(() => source.check()).toThrow('too long');
    source.close();
  });
});
