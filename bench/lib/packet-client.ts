/** A small client of the packet protocol for set-up and for benches that need no load. */
import { connect, type Socket } from 'node:net';
import {
  encodePacket,
  PACKET_HEADER_BYTES,
  PACKET_REGISTER,
  writeRegister,
} from '../../src/protocol/packet.js';

/** @throws Error when nobody listens */
export async function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/**
 * Makes an account. A reply of the right length is all that is asked for: that the account is good is seen by logging in.
 * @throws Error when there is no reply within ten seconds
 */
export async function registerAccount(
  port: number,
  account: { user: string; password: string },
): Promise<void> {
  const request = encodePacket(
    PACKET_REGISTER,
    writeRegister({ type: 0, username: account.user, password: account.password }),
  );
  const socket = await open(port);
  try {
    await new Promise<void>((resolve, reject) => {
      let bytes = 0;
      socket.setTimeout(10_000, () => reject(new Error('no reply to a register packet within 10 s')));
      socket.on('close', () => reject(new Error('the server closed the connection on a register packet')));
      socket.on('data', (chunk) => {
        bytes += chunk.length;
        if (bytes >= PACKET_HEADER_BYTES) resolve();
      });
      socket.write(request);
    });
  } finally {
    socket.destroy();
  }
}
