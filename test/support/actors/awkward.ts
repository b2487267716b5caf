import { setTimeout as sleep } from 'node:timers/promises';
import type { ActorFactory } from '../../../src/runtime/actor.js';
import type { ConnectionRef } from '../../../src/runtime/ref.js';
import { loopForever } from './hang-loop.js';
import { field, numberOf, typeOf } from './messages.js';

/**
 * Does what is allowed but unusual. Params: `starts` (Int32Array on shared memory) counts the starts; the first one
 * takes `init_ms` or, with `init_loop`, for ever; `stop_ms` is how long `stop` takes; `bad_slot`: `connected` throws for
 * that connection; `spin_us`: a frame takes so long. Messages are named by their type; others are echoed.
 */
export const awkwardActor: ActorFactory = (ctx) => {
  const starts = ctx.params['starts'] as Int32Array | undefined;
  const start = starts === undefined ? 1 : Atomics.add(starts, 0, 1) + 1;
  const spinUs = numberOf(ctx.params, 'spin_us', 0);
  return {
    init: async () => {
      if (start > 1) return;
      if (ctx.params['init_loop'] === true) loopForever();
      await sleep(numberOf(ctx.params, 'init_ms', 0));
    },
    stop: async () => void (await sleep(numberOf(ctx.params, 'stop_ms', 0))),
    connected: (connection) => {
      if (connection.slot === ctx.params['bad_slot']) throw new Error('asked to fail in connected');
    },
    frame: () => {
      for (const end = performance.now() + spinUs / 1000; performance.now() < end;);
    },
    receive: async (body) => {
      switch (typeOf(body)) {
        case 'bulk': {
          const piece = Buffer.alloc(numberOf(body, 'bytes', 65_536));
          const connection = field(body, 'connection') as ConnectionRef;
          for (let i = 0; i < numberOf(body, 'pieces', 1); i++) ctx.send(connection, piece);
          return undefined;
        }
        case 'count':
          ctx.count(String(field(body, 'name')));
          return undefined;
        case 'route':
          ctx.route(String(field(body, 'method')), String(field(body, 'path')));
          return undefined;
        case 'log':
          ctx.log.info('awkward', { nested: { code: () => undefined }, big: { n: 1n } });
          return 'logged';
        case 'start':
          return start;
        case 'sleep':
          return sleep(numberOf(body, 'ms', 50), body);
        case 'after':
          return void ctx.after(numberOf(body, 'ms', 0), 'late');
        default:
          return body;
      }
    },
    request: async ({ path }, response) => {
      const piece = Buffer.alloc(100_000, 'x');
      switch (path) {
        case '/sleep':
          await sleep(300);
          return response.end('slept');
        case '/large-head':
          response.head(200, { 'x-large': 'y'.repeat(100_000) });
          return response.end('whole');
        case '/bad-head':
          response.head(99);
          for (let i = 0; i < 10; i++) await response.write(piece);
          return response.end();
        case '/together':
          await Promise.all(Array.from({ length: 10 }, () => response.write(piece)));
          return response.end();
        case '/never-ended':
          return response.head(200);
        default:
          for (let i = 0; i < 10; i++) await response.write(piece);
          response.end();
      }
    },
  };
};
