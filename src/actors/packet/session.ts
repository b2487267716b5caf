/** What the packet server knows of one connection. Actor's thread. */
import type { ConnectionRef } from '../../runtime/ref.js';
import type { PacketCommand } from './command.js';

export interface User {
  readonly id: number;
  readonly name: string;
}

/** Kept with the connection by the runtime, so that it outlives a crash of the actor. */
export interface Attachment {
  readonly user: User | undefined;
  readonly failures: number;
  /** Packets were taken but not answered yet. */
  readonly working: boolean;
}

export interface Waiting {
  readonly command: PacketCommand;
  readonly body: Buffer;
}

export class Session {
  /** Who has logged in on this connection. */
  user: User | undefined;
  /** Refused logins and registrations since the last accepted one. */
  failures = 0;
  /** Set by a command: the connection is closed with this reason once the reply is out. */
  closing: string | undefined;
  /** A command's promise has not settled; later packets wait. */
  working = false;
  readonly waiting: Waiting[] = [];
  gone = false;

  constructor(
    readonly connection: ConnectionRef,
    /** Address for the log. */
    readonly remote: string,
    private readonly maxFailures: number,
  ) {}

  accepted(): void {
    this.failures = 0;
  }

  /** Counts a refusal; too many in a row close the connection. */
  refused(): void {
    this.failures += 1;
    if (this.maxFailures > 0 && this.failures >= this.maxFailures) this.closing = 'too many refused logins';
  }

  attachment(): Attachment {
    return { user: this.user, failures: this.failures, working: this.working };
  }

  /** Takes over what a crashed predecessor knew. @returns true when that one still owed a reply */
  restore(attachment: unknown): boolean {
    if (typeof attachment !== 'object' || attachment === null) return false;
    const { user, failures, working } = attachment as Partial<Attachment>;
    this.user = user;
    this.failures = failures ?? 0;
    return working === true;
  }
}
