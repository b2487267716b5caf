import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createPacketCodec,
  encodePacket,
  packetBody,
  PACKET_LOGIN,
  PACKET_PING,
  PACKET_REGISTER,
  readLogin,
  readRegister,
  writeLogin,
  writeRegister,
} from '../../src/protocol/packet.js';

const PING = Buffer.from('0008000000000000', 'hex');
const REGISTER = Buffer.from(
  '006c00056a4370cd00000064616c696365' + '00'.repeat(51) + '736563726574' + '00'.repeat(34),
  'hex',
);
const LOGIN = Buffer.from(
  '00680006f3ddf1d4616c696365' + '00'.repeat(51) + '736563726574' + '00'.repeat(34),
  'hex',
);
const GOLDEN: readonly (readonly [string, Buffer, number])[] = [
  ['ping', PING, 0],
  ['register', REGISTER, 5],
  ['login', LOGIN, 6],
];

function header(length: number, code = 6, sum = 0): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16BE(length, 0);
  bytes.writeUInt16BE(code, 2);
  bytes.writeUInt32BE(sum, 4);
  return bytes;
}

describe('packet codec', () => {
  const codec = createPacketCodec();

  it.each(GOLDEN)('takes the golden %s packet whole', (_, bytes, code) => {
    expect(codec.decode(bytes, 0, bytes.length)).toBe(bytes.length);
    expect(codec.frameLength(bytes, 0)).toBe(bytes.length);
    expect(codec.messageCode(bytes, 0)).toBe(code);
  });

  it.each(GOLDEN)('needs more at every cut of the golden %s packet', (_, bytes) => {
    for (let cut = 0; cut < bytes.length; cut++) expect(codec.decode(bytes, 0, cut)).toBe(0);
  });

  it.each(GOLDEN)('finds the golden %s packet at any offset', (_, bytes) => {
    const padded = Buffer.concat([Buffer.alloc(13, 0xff), bytes, Buffer.alloc(5, 0xff)]);
    expect(codec.decode(padded, 13, padded.length)).toBe(bytes.length);
  });

  it.each([
    ['', 0],
    ['a', 0xe8b7be43],
    ['hello', 0x3610a686],
    ['123456789', 0xcbf43926],
  ])('writes the reference CRC of "%s"', (text, sum) => {
    expect(encodePacket(7, Buffer.from(text)).readUInt32BE(4)).toBe(sum);
  });

  it.each([
    [96, 0xbaf465ae],
    [100, 0x9988c6ca],
  ])('writes the reference CRC of %i zero bytes', (size, sum) => {
    expect(encodePacket(7, Buffer.alloc(size)).readUInt32BE(4)).toBe(sum);
  });

  it('writes the reference CRC of the bytes 00 to ff', () => {
    const body = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    expect(encodePacket(7, body).readUInt32BE(4)).toBe(0x29058c73);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 29001, 65535])('skips 8 bytes on length %i', (length) => {
    expect(codec.decode(header(length), 0, 8)).toBe(-8);
    expect(codec.lastBad).toBe('length');
  });

  it('waits for the 28992 bytes of the largest packet and takes it', () => {
    const body = Buffer.alloc(28992, 0x5a);
    const packet = encodePacket(6, body);
    expect(packet.length).toBe(29000);
    expect(codec.decode(packet, 0, 8)).toBe(0);
    expect(codec.decode(packet, 0, 28999)).toBe(0);
    expect(codec.decode(packet, 0, 29000)).toBe(29000);
    expect(codec.decode(header(29000), 0, 8)).toBe(0);
  });

  it('refuses a header-only packet whose CRC field is not 0', () => {
    expect(codec.decode(Buffer.from('0008000000000001', 'hex'), 0, 8)).toBe(-8);
    expect(codec.lastBad).toBe('header-crc');
  });

  it('skips the whole packet when any one bit of its body or CRC is wrong', () => {
    for (let at = 4; at < LOGIN.length; at++) {
      const broken = Buffer.from(LOGIN);
      broken[at]! ^= 1 << (at % 8);
      expect(codec.decode(broken, 0, broken.length)).toBe(-LOGIN.length);
      expect(codec.lastBad).toBe('crc');
    }
  });

  it('accepts a code that nobody handles', () => {
    expect(codec.decode(header(8, 7), 0, 8)).toBe(8);
  });

  it('never reads past the end, never stands still, and accepts exactly the frames with a right CRC', () => {
    const check = (bytes: Buffer): void => {
      let at = 0;
      while (at < bytes.length) {
        const step = codec.decode(bytes, at, bytes.length);
        if (step === 0) {
          const length = bytes.length - at >= 8 ? bytes.readUInt16BE(at) : 8;
          expect(length).toBeGreaterThan(bytes.length - at);
          return;
        }
        const size = Math.abs(step);
        expect(at + size).toBeLessThanOrEqual(bytes.length);
        if (step > 0) expect(bytes.readUInt32BE(at + 4)).toBe(crc32(bytes.subarray(at + 8, at + size)));
        at += size;
      }
    };
    // Random bytes rarely make a good frame, so they are mixed with good ones and with bent good ones.
    const packet = fc
      .tuple(fc.nat(65535), fc.uint8Array({ maxLength: 300 }))
      .map(([code, body]) => encodePacket(code, body));
    const bent = fc.tuple(packet, fc.nat(), fc.nat(7)).map(([bytes, at, bit]) => {
      bytes[at % bytes.length]! ^= 1 << bit;
      return bytes;
    });
    const noise = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes));
    const stream = fc.array(fc.oneof(packet, bent, noise), { maxLength: 20 });
    fc.assert(
      fc.property(stream, (parts) => check(Buffer.concat(parts))),
      { numRuns: 2_000 },
    );
  });

  const frames = process.env['FULL'] === '1' ? 1_000_000 : 50_000;
  it(`gets through ${frames} frames of random bytes`, { timeout: 300_000 }, () => {
    const noise = Buffer.alloc(64 * 1024);
    let state = 0x9e3779b9;
    const random = (): number => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state >>> 0;
    };
    let done = 0;
    while (done < frames) {
      // Mostly 0 and 1: bytes spread evenly would announce packets of thousands of bytes all the time.
      for (let i = 0; i < noise.length; i++) {
        const value = random();
        noise[i] = (value & 0x3000) === 0 ? value : value & 1;
      }
      for (let at = 0; at < noise.length; done++) {
        const step = codec.decode(noise, at, noise.length);
        if (step === 0) break;
        at += Math.abs(step);
      }
    }
    expect(done).toBeGreaterThanOrEqual(frames);
  });
});

