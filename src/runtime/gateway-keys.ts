/** Conf keys of the way from HTTP listeners to actors: [http_gateway]. Pure data. */
import { defineKeys, type SectionSpec, type ValuesOf } from './schema.js';

export const gatewayKeys = defineKeys({
  max_requests: {
    type: 'int', default: '10000', min: 1, max: 1_000_000, reload: 'process',
    help: 'Requests under way in actors at once, all HTTP listeners together; more are answered with 503',
  },
  response_timeout: {
    type: 'duration', default: '60s', min: 100, max: 3_600_000, reload: 'process',
    help: 'Longest silence of an actor on a request; then the client gets 504',
  },
}); // prettier-ignore

export type GatewayValues = ValuesOf<typeof gatewayKeys>;

export const gatewaySection: SectionSpec = {
  section: 'http_gateway',
  named: false,
  help: 'Limits of requests that actors answer',
  keys: gatewayKeys,
};
