/** Counters of workers (`ctx.count`) become metrics of the process. Main thread. */
import type { MetricRegistry } from '../runtime/metrics.js';

/** @returns takes [`name` or `name\n{labels}`, sum] pairs */
export function countersInto(
  metrics: MetricRegistry,
): (counters: readonly (readonly [string, number])[]) => void {
  return (counters) => {
    for (const [key, sum] of counters) {
      const [name = '', labels = '{}'] = key.split('\n');
      const values = JSON.parse(labels) as Record<string, string>;
      metrics.count(name, sum, values);
    }
  };
}
