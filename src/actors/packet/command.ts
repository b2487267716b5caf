/** The contract of a packet command; one file each under commands/, one line in commands/index.ts. */
import type { Accounts } from '../../store/accounts.js';
import type { Session } from './session.js';

/** A whole packet made by `encodePacket`; undefined sends nothing. */
export type Reply = Uint8Array | undefined;

export interface PacketCommand {
  /** Message code on the wire, 0..65535. */
  readonly code: number;
  readonly name: string;
  /** Size the body must have, in bytes; a packet of another size is dropped and counted (spec packet-server 2). */
  readonly bodyBytes: number;
  /**
   * Answers one packet. Runs on the actor's thread: must not block. A promise holds up only its own connection, whose
   * later packets wait; others go on. If it rejects, the connection is closed, so that the client tries again instead of waiting for an
   * answer for ever. A synchronous throw is a bug: the connection is closed too, and the actor restarts.
   * @param body a copy that may be kept
   */
  handle(body: Buffer, session: Session, services: Services): Reply | Promise<Reply>;
}

/** What a command may use. Add here what a new command needs, and fill it in server.ts. */
export interface Services {
  readonly accounts: Accounts;
  /** Counter metric `switchyard_<name>`. */
  readonly count: (name: string, labels: Readonly<Record<string, string>>) => void;
}
