import type { ActorFactory } from '../../../src/runtime/actor.js';
import { typeOf } from './messages.js';

/**
 * `{ type: 'leak' }`: keeps objects on the JavaScript heap until the thread's resourceLimits end it (the limits do not
 * count Buffers, so none are used). Else echoes.
 */
export const leakActor: ActorFactory = () => {
  const kept: unknown[] = [];
  return {
    receive: (body) => {
      if (typeOf(body) !== 'leak') return body;
      for (;;) kept.push(Array.from({ length: 1_000 }, (_, index) => ({ index })));
    },
  };
};
