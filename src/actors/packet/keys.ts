/** Conf keys of an actor of type `packet`. Pure data. */
import { defineKeys, type ValuesOf } from '../../runtime/schema.js';

export const packetKeys = defineKeys({
  store: {
    type: 'secret', default: 'sqlite:var/accounts.db', reload: 'child',
    help: 'Database of the accounts',
  },
  lock_after: {
    type: 'int', default: '10', min: 1, max: 1_000_000, reload: 'child',
    help: 'Failed logins in a row that lock an account',
  },
  lock_time: {
    type: 'duration', default: '30m', min: 1_000, max: 31_536_000_000, reload: 'child',
    help: 'How long a locked account stays locked',
  },
  connection_failures: {
    type: 'int', default: '10', min: 0, max: 1_000_000, reload: 'child',
    help: 'Failed logins and registrations in a row after which a connection is closed; 0: never',
  },
  min_password: {
    type: 'int', default: '6', min: 1, max: 39, reload: 'child',
    help: 'Characters a new password needs at least',
  },
  hash_cost: {
    type: 'int', default: '15', min: 10, max: 18, reload: 'child',
    help: 'Work of a password check: log2 of the N of scrypt; 15 takes 32 MB and about 0.1 s',
  },
  hash_concurrency: {
    type: 'int', default: '2', min: 1, max: 64, reload: 'child',
    help: 'Password checks under way at once in each instance',
  },
  hash_waiting: {
    type: 'int', default: '256', min: 0, max: 100_000, reload: 'child',
    help: 'Password checks that may wait; a client beyond is closed, to try again',
  },
  connection_pending: {
    type: 'int', default: '400', min: 1, max: 100_000, reload: 'child',
    help: 'Packets of one connection that may wait behind its login; one more closes it',
  },
  total_pending: {
    type: 'int', default: '10000', min: 1, max: 10_000_000, reload: 'child',
    help: 'The same for all connections of an instance together',
  },
}); // prettier-ignore

export type PacketValues = ValuesOf<typeof packetKeys>;
