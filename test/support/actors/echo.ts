import type { ActorFactory } from '../../../src/runtime/actor.js';

/** Answers every body with itself and every frame with itself. */
export const echoActor: ActorFactory = (ctx) => ({
  receive: (body) => body,
  frame: (connection, bytes, start, end) => ctx.send(connection, bytes.subarray(start, end)),
  request: (request, response) => {
    response.head(200, { 'content-type': 'text/plain' });
    response.end(`${request.method} ${request.path}?${request.query} ${request.body.toString()}`);
  },
});
