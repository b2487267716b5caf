/** Conf keys that every actor has, whatever its type: [actor NAME] and [stage NAME]. Pure data. */
import { defineKeys, type ValuesOf } from './schema.js';

export const actorKeys = defineKeys({
  type: {
    type: 'string', required: true, reload: 'child',
    help: 'What it does: a name from the table of actor types (docs/configuration.md lists them)',
  },
  pool: {
    type: 'string', default: 'main', reload: 'process',
    help: 'Worker pool that hosts it; a pool without a section has one worker',
  },
  shards: {
    type: 'int', default: '1', min: 1, max: 256, reload: 'process',
    help: 'Instances that share the work by connection or key; order holds within each',
  },
  mailbox_bytes: {
    type: 'size', default: '1m', min: 262_144, max: 1_073_741_824, reload: 'process',
    help: 'Size of the mailbox of each instance, rounded up to a power of two',
  },
  mailbox_messages: {
    type: 'int', default: '65536', min: 1, max: 16_777_216, reload: 'process',
    help: 'Most messages waiting in the mailbox of each instance',
  },
  mailbox_policy: {
    type: 'enum', values: ['pause-reading', 'reject', 'drop-oldest'], default: 'pause-reading', reload: 'process',
    help: 'When it is full: stop reading from the clients, refuse the message, or drop the oldest waiting one',
  },
  heartbeat: {
    type: 'duration', default: '30s', min: 0, max: 86_400_000, reload: 'child',
    help: 'Longest time without progress on a message before the actor is restarted; 0: not watched',
  },
  idempotent: {
    type: 'bool', default: 'no', reload: 'child',
    help: 'The message whose handling crashed is delivered once more instead of going to the dead letters',
  },
  restart: {
    type: 'enum', values: ['permanent', 'transient', 'temporary'], default: 'permanent', reload: 'child',
    help: 'Restart always, only after a failure, or never',
  },
  start_timeout: {
    type: 'duration', default: '30s', min: 100, max: 3_600_000, reload: 'child',
    help: 'How long the start of an instance may take',
  },
  shutdown: {
    type: 'duration', default: '5s', min: 0, max: 3_600_000, reload: 'child',
    help: 'How long an orderly stop may take before the instance is dropped',
  },
  startup_error: {
    type: 'enum', values: ['error', 'retry'], default: 'error', reload: 'child',
    help: 'When its first start fails: end the process with the error, or go on trying with back-off',
  },
}); // prettier-ignore

export type ActorValues = ValuesOf<typeof actorKeys>;
