/** How plain data becomes the payload of a record: the structured clone's own format. Any thread. */
import { deserialize, serialize } from 'node:v8';

const EMPTY = new Uint8Array(0);

/** @throws DataCloneError for functions, sockets and other things that are not plain data. */
export function encodePayload(value: unknown): Uint8Array {
  return value === undefined ? EMPTY : serialize(value);
}

/** Copies: the result does not refer to `bytes`. */
export function decodePayload(bytes: Uint8Array): unknown {
  // v8 keeps views into the given buffer for nested buffers, and ring memory is about to be reused.
  return bytes.length === 0 ? undefined : deserialize(Buffer.from(bytes));
}

let nextExternal = 0;

/** Id of a payload that travels beside a ring; unique among all that the main thread sends. Main thread. */
export function newExternalId(): number {
  nextExternal = (nextExternal % 0x7fffffff) + 1;
  return nextExternal;
}
