/**
 * The 8-byte framed packet: `length u16 | code u16 | crc32 u32 | body`, big-endian, no magic, no version
 * (spec packet-server 1 to 3, 16). Pure; runs on the thread that owns the socket and in the packet actors.
 */
import { crc32 } from 'node:zlib';
import type { BadFrame, FrameCodec } from './frame.js';

export const PACKET_HEADER_BYTES = 8;
/** The reference's constant 30000 minus 1000; 29001 is refused. */
export const PACKET_MAX_BYTES = 29000;
export const PACKET_MAX_BODY_BYTES = PACKET_MAX_BYTES - PACKET_HEADER_BYTES;

export const PACKET_PING = 0;
export const PACKET_REGISTER = 5;
export const PACKET_LOGIN = 6;

export const REGISTER_BODY_BYTES = 100;
export const LOGIN_BODY_BYTES = 96;
const USERNAME_BYTES = 56;
const PASSWORD_BYTES = 40;

class PacketCodec implements FrameCodec {
  readonly name = 'packet';
  readonly headerBytes = PACKET_HEADER_BYTES;
  readonly maxFrameBytes = PACKET_MAX_BYTES;
  lastBad: BadFrame = 'length';

  /**
   * A length outside 8..29000 skips only the 8 header bytes, as the reference does: nothing tells where that
   * packet would end. A wrong CRC skips the whole packet, so the stream stays in step.
   */
  decode(bytes: Buffer, offset: number, end: number): number {
    if (end - offset < PACKET_HEADER_BYTES) return 0;
    const length = (bytes[offset]! << 8) | bytes[offset + 1]!;
    if (length < PACKET_HEADER_BYTES || length > PACKET_MAX_BYTES) {
      this.lastBad = 'length';
      return -PACKET_HEADER_BYTES;
    }
    if (length === PACKET_HEADER_BYTES) {
      if ((bytes[offset + 4]! | bytes[offset + 5]! | bytes[offset + 6]! | bytes[offset + 7]!) !== 0) {
        this.lastBad = 'header-crc';
        return -PACKET_HEADER_BYTES;
      }
      return PACKET_HEADER_BYTES;
    }
    if (end - offset < length) return 0;
    // The view is the only object made per packet with a body: crc32 takes no offsets.
    const sum = crc32(bytes.subarray(offset + PACKET_HEADER_BYTES, offset + length));
    if (sum !== bytes.readUInt32BE(offset + 4)) {
      this.lastBad = 'crc';
      return -length;
    }
    return length;
  }

  frameLength(bytes: Uint8Array, offset: number): number {
    return (bytes[offset]! << 8) | bytes[offset + 1]!;
  }

  messageCode(bytes: Uint8Array, offset: number): number {
    return (bytes[offset + 2]! << 8) | bytes[offset + 3]!;
  }
}

/** A codec holds `lastBad`, so each listener gets its own. */
export function createPacketCodec(): FrameCodec {
  return new PacketCodec();
}

const NO_BODY = Buffer.alloc(0);

/**
 * One packet ready for the wire; a fresh buffer that the caller owns.
 * @param code message code 0..65535
 * @param body at most 28992 bytes
 * @throws RangeError when either is out of range
 */
export function encodePacket(code: number, body: Uint8Array = NO_BODY): Buffer {
  if (body.length > PACKET_MAX_BODY_BYTES) {
    throw new RangeError(`packet body of ${body.length} bytes exceeds ${PACKET_MAX_BODY_BYTES}`);
  }
  const packet = Buffer.allocUnsafe(PACKET_HEADER_BYTES + body.length);
  packet.writeUInt16BE(packet.length, 0);
  packet.writeUInt16BE(code, 2);
  packet.writeUInt32BE(body.length === 0 ? 0 : crc32(body), 4);
  packet.set(body, PACKET_HEADER_BYTES);
  return packet;
}

/** The body of a valid frame, as a view. */
export function packetBody(frame: Buffer): Buffer {
  return frame.subarray(PACKET_HEADER_BYTES);
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface RegisterBody extends Credentials {
  /** `iType`: int32 on the wire, without a defined meaning. */
  readonly type: number;
}

/** @returns undefined unless the body has exactly 100 bytes. */
export function readRegister(body: Buffer): RegisterBody | undefined {
  if (body.length !== REGISTER_BODY_BYTES) return undefined;
  return { type: body.readInt32BE(0), ...readCredentials(body, 4) };
}

/** @returns undefined unless the body has exactly 96 bytes. */
export function readLogin(body: Buffer): Credentials | undefined {
  return body.length === LOGIN_BODY_BYTES ? readCredentials(body, 0) : undefined;
}

/**
 * Zero-filled beyond the texts: a body never shows what was in memory before (spec packet-server 17.1).
 * @throws RangeError when a text does not fit its field.
 */
export function writeRegister(fields: RegisterBody): Buffer {
  const body = Buffer.alloc(REGISTER_BODY_BYTES);
  body.writeInt32BE(fields.type, 0);
  writeCredentials(body, 4, fields);
  return body;
}

/** @throws RangeError when a text does not fit its field. */
export function writeLogin(fields: Credentials): Buffer {
  const body = Buffer.alloc(LOGIN_BODY_BYTES);
  writeCredentials(body, 0, fields);
  return body;
}

function readCredentials(body: Buffer, offset: number): Credentials {
  return {
    username: readText(body, offset, USERNAME_BYTES),
    password: readText(body, offset + USERNAME_BYTES, PASSWORD_BYTES),
  };
}

function writeCredentials(body: Buffer, offset: number, fields: Credentials): void {
  writeText(body, offset, USERNAME_BYTES, fields.username, 'username');
  writeText(body, offset + USERNAME_BYTES, PASSWORD_BYTES, fields.password, 'password');
}

/** UTF-8 up to the first NUL; the last byte counts as NUL whatever it holds, as the reference forces it. */
function readText(body: Buffer, offset: number, size: number): string {
  const last = offset + size - 1;
  const nul = body.indexOf(0, offset);
  return body.toString('utf8', offset, nul === -1 || nul > last ? last : nul);
}

function writeText(body: Buffer, offset: number, size: number, text: string, field: string): void {
  if (Buffer.byteLength(text) >= size) {
    throw new RangeError(`${field} is longer than ${size - 1} bytes`);
  }
  body.write(text, offset, 'utf8');
}
