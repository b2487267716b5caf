/** The smallest actor: every frame goes back as it came. Loaded by the worker of the bridge bench. */
import type { ActorFactory } from '../../src/runtime/actor.js';

export const echo: ActorFactory = (ctx) => ({
  frame: (connection, bytes, start, end) => ctx.send(connection, bytes.subarray(start, end)),
});