describe('packet bodies', () => {
  it('builds the golden packets', () => {
    const alice = { username: 'alice', password: 'secret' };
    expect(encodePacket(PACKET_PING)).toEqual(PING);
    expect(encodePacket(PACKET_LOGIN, writeLogin(alice))).toEqual(LOGIN);
    expect(encodePacket(PACKET_REGISTER, writeRegister({ type: 100, ...alice }))).toEqual(REGISTER);
  });

  it('reads the golden packets', () => {
    expect(readLogin(packetBody(LOGIN))).toEqual({ username: 'alice', password: 'secret' });
    expect(readRegister(packetBody(REGISTER))).toEqual({ type: 100, username: 'alice', password: 'secret' });
  });

  it('refuses any other size', () => {
    for (const size of [0, 95, 97, 99, 101]) {
      expect(readLogin(Buffer.alloc(size))).toBeUndefined();
      expect(readRegister(Buffer.alloc(size))).toBeUndefined();
    }
  });

  it('takes the last byte of a text as its end, whatever it holds', () => {
    const body = Buffer.alloc(96, 0x41);
    expect(readLogin(body)).toEqual({ username: 'A'.repeat(55), password: 'A'.repeat(39) });
  });

  it('refuses texts that do not fit, and bodies and codes out of range', () => {
    expect(() => writeLogin({ username: 'u'.repeat(56), password: '' })).toThrow(/username/);
    expect(() => writeLogin({ username: '', password: '好'.repeat(14) })).toThrow(/password/);
    expect(() => encodePacket(1, Buffer.alloc(28993))).toThrow(/28992/);
    expect(() => encodePacket(65536)).toThrow(RangeError);
  });

  it('gives back what was written', () => {
    const text = (max: number): fc.Arbitrary<string> =>
      fc
        .string({ unit: 'grapheme', maxLength: max })
        .filter((s) => !s.includes('\0') && Buffer.byteLength(s) < max);
    fc.assert(
      fc.property(
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        text(56),
        text(40),
        (type, username, password) => {
          expect(readRegister(writeRegister({ type, username, password }))).toEqual({
            type,
            username,
            password,
          });
          expect(readLogin(writeLogin({ username, password }))).toEqual({ username, password });
        },
      ),
    );
  });
});
