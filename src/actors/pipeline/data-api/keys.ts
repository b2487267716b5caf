/** Conf keys of the actor `data-api`. Pure data. */
import { defineKeys, type ValuesOf } from '../../../runtime/schema.js';

export const dataApiKeys = defineKeys({
  store: {
    type: 'secret', default: 'sqlite:var/data.db', reload: 'child', aliases: ['connstr'],
    help: 'URL of the database with the data and with T_USERINFO, T_INTERCFG and T_USERANDINTER',
  },
  route: {
    type: 'string', default: '/api', reload: 'child',
    help: 'Path that is answered; a path that ends with /* answers everything below it',
  },
  query_form: {
    type: 'bool', default: 'yes', reload: 'child',
    help: 'Accept username and passwd in the URL, as the reference clients send them; no: only the Authorization header',
  },
  max_requests: {
    type: 'int', default: '64', min: 1, max: 10_000, reload: 'child',
    help: 'Requests under way at once; more are answered with 503',
  },
  row_limit: {
    type: 'int', default: '100000', min: 1, max: 100_000_000, reload: 'child',
    help: 'Most rows of one answer; a longer one is cut and says so',
  },
  statement_timeout: {
    type: 'duration', default: '30s', min: 100, max: 3_600_000, reload: 'child',
    help: 'Longest wait for the next rows of a statement',
  },
  client_timeout: {
    type: 'duration', default: '60s', min: 1_000, max: 3_600_000, reload: 'child',
    help: 'Longest wait for a client that does not take its rows',
  },
  verified_ttl: {
    type: 'duration', default: '5m', min: 0, max: 86_400_000, reload: 'child',
    help: 'How long a password that was checked need not be checked again',
  },
  max_failures: {
    type: 'int', default: '20', min: 1, max: 1_000_000, reload: 'child',
    help: 'Wrong passwords of one client address within a minute; then it is refused unchecked',
  },
  call_log: {
    type: 'bool', default: 'yes', reload: 'child',
    help: 'Write each answered call to T_USERLOG',
  },
  call_log_days: {
    type: 'int', default: '30', min: 1, max: 36_500, reload: 'child',
    help: 'Days a call stays in T_USERLOG',
  },
  demo: {
    type: 'bool', default: 'no', reload: 'child',
    help: 'Make the demo user and four sample interfaces when they are missing',
  },
  demo_user: {
    type: 'string', default: 'demo', reload: 'child',
    help: 'Name of the demo user',
  },
  demo_password: {
    type: 'secret', reload: 'child',
    help: 'Password of the demo user, needed with demo = yes',
  },
}); // prettier-ignore

export type DataApiValues = ValuesOf<typeof dataApiKeys>;
