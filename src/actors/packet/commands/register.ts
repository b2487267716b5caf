/**
 * Code 5: register. The reply has the request's layout; `iType` is the outcome below, the user name is there when the account
 * was made, the rest is zeros (spec packet-server 2 leaves the content open).
 */
import {
  encodePacket,
  PACKET_REGISTER,
  readRegister,
  REGISTER_BODY_BYTES,
  writeRegister,
} from '../../../protocol/packet.js';
import type { Registration } from '../../../store/accounts.js';
import type { PacketCommand } from '../command.js';

const STATUS: Readonly<Record<Registration, number>> = {
  created: 0,
  taken: 1,
  'bad-name': 2,
  'bad-password': 3,
};

export const register: PacketCommand = {
  code: PACKET_REGISTER,
  name: 'register',
  bodyBytes: REGISTER_BODY_BYTES,
  async handle(body, session, { accounts, count }) {
    const fields = readRegister(body);
    if (fields === undefined) return undefined;
    const outcome = await accounts.register(fields.username, fields.password);
    count('packet_registrations_total', { outcome });
    if (outcome === 'created') session.accepted();
    else session.refused();
    const username = outcome === 'created' ? fields.username : '';
    return encodePacket(PACKET_REGISTER, writeRegister({ type: STATUS[outcome], username, password: '' }));
  },
};
