/**
 * The listening socket of the uws engine. When descriptors run out, the engine's accept fails and is tried again at once,
 * with the whole of the thread; so the socket is closed until there are some again. Clients that wait to be accepted are
 * reset then, which tells them more than a silence would. Main thread.
 */
import { descriptorsLeft, probeDescriptors } from './descriptors.js';
import { SwitchyardError } from './errors.js';
import type { HttpOptions } from './http.js';
import type { UwsApp, UwsModule, UwsToken } from './http-uws-api.js';

const EXCLUSIVE_PORT = 1;
const WATCH_MS = 1000;
/** Descriptors that must be free before new clients are taken again. */
const ENOUGH = 16;

export class UwsListening {
  /** The bound port, also while new clients are not taken. */
  port = 0;
  private token: UwsToken | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly uws: UwsModule,
    private readonly app: UwsApp,
    private readonly options: HttpOptions,
  ) {}

  /** @throws SwitchyardError HTTP_LISTEN */
  async open(): Promise<void> {
    const { name, host, port } = this.options;
    this.token = await this.listen(port);
    if (this.token === undefined) {
      const address = `${host === '' ? '*' : host}:${port}`;
      throw new SwitchyardError('HTTP_LISTEN', {
        listener: name,
        address,
        reason: 'address in use or not ours',
      });
    }
    this.port = this.uws.us_socket_local_port(this.token);
    this.timer = setInterval(() => this.watch(), WATCH_MS).unref();
  }

  close(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.pause();
  }

  private listen(port: number): Promise<UwsToken | undefined> {
    const { host } = this.options;
    return new Promise((resolve) => {
      const done = (token: UwsToken | false): void => resolve(token === false ? undefined : token);
      if (host === '') this.app.listen(port, EXCLUSIVE_PORT, done);
      else this.app.listen(host, port, EXCLUSIVE_PORT, done);
    });
  }

  private pause(): void {
    if (this.token !== undefined) this.uws.us_listen_socket_close(this.token);
    this.token = undefined;
  }

  private watch(): void {
    if (this.token === undefined) {
      descriptorsLeft((left) => void (left >= ENOUGH && this.again()));
      return;
    }
    probeDescriptors((exhausted) => {
      if (!exhausted || this.token === undefined) return;
      this.pause();
      this.options.log.error('http.descriptors_exhausted', { listener: this.options.name });
    });
  }

  /** Tried again with the next look when the port cannot be had. */
  private async again(): Promise<void> {
    if (this.token !== undefined || this.timer === undefined) return;
    this.token = await this.listen(this.port);
    if (this.token !== undefined)
      this.options.log.notice('http.listening_again', { listener: this.options.name });
  }
}
