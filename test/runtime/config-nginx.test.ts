import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { confSchema } from '../../src/conf-schema.js';
import { atoi, isNginxConf, readNginxConf } from '../../src/runtime/config-nginx.js';
import { problemText } from '../../src/runtime/config-reader.js';
import { buildConfig, sectionsOf, valuesOf, type LoadedConfig } from '../../src/runtime/config.js';
import { listenerKeys, listenerSection } from '../../src/runtime/listener-keys.js';
import { logKeys, processKeys, processSections } from '../../src/runtime/process-keys.js';

const schema = { sections: [...processSections, listenerSection], resolve: () => ({}) };
const load = (text: string | Uint8Array): LoadedConfig =>
  buildConfig([readNginxConf('nginx.conf', Buffer.from(text), schema.sections)], schema, {});
const problems = (loaded: LoadedConfig): string[] => loaded.problems.map(problemText);

const shipped = `
# a comment
[Log]
Log=error.log
LogLevel = 8
[Proc]
WorkerProcesses = 2
Daemon = 1
ProcMsgRecvWorkThreadCount = 100
[Net]
ListenPortCount = 2
ListenPort0 = 80
listenport1 = 8088
worker_connections = 2048
Sock_RecyConnectionWaitTime = 90
Sock_WaitTimeEnable = 1
Sock_MaxWaitTime = 3
Sock_TimeOutKick = 0
Sock_FloodAttackKickEnable = 1
Sock_FloodTimeInterval = 100
Sock_FloodKickCounter = 10
DBInfo = 127.0.0.1;3306;root;hunter2;game
`;

