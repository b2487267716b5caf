/** What the test actors have in common: reading a message, and the packet header (spec packet-server 1). */

/** The `type` of a message `{ type: ... }`, or undefined for any other body. */
export function typeOf(body: unknown): string | undefined {
  const type = field(body, 'type');
  return typeof type === 'string' ? type : undefined;
}

export function field(body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null
    ? (body as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

export function numberOf(body: unknown, name: string, fallback: number): number {
  const value = field(body, name);
  return typeof value === 'number' ? value : fallback;
}

/** Message code of a packet: two bytes, big-endian, at offset 2. */
export function codeOf(frame: Buffer): number {
  return frame.readUInt16BE(2);
}

/** A frame with this code makes a faulty actor misbehave. */
export const FAULT_CODE = 99;
