/** A supervisor with fake children and fake time. */
import { afterEach, beforeEach, vi } from 'vitest';
import { Supervisor, type SupervisorOptions, type SupervisorReport } from '../../src/runtime/supervisor.js';
import { FakeChild, type FakeOptions } from './fake-child.js';

/** What the children did, and what supervisors made by `supervise` reported, in this test. */
export const log: string[] = [];
export const reports: SupervisorReport[] = [];

/** Every test of the file gets fake time and empty records. */
export function useFakeTime(): void {
  beforeEach(() => {
    log.length = reports.length = 0;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

export const after = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

/** What was logged since the last call. */
export const happened = (): string[] => log.splice(0);

export const fake = (id: string, options?: FakeOptions): FakeChild => new FakeChild(id, log, options);

export const three = (): [FakeChild, FakeChild, FakeChild] => [fake('a'), fake('b'), fake('c')];

export function supervise(
  children: readonly FakeChild[],
  options: Partial<SupervisorOptions> = {},
): Supervisor {
  return new Supervisor(
    { id: 'top', random: () => 0.5, onEvent: (report) => reports.push(report), ...options },
    children.map((child) => child.spec),
  );
}

/** Starts, and forgets what the start logged. */
export async function running(
  children: readonly FakeChild[],
  options?: Partial<SupervisorOptions>,
): Promise<Supervisor> {
  const supervisor = supervise(children, options);
  await supervisor.start();
  happened();
  return supervisor;
}

export const stateOf = (supervisor: Supervisor, id: string): string | undefined =>
  supervisor.status().children.find((child) => child.id === id)?.state;
