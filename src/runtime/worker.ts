/** Entry of every worker thread: connects the port to the host. */
import { parentPort, workerData } from 'node:worker_threads';
import { Host } from './host.js';
import type { ToWorker, WorkerSetup } from './thread-messages.js';

if (parentPort === null) throw new Error('worker.js is a thread entry; start dist/main.js');

const host = new Host(parentPort, workerData as WorkerSetup);
parentPort.on('message', (message: ToWorker) => host.receive(message));
host.post({ type: 'online' });
