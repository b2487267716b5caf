/**
 * Code 6: login. The reply has the request's layout (spec packet-server 2, which leaves its content open): the user name when
 * the login was accepted, else zeros. The password never comes back. Why it was refused is not told.
 */
import {
  encodePacket,
  LOGIN_BODY_BYTES,
  PACKET_LOGIN,
  readLogin,
  writeLogin,
} from '../../../protocol/packet.js';
import type { PacketCommand } from '../command.js';

const REFUSED = encodePacket(PACKET_LOGIN, Buffer.alloc(LOGIN_BODY_BYTES));

export const login: PacketCommand = {
  code: PACKET_LOGIN,
  name: 'login',
  bodyBytes: LOGIN_BODY_BYTES,
  async handle(body, session, { accounts, count }) {
    const credentials = readLogin(body);
    if (credentials === undefined) return undefined;
    const { username, password } = credentials;
    // Whoever logs in anew is nobody until it worked.
    session.user = undefined;
    const result = await accounts.verify(username, password);
    count('packet_logins_total', { outcome: result.outcome });
    if (result.outcome !== 'ok') {
      session.refused();
      return REFUSED;
    }
    session.user = { id: result.id, name: result.name };
    session.accepted();
    return encodePacket(PACKET_LOGIN, writeLogin({ username, password: '' }));
  },
};
