/** What a full extraction owes to an earlier run that was cut off: the rest of the rows, or nothing at all. Worker thread. */
import { createHash } from 'node:crypto';
import { makeSchedule } from '../../../runtime/schedule.js';
import type { FullProgress, Memory } from './memory.js';
import type { Plan } from './plan.js';
import type { ExtractParams } from './settings.js';
import type { StageRun } from '../stage/run.js';

/** Another select, other fields or another key make another extraction. */
export function signatureOf({ sql, key, fields }: ExtractParams): string {
  return createHash('sha256')
    .update(JSON.stringify([sql, key, fields]))
    .digest('hex')
    .slice(0, 32);
}

/** @returns where to go on; undefined: from the beginning */
export function unfinished(
  { full: kept }: Memory,
  params: ExtractParams,
  plan: Plan,
  run: StageRun,
): FullProgress | undefined {
  if (kept === undefined) return undefined;
  const age = Date.now() - kept.startedAt;
  const usable = plan.ordered && kept.signature === signatureOf(params) && age <= params.resume_within;
  const fields = { after: kept.after.value, ageMs: age };
  if (usable) run.log.notice('extract.resumes', fields);
  else run.log.notice('extract.begins-anew', fields);
  return usable ? kept : undefined;
}

/**
 * Whether all rows were sent by a run that then did not come to its end: this one makes up for it, with nothing left to send. Once
 * any run since has ended well, or the next one was due by the schedule, it is a new extraction.
 * @param whole a run that did come to its end, whatever the ledger knows of it
 */
export async function sentAlready(
  { ended }: Memory,
  params: ExtractParams,
  whole: number | undefined,
  run: StageRun,
): Promise<boolean> {
  // A number that is still to come is of another ledger.
  if (ended === undefined || ended.run === whole || ended.run >= (run.runId ?? Infinity)) return false;
  const now = Date.now();
  const ageMs = now - ended.endedAt;
  if (ended.signature !== signatureOf(params) || ageMs > params.resume_within) return false;
  if (params.after.length === 0 && makeSchedule(params).following(ended.endedAt) <= now) return false;
  if (!(await run.cutOff(ended.run))) return false;
  run.log.notice('extract.sent-already', { run: ended.run, ageMs });
  return true;
}
