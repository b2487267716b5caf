import { setTimeout as sleep } from 'node:timers/promises';
import type { ActorFactory } from '../../../src/runtime/actor.js';
import { loopForever } from './hang-loop.js';
import { codeOf, field, typeOf } from './messages.js';

/** What a frame with the code, or a message of the type, does. All others are answered at once. */
export const Erratic = { PROMISE: 2, TIMER: 3, THROW: 4, REJECT: 5, LOOP: 6, HANG: 7, EXIT: 8 } as const;

/** Echoes frames to their connection, tells `{ n }` of a message to the service `heard`, answers asks with their body. */
export const erraticActor: ActorFactory = (ctx) => {
  const act = (code: number, answer: () => void): void | Promise<void> => {
    switch (code) {
      case Erratic.PROMISE:
        return Promise.resolve().then(answer);
      case Erratic.TIMER:
        return sleep(2).then(answer);
      case Erratic.THROW:
        throw new Error('asked to throw');
      case Erratic.REJECT:
        return sleep(1).then(() => Promise.reject(new Error('asked to reject')));
      case Erratic.LOOP:
        return loopForever();
      case Erratic.HANG:
        return new Promise<never>(() => undefined);
      case Erratic.EXIT:
        return process.exit(1);
      default:
        return answer();
    }
  };
  return {
    frame: (connection, bytes, start, end) => {
      const frame = Buffer.from(bytes.subarray(start, end));
      return act(codeOf(frame), () => ctx.send(connection, frame));
    },
    receive: (body) => {
      const code = Number(field(body, 'code'));
      if (typeOf(body) === 'ask') return Promise.resolve(act(code, () => undefined)).then(() => body);
      return act(code, () => ctx.tell('heard', { by: ctx.self, n: field(body, 'n') }));
    },
  };
};
