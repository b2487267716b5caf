/** Code 0: the heartbeat. The same eight bytes come back. */
import { encodePacket, PACKET_PING } from '../../../protocol/packet.js';
import type { PacketCommand } from '../command.js';

const PONG = encodePacket(PACKET_PING);

export const ping: PacketCommand = {
  code: PACKET_PING,
  name: 'ping',
  bodyBytes: 0,
  handle: () => PONG,
};
