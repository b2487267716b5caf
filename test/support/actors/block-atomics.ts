import type { ActorFactory } from '../../../src/runtime/actor.js';
import { numberOf, typeOf } from './messages.js';

/** `{ type: 'block', ms? }`: parks the thread in Atomics.wait, for ever without `ms`. Else echoes. */
export const blockAtomicsActor: ActorFactory = () => {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  return {
    receive: (body) => {
      if (typeOf(body) !== 'block') return body;
      return Atomics.wait(cell, 0, 0, numberOf(body, 'ms', Number.POSITIVE_INFINITY));
    },
  };
};
