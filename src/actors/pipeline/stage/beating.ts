/** Keeps a stage's heartbeat going while a database is at work. Worker thread. */
import type { StageRun } from './run.js';

type Beaten = Pick<StageRun, 'progress'>;

/** A statement may take long, but has its own deadline; until then its stage counts as alive. */
const BEAT = 5_000;

/** While one call to a database takes its time. */
export async function beating<T>(run: Beaten, work: Promise<T>): Promise<T> {
  const timer = setInterval(() => run.progress(), BEAT);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    run.progress();
  }
}

/** The same for each step of a loop: a database may sort for minutes before its first row comes, within the deadline of a batch. */
export async function* beatingEach<T>(run: Beaten, items: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      const result = await beating(run, iterator.next());
      if (result.done === true) return;
      yield result.value;
    }
  } finally {
    await iterator.return?.();
  }
}
