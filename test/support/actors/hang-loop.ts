import type { ActorFactory } from '../../../src/runtime/actor.js';
import { codeOf, FAULT_CODE, typeOf } from './messages.js';

/** Never returns. Its name is what a stack sample of the stuck thread must show. */
export function loopForever(): never {
  let turns = 0;
  for (;;) turns = (turns + 1) % 1_000_003;
}

/** Backtracks for longer than any test lasts. */
export function runawayRegex(): boolean {
  return /^(a+)+$/.test(`${'a'.repeat(60)}!`);
}

/**
 * `{ type: 'hang' }` or a frame with code 99: endless loop; `{ type: 'regex' }`: a runaway regular expression.
 * Everything else is echoed.
 */
export const hangLoopActor: ActorFactory = (ctx) => ({
  receive: (body) => {
    if (typeOf(body) === 'hang') loopForever();
    if (typeOf(body) === 'regex') return runawayRegex();
    return body;
  },
  frame: (connection, bytes, start, end) => {
    const frame = bytes.subarray(start, end);
    if (codeOf(frame) === FAULT_CODE) loopForever();
    ctx.send(connection, frame);
  },
});
