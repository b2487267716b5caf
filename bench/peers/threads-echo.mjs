// The bare echo with several threads that accept from one listening descriptor: what more reactor threads could bring.
// Usage: threads-echo.mjs PORT THREADS
import { createServer } from 'node:net';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

function echo(where) {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('data', (bytes) => socket.write(bytes));
    socket.on('error', () => socket.destroy());
  });
  server.listen(where);
  return server;
}

if (isMainThread) {
  const [, , port, threads] = process.argv;
  const server = echo({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
  server.on('listening', () => {
    // Node has no public way to the descriptor; a bench may look.
    for (let n = 1; n < Number(threads); n++)
      new Worker(new URL(import.meta.url), { workerData: server._handle.fd });
  });
} else {
  echo({ fd: workerData });
}
