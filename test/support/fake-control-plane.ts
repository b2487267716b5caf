/** A control plane with one of everything, that remembers what it was asked. For tests of the operations side. */
import type { ControlPlane, Outcome } from '../../src/runtime/control-plane.js';
import type { Logger } from '../../src/runtime/log-contract.js';

export interface FakeControlPlane extends ControlPlane {
  /** `operation argument` of every changing call, in order. */
  readonly calls: string[];
  ready: ControlPlane['ready'];
  reload: ControlPlane['reload'];
  dump: ControlPlane['dump'];
  totals: ControlPlane['totals'];
  queues: ControlPlane['queues'];
}

export function fakeControlPlane(): FakeControlPlane {
  const calls: string[] = [];
  const did = (call: string): Outcome => {
    calls.push(call);
    return call.endsWith(' missing')
      ? { ok: false, detail: 'no such thing: missing' }
      : { ok: true, detail: `did ${call}` };
  };
  return {
    calls,
    ps: () => [
      {
        ref: 'packet#0',
        state: 'running',
        pool: 'packet',
        thread: 3,
        message: 'frame 5',
        messageAgeMs: 1250,
        handled: 42,
        restarts: 1,
        lastError: 'boom\n.\nevil \u001b[31m',
        depth: 7,
        uptimeMs: 185_000,
      },
      {
        ref: 'stage/load-obs',
        state: 'stopped',
        pool: 'pipeline',
        thread: undefined,
        message: undefined,
        messageAgeMs: undefined,
        handled: 0,
        restarts: 0,
        lastError: undefined,
        depth: 0,
        uptimeMs: 0,
      },
    ],
    queues: () => [
      {
        name: 'packet#0',
        depth: 7,
        bytes: 1536,
        capacity: 10_000,
        capacityBytes: 16 << 20,
        highWater: 99,
        oldestMs: 20,
        policy: 'pause-reading',
        refused: 5,
        dropped: 0,
      },
    ],
    conns: (filter) => {
      calls.push(`conns ${JSON.stringify(filter)}`);
      return [
        {
          id: '4.2',
          listener: 'packet',
          remoteAddress: '::1',
          remotePort: 4000,
          secure: false,
          ageMs: 5000,
          idleMs: 100,
          packetsIn: 9,
          packetsOut: 8,
          bytesIn: 72,
          bytesOut: 64,
          sendQueueBytes: 0,
          paused: true,
        },
      ];
    },
    totals: () => ({
      connections: 1,
      connectionLimit: 2048,
      accepted: 10,
      refused: 2,
      packetsIn: 100,
      packetsOut: 90,
      bytesIn: 800,
      bytesOut: 720,
      queued: 7,
      sendQueueBytes: 0,
      discarded: 3,
      badPackets: 4,
      timers: 5,
    }),
    stages: async () => [
      {
        name: 'load-obs',
        state: 'idle',
        lastStartAt: 1_700_000_000_000,
        lastDurationMs: 2500,
        lastResult: 'ok',
        nextDueAt: 1_700_000_060_000,
        rows: 839,
        files: 1,
        errors: 0,
      },
    ],
    runs: async (stage, limit) => {
      calls.push(`runs ${stage ?? 'all'} ${limit}`);
      return [
        {
          id: 17,
          stage: 'load-obs',
          startAt: 1_700_000_000_000,
          endAt: 1_700_000_002_500,
          result: 'ok',
          rowsIn: 839,
          rows: 839,
          bytes: 120_000,
          rowsPerSecond: 4_195,
          lagMs: 1_500,
          rejected: 1,
          files: 1,
          errors: 0,
          error: undefined,
        },
      ];
    },
    deadLetters: (limit) => {
      calls.push(`dead ${limit}`);
      return [
        {
          at: 1_700_000_000_000,
          to: 'packet#0',
          from: undefined,
          message: 'frame 5',
          bytes: 120,
          reason: 'the actor crashed',
        },
      ];
    },
    logLevels: () => ({ '*': 'info', 'packet#0': 'debug' }),
    setLogLevel: (level, ref) => did(`level ${level} ${ref ?? '*'}`),
    reopenLogs: async () => did('reopen'),
    reload: async () => ({ ok: true, changes: ['~ [process] log_level info -> debug (live)'], problems: [] }),
    restart: async (ref) => did(`restart ${ref}`),
    stop: async (ref) => did(`stop ${ref}`),
    start: async (ref) => did(`start ${ref}`),
    pause: async (stage) => did(`pause ${stage}`),
    resume: async (stage) => did(`resume ${stage}`),
    runNow: async (stage) => did(`run ${stage}`),
    beat: async (stage) => did(`beat ${stage}`),
    kick: (who) => did(`kick ${who}`),
    drain: async () => did('drain'),
    shutdown: async (reason) => did(`shutdown ${reason}`),
    dump: async () => ({ version: 'test', conf: { password: '***' } }),
    metricsText: () => '# TYPE switchyard_connections gauge\nswitchyard_connections 1\n',
    live: () => ({ ok: true, detail: 'live' }),
    ready: () => ({ ready: true, state: 'running', reasons: [] }),
  };
}

export interface LoggedEvent {
  readonly level: string;
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A logger that keeps its events. */
export function memoryLogger(events: LoggedEvent[] = []): Logger & { readonly events: LoggedEvent[] } {
  const at =
    (level: string) =>
    (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      events.push({ level, event, fields });
    };
  const logger: Logger & { readonly events: LoggedEvent[] } = {
    events,
    debug: at('debug'),
    info: at('info'),
    notice: at('notice'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    child: () => logger,
  };
  return logger;
}
