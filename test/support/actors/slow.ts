import { setTimeout as sleep } from 'node:timers/promises';
import type { ActorFactory } from '../../../src/runtime/actor.js';
import { numberOf } from './messages.js';

/**
 * Takes `body.ms` (else param `delay_ms`, else 50) milliseconds per message and then answers the body. With
 * `body.steps` the time is cut into so many parts and progress is reported after each.
 */
export const slowActor: ActorFactory = (ctx) => {
  const delayMs = numberOf(ctx.params, 'delay_ms', 50);
  return {
    receive: async (body) => {
      const steps = Math.max(1, numberOf(body, 'steps', 1));
      for (let step = 0; step < steps; step += 1) {
        await sleep(numberOf(body, 'ms', delayMs) / steps);
        if (steps > 1) ctx.progress();
      }
      return body;
    },
    frame: async (connection, bytes, start, end) => {
      const frame = bytes.subarray(start, end);
      await sleep(delayMs);
      ctx.send(connection, frame);
    },
  };
};
