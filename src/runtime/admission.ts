/** Who may connect: limits per listener, per address and in total. The thread of the reactor. */

export type Refusal = 'listener-full' | 'address-full' | 'process-full' | 'descriptors';

export interface AdmissionLimits {
  /** Of the listener; see listener-keys.ts. */
  readonly max_connections: number;
  /** 0: no limit. */
  readonly max_per_ip: number;
}

export class Admission {
  private readonly perAddress = new Map<string, number>();
  private admitted = 0;

  /**
   * @param limit most connections of all listeners
   * @param descriptorLimit most connections the limit of open files allows
   */
  constructor(
    public limit: number,
    public descriptorLimit: number,
  ) {}

  get total(): number {
    return this.admitted;
  }

  /** @param online connections of the listener now. @returns undefined: admitted; pair it with `leave` */
  enter(address: string, online: number, limits: AdmissionLimits): Refusal | undefined {
    if (this.admitted >= this.limit) return 'process-full';
    if (this.admitted >= this.descriptorLimit) return 'descriptors';
    if (online >= limits.max_connections) return 'listener-full';
    const same = this.perAddress.get(address) ?? 0;
    if (limits.max_per_ip > 0 && same >= limits.max_per_ip) return 'address-full';
    this.perAddress.set(address, same + 1);
    this.admitted++;
    return undefined;
  }

  leave(address: string): void {
    const same = (this.perAddress.get(address) ?? 1) - 1;
    if (same === 0) this.perAddress.delete(address);
    else this.perAddress.set(address, same);
    this.admitted--;
  }
}

/** IPv4 clients of an IPv6 socket are named by their IPv4 address. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}
