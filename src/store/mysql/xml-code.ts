/** The compiled code of xml-rows.as.ts, one module for each thread and one instance for each stream. */
import { XML_ROWS } from './xml-rows-wasm.js';

interface Variable {
  readonly value: number;
}

/** What xml-rows.as.ts exports, and documents. */
export interface XmlCode {
  readonly memory: WasmMemory;
  readonly rows: Variable;
  readonly bytes: Variable;
  readonly needed: Variable;
  readonly why: Variable;
  layOut(
    columns: number,
    columnTable: number,
    tagBytes: number,
    cellTable: number,
    cells: number,
    endTable: number,
    mostRows: number,
    binary: boolean,
  ): void;
  begin(from: number, to: number, fullBytes: number): void;
  take(from: number, to: number): number;
  row(from: number, to: number): number;
}

/** Why `take` came back. */
export const enum Why {
  More,
  Full,
  Other,
  Room,
}

interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

/** As far as it is used here; Node's types leave it to those of browsers. */
declare const WebAssembly: {
  readonly Module: new (code: Uint8Array) => object;
  readonly Memory: new (size: { readonly initial: number }) => WasmMemory;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
};

let module: object | undefined;

export function instantiate(): XmlCode {
  module ??= new WebAssembly.Module(Buffer.from(XML_ROWS, 'base64'));
  const memory = new WebAssembly.Memory({ initial: 1 });
  return new WebAssembly.Instance(module, { env: { memory } }).exports as XmlCode;
}
