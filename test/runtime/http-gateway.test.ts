import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HttpGateway } from '../../src/runtime/http-gateway.js';
import type { HttpExchange } from '../../src/runtime/http-exchange.js';
import { SystemHarness, until } from '../support/system-harness.js';

/** What an engine's exchange does, as far as the gateway sees it; keeps what it was given. */
class FakeExchange {
  readonly method = 'GET';
  readonly query = '';
  readonly headers = {};
  readonly remoteAddress = '::1';
  readonly requestId = 'r';
  readonly body = Buffer.alloc(0);
  status = 0;
  bytes = 0;
  ended = false;
  failed: string | undefined;
  private gone: (() => void) | undefined;

  constructor(readonly path: string) {}

  get over(): boolean {
    return this.ended || this.failed !== undefined;
  }

  head(status: number): void {
    if (status < 200) throw new Error(`bad status ${status}`);
    this.status = status;
  }

  write(chunk: Uint8Array): boolean {
    this.bytes += chunk.length;
    return true;
  }

  end(): void {
    this.ended = true;
  }

  fail(reason: string): void {
    this.failed = reason;
  }

  problem(status: number): void {
    this.status = status;
    this.ended = true;
  }

  abort(): void {
    this.gone?.();
  }

  onAbort(listener: () => void): void {
    this.gone = listener;
  }

  whenDrained(): Promise<void> {
    return Promise.resolve();
  }
}

let system: SystemHarness;
let gateway: HttpGateway;
beforeEach(async () => {
  system = new SystemHarness();
  gateway = new HttpGateway(system.system.registry, { maxExchanges: 100, responseTimeout: 60_000 });
  system.system.setResponses(gateway);
  await system.start('awkward', 'awkwardActor', { idempotent: true });
});
afterEach(async () => {
  gateway.close();
  await system.close();
});

function request(path: string): FakeExchange {
  const exchange = new FakeExchange(path);
  gateway.offer('awkward', exchange as unknown as HttpExchange);
  return exchange;
}

describe('a response of an actor', () => {
  it('streams more than its window', async () => {
    const exchange = request('/stream');
    await until('whole', () => exchange.ended);
    expect(exchange.bytes).toBe(1_000_000);
  });

  it('may be written by several writers at once', async () => {
    const exchange = request('/together');
    await until('whole', () => exchange.ended);
    expect(exchange.bytes).toBe(1_000_000);
  });

  it('may have a head larger than a piece of its body', async () => {
    const exchange = request('/large-head');
    await until('whole', () => exchange.ended);
    expect(exchange).toMatchObject({ status: 200, bytes: 5 });
  });

  it('that the client left while its request waited does not hold the actor up', async () => {
    const slept = request('/sleep');
    const left = request('/stream');
    left.abort();
    await until('the one before', () => slept.ended);
    expect(await system.ask('awkward', 'free', 3000)).toBe('free');
    expect(left.bytes).toBe(0);
    expect(gateway.size).toBe(0);
  });

  it('with a head that is not allowed fails, and its writer is let go', async () => {
    const exchange = request('/bad-head');
    await until('failed', () => exchange.over);
    expect(exchange.failed).toContain('bad status');
    expect(await system.ask('awkward', 'free', 3000)).toBe('free');
  });

  it('under way when the thread dies is given to the new instance once more by an idempotent actor', async () => {
    const exchange = request('/sleep');
    await until('under way', () => system.system.registry.get('awkward')!.mailbox.started === 1);
    await system.system.registry.get('awkward')!.bridge!.terminate();
    await until('answered', () => exchange.over);
    expect(exchange).toMatchObject({ ended: true, failed: undefined });
  });

  it('begun and not ended when the actor crashes is failed', async () => {
    const exchange = request('/never-ended');
    await until('begun', () => exchange.status === 200);
    await system.system.registry.get('awkward')!.bridge!.terminate();
    await until('failed', () => exchange.failed !== undefined);
    expect(gateway.size).toBe(0);
  });
});
