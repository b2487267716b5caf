/**
 * Conf keys of framed listeners and of the reactor they share: [listener NAME], [reactor]. Aliases are the
 * packet server's nginx.conf names (spec packet-server 9). Pure data.
 */
import { defineKeys, type SectionSpec, type ValuesOf } from './schema.js';

const DAY = 86_400_000;

export const listenerKeys = defineKeys({
  protocol: {
    type: 'string', required: true, reload: 'child',
    help: 'Protocol spoken on this listener, for example packet',
  },
  address: {
    type: 'address', required: true, reload: 'child',
    help: 'Where to listen: port (every address, IPv4 and IPv6), host:port or [v6]:port',
  },
  actor: {
    type: 'string', reload: 'child',
    help: 'Actor that gets the frames; without it the actor named like the protocol',
  },
  backlog: {
    type: 'int', default: '4096', min: 1, max: 65_535, reload: 'child',
    help: 'Connections the system holds until they are accepted; beyond it each waits a second or more (its own limit: net.core.somaxconn)',
  },
  tls_cert: {
    type: 'path', reload: 'child',
    help: 'Certificate chain (PEM); with tls_key the listener speaks TLS. The file is read again at each reload',
  },
  tls_key: {
    type: 'path', reload: 'child',
    help: 'Private key (PEM) of tls_cert',
  },
  max_connections: {
    type: 'int', default: '16384', min: 1, max: 1_000_000, reload: 'live', aliases: ['worker_connections'],
    help: 'Most clients at a time; one more is accepted, told if the protocol can, closed and counted',
  },
  max_per_ip: {
    type: 'int', default: '0', min: 0, max: 1_000_000, reload: 'live',
    help: 'Most clients at a time from one address; 0: no limit',
  },
  idle_timeout: {
    type: 'duration', default: '0', min: 0, max: DAY, reload: 'live',
    help: 'A client that sent nothing for so long is closed; 0: never, only a dead one is found by TCP keep-alive',
  },
  partial_timeout: {
    type: 'duration', default: '30s', min: 100, max: DAY, reload: 'live',
    help: 'Longest time from the first to the last byte of one packet, and of a TLS handshake',
  },
  send_timeout: {
    type: 'duration', default: '30s', min: 100, max: DAY, reload: 'live',
    help: 'A client that takes nothing of what is being sent to it for so long is closed',
  },
  heartbeat: {
    type: 'bool', default: 'no', reload: 'live', aliases: ['Sock_WaitTimeEnable'],
    help: 'Check each client every heartbeat_interval and close the silent ones',
  },
  heartbeat_interval: {
    type: 'duration', default: '20s', min: 0, max: DAY, reload: 'live', aliases: ['Sock_MaxWaitTime'],
    help: 'Time between two checks of a client; less than 5s counts as 5s',
  },
  heartbeat_factor: {
    type: 'int', default: '3', min: 1, max: 100, reload: 'live',
    help: 'A client is silent after heartbeat_factor x heartbeat_interval + 10s without a heartbeat',
  },
  heartbeat_refresh: {
    type: 'enum', values: ['any', 'ping'], default: 'any', reload: 'live',
    help: 'What counts as a heartbeat: any valid packet, or only a ping as in the reference',
  },
  timeout_kick: {
    type: 'bool', default: 'no', reload: 'live', aliases: ['Sock_TimeOutKick'],
    help: 'With heartbeat: close every client heartbeat_interval after it connected, instead of the heartbeat rule',
  },
  timeout_kick_spares_active: {
    type: 'bool', default: 'no', reload: 'live',
    help: 'With timeout_kick: a client that sent something within heartbeat_interval stays',
  },
  flood_guard: {
    type: 'bool', default: 'no', reload: 'live', aliases: ['Sock_FloodAttackKickEnable'],
    help: 'Close a client that sends flood_packets in a row, each within flood_interval of the one before',
  },
  flood_interval: {
    type: 'duration', default: '100ms', min: 0, max: DAY, reload: 'live', aliases: ['Sock_FloodTimeInterval'],
    help: 'Packets closer together than this count as a flood',
  },
  flood_packets: {
    type: 'int', default: '10', min: 1, max: 1_000_000_000, reload: 'live', aliases: ['Sock_FloodKickCounter'],
    help: 'How many packets in a row make a flood',
  },
  on_bad_packet: {
    type: 'enum', values: ['drop', 'close'], default: 'drop', reload: 'live',
    help: 'drop: throw a bad packet away silently as the reference does; close: close the client too',
  },
  bad_packet_limit: {
    type: 'int', default: '1000', min: 0, max: 1_000_000_000, reload: 'live',
    help: 'With on_bad_packet = drop: so many bad packets of one client close it; 0: no limit',
  },
  send_queue_packets: {
    type: 'int', default: '400', min: 1, max: 1_000_000_000, reload: 'live',
    help: 'Packets that may wait for a slow client; beyond it they are discarded and the client is closed',
  },
  send_queue_bytes: {
    type: 'size', default: '4m', min: 65_536, max: 1_073_741_824, reload: 'live',
    help: 'Bytes that may wait for a slow client; beyond it they are discarded and the client is closed',
  },
  send_pause_bytes: {
    type: 'size', default: '64k', min: 0, max: 1_073_741_824, reload: 'live',
    help: 'While so many bytes, or half of send_queue_packets, wait for a client, nothing is read from it',
  },
}); // prettier-ignore

export const reactorKeys = defineKeys({
  max_connections: {
    type: 'int', default: '65536', min: 1, max: 1_000_000, reload: 'live',
    help: 'Most clients of all listeners together; the limit of open files may lower it further',
  },
  send_queue_packets: {
    type: 'int', default: '50000', min: 1, max: 1_000_000_000, reload: 'live',
    help: 'Packets that may wait for all slow clients together; the client that would pass it is closed',
  },
  send_queue_bytes: {
    type: 'size', default: '256m', min: 1_048_576, max: 17_179_869_184, reload: 'live',
    help: 'Bytes that may wait to be sent to all clients together; the client that would pass it is closed',
  },
}); // prettier-ignore

export type ListenerValues = ValuesOf<typeof listenerKeys>;
export type ReactorValues = ValuesOf<typeof reactorKeys>;

export const listenerSection: SectionSpec = {
  section: 'listener',
  named: true,
  help: 'A port for clients of a framed protocol',
  keys: listenerKeys,
};

export const reactorSection: SectionSpec = {
  section: 'reactor',
  named: false,
  help: 'Limits that all listeners share',
  keys: reactorKeys,
};