describe("the packet server's nginx.conf", () => {
  it('is recognised by its name or by its keys', () => {
    expect(isNginxConf('/etc/x/nginx.conf', Buffer.from(''))).toBe(true);
    expect(isNginxConf('packet.conf', Buffer.from('[Net]\nLISTENPORT0 = 80'))).toBe(true);
    expect(isNginxConf('packet.conf', Buffer.from('[listener packet]\naddress = 80'))).toBe(false);
  });

  it('becomes one listener per port, log and process values', () => {
    const { config, problems } = load(shipped);
    expect(problems.filter((p) => p.severity === 'error')).toEqual([]);
    expect(
      sectionsOf(config, 'listener').map((s) => [s.name, s.values['address'], s.values['protocol']]),
    ).toEqual([
      ['packet-0', '80', 'packet'],
      ['packet-1', '8088', 'packet'],
    ]);
    for (const name of ['packet-0', 'packet-1']) {
      expect(valuesOf(config, 'listener', listenerKeys, name)).toMatchObject({
        max_connections: 4096,
        heartbeat: true,
        heartbeat_interval: 5000,
        timeout_kick: false,
        flood_guard: true,
        flood_interval: 100,
        flood_packets: 10,
      });
    }
    expect(valuesOf(config, 'log', logKeys)).toMatchObject({ file: 'error.log', level: 'debug' });
    expect(valuesOf(config, 'process', processKeys).daemon).toBe(true);
  });

  it('alone is enough: it brings the actor that answers', () => {
    const whole = confSchema();
    const text = readNginxConf('nginx.conf', Buffer.from(shipped), whole.sections);
    const { config, problems } = buildConfig([text], whole, {});
    expect(problems.filter((p) => p.severity === 'error')).toEqual([]);
    expect(sectionsOf(config, 'actor').map((s) => [s.name, s.values['type']])).toEqual([
      ['packet', 'packet'],
    ]);
  });

  it('notes each key without a meaning here, without its value', () => {
    const notes = problems(load(shipped));
    expect(notes).toEqual([
      'nginx.conf:7: note: WorkerProcesses has no effect: one process does the work; worker_connections is multiplied by it',
      'nginx.conf:9: note: ProcMsgRecvWorkThreadCount has no effect: handlers do not block a thread; [pool NAME] workers sets the threads',
      'nginx.conf:15: note: Sock_RecyConnectionWaitTime has no effect: a closed connection is never mistaken for a new one, so nothing waits',
      'nginx.conf:22: note: DBInfo has no effect: the reference does not read it either; stores have their own section',
    ]);
    expect(notes.join()).not.toContain('hunter2');
  });

  it('lets the first occurrence win and compares keys without case', () => {
    const loaded = load(
      'ListenPort0=80\nLOG = a.log\nlog = b.log\nno pair\n Log = c.log\nWorker_Connectoins = 5',
    );
    expect(valuesOf(loaded.config, 'log', logKeys).file).toBe('a.log');
    expect(problems(loaded)).toEqual(
      [
        'nginx.conf:5: note: a line that starts with a blank is ignored',
        'nginx.conf:3: note: log is ignored: line 2 set it first',
        'nginx.conf:4: note: a line without key = value is ignored',
        'nginx.conf:6: note: Worker_Connectoins has no effect: not a key of this file, did you mean worker_connections?',
      ].sort((a, b) => Number(a.split(':')[1]) - Number(b.split(':')[1])),
    );
  });

  it('refuses a port count without its ports instead of listening on 10000', () => {
    expect(problems(load('ListenPortCount = 2\nListenPort0 = 80\nListenPort5 = 81'))).toEqual([
      'nginx.conf:1: ListenPortCount is 2 but ListenPort1 is missing (add the key or lower ListenPortCount)',
      'nginx.conf:3: note: ListenPort5 has no effect: ListenPortCount is 2',
    ]);
    expect(problems(load('Log = x'))).toEqual([
      'nginx.conf: ListenPortCount is 1 but ListenPort0 is missing (add the key or lower ListenPortCount)',
    ]);
    expect(problems(load('ListenPortCount = 99999'))).toEqual([
      'nginx.conf:1: ListenPortCount must be 1 to 1024, got 99999 (how many ports)',
    ]);
  });

  it('has room for more than one client when worker_connections is not set', () => {
    const { config, problems } = load('ListenPort0 = 80');
    expect(problems).toEqual([]);
    expect(valuesOf(config, 'listener', listenerKeys, 'packet').max_connections).toBe(16_384);
  });

  it('takes the single ListenPort, comments in GBK and integers as atoi reads them', () => {
    const gbk = Buffer.concat([
      Buffer.from('#'),
      Buffer.from([0xc6, 0xf8, 0xcf, 0xf3]),
      Buffer.from('\nListenPort = 80abc\n'),
    ]);
    const loaded = load(gbk);
    expect(problems(loaded)).toEqual([]);
    expect(sectionsOf(loaded.config, 'listener').map((s) => [s.name, s.values['address']])).toEqual([
      ['packet', '80'],
    ]);
    expect([' 12x', '-3', 'x', '', '99999999999'].map(atoi)).toEqual([12, -3, 0, 0, 2_147_483_647]);
  });

  it('reports a value out of bounds where it stands', () => {
    expect(problems(load('ListenPort0 = 70000\nworker_connections = many'))).toEqual([
      'nginx.conf:1: address must be port, host:port or [v6]:port with a port of 0 to 65535, got "70000" (Where to listen: port (every address, IPv4 and IPv6), host:port or [v6]:port)',
      'nginx.conf:2: max_connections must be at least 1, got "0" (Most clients at a time; one more is accepted, told if the protocol can, closed and counted)',
    ]);
  });

  it('never throws and keeps its places, whatever is in it', () => {
    const line = fc.oneof(
      fc.string(),
      fc
        .tuple(
          fc.constantFrom('ListenPortCount', 'ListenPort0', 'Log', 'LogLevel', 'constructor'),
          fc.string(),
        )
        .map((p) => p.join('=')),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 20 }), (lines) => {
        const { entries, problems } = readNginxConf('n', Buffer.from(lines.join('\n')), schema.sections);
        for (const { place } of [...entries, ...problems]) {
          expect(place.file).toBe('n');
          expect(place.line).toBeLessThanOrEqual(lines.join('\n').split(/\r\n|\n|\r/).length);
        }
      }),
    );
  });
});
