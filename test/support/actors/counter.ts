import type { ActorFactory } from '../../../src/runtime/actor.js';
import { codeOf, typeOf } from './messages.js';

/**
 * Remembers what it was given, in order: bodies, and the body of each frame (bytes after the 8-byte header) as
 * `{ connection, code, text }`. `{ type: 'list' }` answers the list, `{ type: 'size' }` its length; both are not kept.
 */
export const counterActor: ActorFactory = () => {
  const seen: unknown[] = [];
  return {
    receive: (body) => {
      if (typeOf(body) === 'list') return seen;
      if (typeOf(body) === 'size') return seen.length;
      seen.push(body);
      return seen.length;
    },
    frame: (connection, bytes, start, end) => {
      const frame = bytes.subarray(start, end);
      seen.push({ connection, code: codeOf(frame), text: frame.toString('latin1', 8) });
    },
  };
};
