/**
 * Every error the program can raise on purpose, in one table: stable code, text with {placeholders}, exit code if
 * it ends the process (sysexits), and what to do about it. docs/errors.md is generated from it. Any thread.
 */
interface ErrorEntry {
  readonly text: string;
  /** Process exit code when fatal: 64 usage, 65 data, 69 unavailable, 70 internal, 73 cannot create, 75 temporary, 77 permission, 78 conf. */
  readonly exit: number;
  readonly hint: string;
}

const entry = (text: string, exit: number, hint: string): ErrorEntry => ({ text, exit, hint });

export const ERRORS = {
  ACT_ASK_TIMEOUT: entry(
    '{to} did not answer within {timeoutMs} ms',
    75,
    'see `ctl ps` for what it is busy with',
  ),
  ACT_NO_SUCH_ACTOR: entry('no actor {to}', 70, 'see `ctl ps` for the names'),
  ACT_MAILBOX_FULL: entry(
    'the mailbox of {to} is full',
    75,
    'see `ctl queues`; raise mailbox_bytes or add shards',
  ),
  ACT_MESSAGE_TOO_LARGE: entry(
    'a message of {bytes} bytes exceeds the limit of {limit}',
    65,
    'send it in parts',
  ),
  ACT_REMOTE: entry('{to} failed: {reason}', 70, 'see the log of that actor'),
  ACT_STOPPED: entry('{to} was stopped', 75, 'start it again with `ctl restart`'),
  ACT_START: entry('{ref} did not start: {reason}', 70, 'see the log of that actor'),
  CONF_UNREADABLE: entry('cannot read it: {reason}', 78, 'check the path and the permissions'),
  CONF_TOO_LARGE: entry(
    '{what} exceeds the limit of {limit}',
    78,
    'split the file, or check that it is a conf file',
  ),
  CONF_ENCODING: entry('not valid UTF-8', 78, 'save the file as UTF-8'),
  CONF_SYNTAX: entry(
    '{reason}',
    78,
    'write `key = value`, `[section]` or `[section name]`; # starts a comment',
  ),
  CONF_NO_SECTION: entry(
    'key {key} stands before any [section]',
    78,
    'put it under the section it belongs to',
  ),
  CONF_UNKNOWN_SECTION: entry(
    'unknown section [{section}]{nearest}',
    78,
    'see docs/configuration.md for the sections',
  ),
  CONF_SECTION_NAME: entry('section [{section}] {reason}', 78, 'see docs/configuration.md for the section'),
  CONF_UNKNOWN_KEY: entry(
    'unknown key {key} in [{section}]{nearest}',
    78,
    'see docs/configuration.md for its keys',
  ),
  CONF_DUPLICATE_KEY: entry('key {key} of [{section}] is already set at {first}', 78, 'keep one of the two'),
  CONF_MISSING_KEY: entry('[{section}] needs the key {key}', 78, '{help}'),
  CONF_VALUE: entry('{key} {reason}', 78, '{help}'),
  CONF_REFERENCE: entry('{key}: {reason}', 78, 'set it, or give a default as ${NAME:-default}'),
  CONF_OVERRIDE: entry(
    'environment variable {variable}: {reason}',
    78,
    'see docs/configuration.md for the names',
  ),
  CONF_LISTEN_PORT: entry(
    'ListenPortCount is {count} but {key} is missing',
    78,
    'add the key or lower ListenPortCount',
  ),
  CONF_INVALID: entry('the configuration has {count} error(s)', 78, 'each is printed with its file and line'),
  NET_ADDRESS_TAKEN: entry(
    'listener {listener}: {address} is already in use',
    69,
    'stop the other program or choose another address',
  ),
  NET_ADDRESS: entry(
    'listener {listener}: cannot listen on {address}: {reason}',
    78,
    'use port, host:port or [v6]:port with an address of this machine',
  ),
  NET_PERMISSION: entry(
    'listener {listener}: no permission to listen on {address}',
    77,
    'ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one',
  ),
  NET_PROTOCOL: entry(
    'listener {listener}: no protocol {protocol}, there is: {known}',
    78,
    'set protocol in the [listener] section',
  ),
  NET_ACTOR: entry(
    'listener {listener}: no actor {actor} to give its frames to',
    78,
    'add an [actor] section of that name, or set actor in the [listener] section',
  ),
  NET_TLS: entry(
    'listener {listener}: cannot use {file}: {reason}',
    78,
    'tls_cert and tls_key must be a matching PEM pair that this user can read',
  ),
  HTTP_LISTEN: entry(
    'HTTP listener {listener} cannot listen on {address}: {reason}',
    69,
    'another program may hold the port; see `address` in [http {listener}]',
  ),
  HTTP_ROOT: entry(
    'cannot serve files from {root}: {reason}',
    78,
    'check `root` and the permissions of the folder',
  ),
  HTTP_TLS_ENGINE: entry(
    'HTTP listener {listener} has tls_cert but the engine uws, which has no TLS',
    78,
    'set engine = node, or remove tls_cert and tls_key',
  ),
  LOG_OPEN: entry(
    'cannot open the log file {file}: {reason}',
    73,
    'check [log] file and the permissions of its folder',
  ),
  CPU_UNKNOWN_JOB: entry('no CPU job {job}; known: {known}', 70, 'add it to src/runtime/cpu-jobs.ts'),
  CPU_BUSY: entry(
    'CPU job {job} refused: {limit} jobs wait already',
    75,
    'ask again later; fewer at a time, or more processors',
  ),
  CPU_TIMEOUT: entry(
    'CPU job {job} did not finish within {timeoutMs} ms',
    75,
    'give it more time or less data',
  ),
  CPU_FAILED: entry('CPU job {job} failed: {reason}', 70, "the reason is the job's own error"),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

export class SwitchyardError extends Error {
  readonly exitCode: number;
  readonly hint: string;

  /** @param params values for the placeholders of the text; never a secret. */
  constructor(
    readonly code: ErrorCode,
    params: Readonly<Record<string, string | number>> = {},
    options?: { cause?: unknown },
  ) {
    const spec = ERRORS[code];
    super(
      spec.text.replace(/\{(\w+)\}/g, (_, name: string) => String(params[name] ?? `{${name}}`)),
      options,
    );
    this.name = 'SwitchyardError';
    this.exitCode = spec.exit;
    this.hint = spec.hint;
  }
}

/** Text of anything thrown. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
