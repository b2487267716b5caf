import { describe, expect, it } from 'vitest';
import { entryUrl } from '../../src/runtime/entry.js';

describe('entryUrl', () => {
  it('stays beside the caller when the caller is compiled', () => {
    expect(entryUrl('./worker.js', 'file:///app/dist/runtime/system.js').href).toBe(
      'file:///app/dist/runtime/worker.js',
    );
  });

  it('points to the build when the caller is a source file', () => {
    expect(entryUrl('./worker.js', 'file:///app/src/runtime/system.ts').href).toBe(
      'file:///app/dist/runtime/worker.js',
    );
    expect(entryUrl('../store/a.ts', 'file:///app/src/runtime/system.ts').href).toBe(
      'file:///app/dist/store/a.js',
    );
  });

  it('is not misled by a folder named src above the project', () => {
    expect(entryUrl('./worker.js', 'file:///usr/src/app/src/runtime/system.ts').href).toBe(
      'file:///usr/src/app/dist/runtime/worker.js',
    );
  });
});
