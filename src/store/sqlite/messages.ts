/** What the SQLite thread and its channel say to each other. */
import type { RowSet, SqlRow, StoreErrorCode } from '../driver.js';

export type SqliteOp =
  | { readonly op: 'query'; readonly sql: string; readonly binds: SqlRow; readonly maxRows: number }
  | { readonly op: 'execute'; readonly sql: string; readonly binds: SqlRow }
  /** A text in place of a row is the complaint about it, found by the caller. */
  | {
      readonly op: 'batch';
      readonly sql: string;
      readonly rows: readonly (SqlRow | string)[];
      readonly skip: boolean;
    }
  | { readonly op: 'begin' | 'commit' | 'rollback' }
  /** `bulk`, any number of `rows`, `bulk-end`: always inside a transaction. */
  | { readonly op: 'bulk'; readonly plan: BulkPlan }
  /** Whole lines of tab text in memory of its own, which goes over to the thread. */
  | { readonly op: 'rows'; readonly block: Uint8Array<ArrayBuffer> }
  | { readonly op: 'bulk-end'; readonly keep: boolean }
  | {
      readonly op: 'open';
      readonly cursor: number;
      readonly sql: string;
      readonly binds: SqlRow;
      readonly batchRows: number;
    }
  | { readonly op: 'fetch' | 'close'; readonly cursor: number };

export interface BulkPlan {
  readonly table: string;
  readonly columns: readonly string[];
  readonly onDuplicate: 'error' | 'skip' | 'update';
  readonly keys: readonly string[];
  readonly touch: readonly string[];
  readonly hex: readonly string[];
  /** The transaction goes on when the bulk fails. */
  readonly nested: boolean;
}

export interface SqliteRequest {
  readonly id: number;
  /** Index into the shared state, see below. */
  readonly slot: number;
  readonly op: SqliteOp;
}

export type SqliteReply =
  | { readonly id: number; readonly value: unknown }
  | {
      readonly id: number;
      readonly code: StoreErrorCode;
      readonly message: string;
      readonly row?: number | undefined;
    };

/** A batch of a cursor. */
export interface CursorRows extends RowSet {
  readonly last: boolean;
}

/** The first message of the thread. */
export type SqliteHello =
  { readonly ready: true } | { readonly ready: false; readonly full: boolean; readonly message: string };

export interface SqliteThreadData {
  readonly path: string;
  readonly sync: 'full' | 'normal';
  readonly busyTimeoutMs: number;
  /** SLOTS + 1 words. The last one is the slot being worked on, or -1. */
  readonly state: Int32Array;
}

/** Requests under way at once; each holds a slot of the shared state until its reply. */
export const SLOTS = 64;
export const RUNNING = SLOTS;

/**
 * Who decided a request: nobody yet, the thread (it is about to commit: the outcome is the reply) or the caller (given up: the
 * thread must not apply it). Both sides change OPEN by compare-and-exchange, so "timed out" always means "not applied".
 */
export const OPEN = 0;
export const DECIDED = 1;
export const GIVEN_UP = 2;
