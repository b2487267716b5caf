/** The contract of an admin command: one file each, listed in index.ts. Runs on the main thread. */
import type { ControlPlane, Outcome } from '../control-plane.js';
import type { LogLevel } from '../log-contract.js';

export interface AdminReply {
  readonly ok: boolean;
  /** Plain JSON data: the whole answer in JSON mode. */
  readonly data: unknown;
  /** The answer in text mode, without a final line end. When not ok: one sentence. */
  readonly text: string;
  /** Close the connection after the answer. */
  readonly close?: boolean;
}

export interface AdminCommand {
  readonly name: string;
  /** Arguments as shown by `help`, e.g. `[stage] [limit]`. */
  readonly usage: string;
  readonly help: string;
  /** May throw UsageError for wrong arguments; other throws are answered as an error with their message. */
  run(args: readonly string[], control: ControlPlane): AdminReply | Promise<AdminReply>;
}

/** Wrong arguments; the message says what is wrong, the usage line is added by the caller. */
export class UsageError extends Error {}

export function show(data: unknown, text: string): AdminReply {
  return { ok: true, data, text };
}

export function fromOutcome(outcome: Outcome): AdminReply {
  return { ok: outcome.ok, data: outcome, text: outcome.detail };
}

/** The only argument of a command that takes exactly one. */
export function oneArgument(args: readonly string[], what: string): string {
  const [first] = args;
  if (first === undefined) throw new UsageError(`${what} is missing`);
  noMore(args, 1);
  return first;
}

export function noMore(args: readonly string[], allowed: number): void {
  const extra = args[allowed];
  if (extra !== undefined) throw new UsageError(`unexpected argument "${extra}"`);
}

/** A row limit in 1..10000, or the default when absent. */
export function limitOf(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > 10_000) throw new UsageError(`limit "${text}" is not a number from 1 to 10000`);
  return value;
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'notice', 'warn', 'error', 'fatal'];

export function levelOf(text: string): LogLevel {
  const level = LEVELS.find((l) => l === text.toLowerCase());
  if (level === undefined) throw new UsageError(`level "${text}" is not one of ${LEVELS.join(' ')}`);
  return level;
}
