/** The part of uWebSockets.js that is used. Our own declaration: the package is optional and may be absent at build. */
export type UwsToken = object;
export type UwsBytes = string | Uint8Array;

export interface UwsRequest {
  getCaseSensitiveMethod(): string;
  getUrl(): string;
  getQuery(): string | undefined;
  forEach(each: (name: string, value: string) => void): void;
}

/** Must not be touched after its end or after `onAborted` has called. */
export interface UwsResponse {
  writeStatus(line: string): UwsResponse;
  writeHeader(name: string, value: string): UwsResponse;
  /** Chunked. @returns false when the engine had to keep some of the bytes. */
  write(chunk: UwsBytes): boolean;
  end(body?: UwsBytes, closeConnection?: boolean): UwsResponse;
  endWithoutBody(): UwsResponse;
  /** Known length. @returns [all taken, response complete]; what was not taken is offered again from `getWriteOffset`. */
  tryEnd(chunk: UwsBytes, total: number): [boolean, boolean];
  close(): UwsResponse;
  getWriteOffset(): number;
  onWritable(handler: (offset: number) => boolean): UwsResponse;
  onAborted(handler: () => void): UwsResponse;
  /** The bytes are valid during the call only. */
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): UwsResponse;
  getRemoteAddressAsText(): ArrayBuffer;
  cork(during: () => void): UwsResponse;
}

export interface UwsApp {
  any(pattern: string, handler: (response: UwsResponse, request: UwsRequest) => void): UwsApp;
  listen(host: string, port: number, options: number, done: (token: UwsToken | false) => void): UwsApp;
  listen(port: number, options: number, done: (token: UwsToken | false) => void): UwsApp;
  close(): UwsApp;
}

export interface UwsModule {
  App(): UwsApp;
  _cfg(key: string): void;
  us_listen_socket_close(token: UwsToken): void;
  us_socket_local_port(token: UwsToken): number;
}
