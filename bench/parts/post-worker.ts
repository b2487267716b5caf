/** Peer of the bridge bench: sends back whatever it is posted, an object or a transferred buffer. */
import { parentPort } from 'node:worker_threads';

parentPort!.on('message', (message: Uint8Array | { readonly bytes: Uint8Array }) => {
  if (message instanceof Uint8Array) parentPort!.postMessage(message, [message.buffer as ArrayBuffer]);
  else parentPort!.postMessage(message);
});
