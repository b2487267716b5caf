/**
 * Metric registry: counters, gauges, histograms, written as Prometheus text 0.0.4. Main thread; workers' counts arrive
 * with the bridge. Names are `switchyard_<thing>_<unit>[_total]`. Labels are for few values (actor, stage, pool), never
 * for users or files: a metric that grows past `maxSeries` label sets counts the rest under the value `other`, so
 * memory stays bounded whatever a caller does.
 */
export type Labels = Readonly<Record<string, string>>;
type Kind = 'counter' | 'gauge' | 'histogram';

const PREFIX = 'switchyard_';
const NAME = /^[a-z][a-z0-9_]*$/;
const OVERFLOW = 'other';

/** One series. Keep the handle on hot paths: no look-up. */
export class Series {
  value = 0;

  inc(delta = 1): void {
    this.value += delta;
  }

  /** For gauges, and for counters that mirror a sum kept elsewhere. */
  set(value: number): void {
    this.value = value;
  }
}

export class HistogramSeries {
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(readonly bounds: readonly number[]) {
    this.counts = new Float64Array(bounds.length);
  }

  /** Buckets hold what is at most their bound; `counts` is not cumulative, the text is. */
  observe(value: number): void {
    this.sum += value;
    this.count += 1;
    const i = this.bounds.findIndex((bound) => value <= bound);
    if (i >= 0) this.counts[i] = (this.counts[i] ?? 0) + 1;
  }
}

class Family<S> {
  readonly series = new Map<string, { readonly labels: Labels; readonly series: S }>();

  constructor(
    readonly name: string,
    readonly kind: Kind,
    readonly help: string,
    private readonly labelNames: readonly string[],
    private readonly maxSeries: number,
    private readonly make: () => S,
    private readonly overflowed: () => void,
  ) {}

  /** Labels not given are empty; labels not declared are a mistake of the caller and ignored. */
  at(labels: Labels): S {
    const key = this.labelNames.map((name) => labels[name] ?? '').join('\u0000');
    const known = this.series.get(key);
    if (known !== undefined) return known.series;
    const full = this.series.size >= this.maxSeries;
    if (full) this.overflowed();
    const kept = Object.fromEntries(
      this.labelNames.map((name) => [name, full ? OVERFLOW : (labels[name] ?? '')]),
    );
    const keptKey = full ? this.labelNames.map(() => OVERFLOW).join('\u0000') : key;
    const overflow = this.series.get(keptKey);
    if (overflow !== undefined) return overflow.series;
    const series = this.make();
    this.series.set(keptKey, { labels: kept, series });
    return series;
  }

  /** Forgets series whose labels are gone (a stopped actor), for gauges filled at collect time. */
  clear(): void {
    this.series.clear();
  }
}

export type Metric = Pick<Family<Series>, 'at' | 'clear'>;
export type Histogram = Pick<Family<HistogramSeries>, 'at' | 'clear'>;

export interface RegistryLimits {
  readonly maxFamilies: number;
  readonly maxSeries: number;
}

export class MetricRegistry {
  private readonly families = new Map<string, Family<Series> | Family<HistogramSeries>>();
  private readonly collectors = new Set<() => void>();
  private readonly lost: Series;

  constructor(private readonly limits: RegistryLimits = { maxFamilies: 500, maxSeries: 500 }) {
    this.lost = new Series();
    this.lost = this.counter('metrics_overflow_total', 'Uses of a label set or name past the limit').at({});
  }

  /**
   * @param name without the prefix; ends in `_total`
   * @throws Error when the name is not lower_snake_case or was declared as another kind
   */
  counter(name: string, help: string, labelNames: readonly string[] = []): Metric {
    return this.family(name, 'counter', help, labelNames, () => new Series());
  }

  gauge(name: string, help: string, labelNames: readonly string[] = []): Metric {
    return this.family(name, 'gauge', help, labelNames, () => new Series());
  }

  /** @param bounds upper bounds, ascending, in the unit of the name; +Inf is added */
  histogram(
    name: string,
    help: string,
    bounds: readonly number[],
    labelNames: readonly string[] = [],
  ): Histogram {
    if (bounds.some((bound, i) => i > 0 && bound <= (bounds[i - 1] ?? 0))) {
      throw new Error(`metric ${name}: bucket bounds must ascend`);
    }
    return this.family(name, 'histogram', help, labelNames, () => new HistogramSeries(bounds));
  }

  /**
   * An actor's `ctx.count`: declares the counter at its first use. Never throws: a name that is not allowed, or one
   * past the limit, is counted as lost. `_total` is added when missing.
   */
  count(name: string, delta = 1, labels: Labels = {}): void {
    const full = name.endsWith('_total') ? name : `${name}_total`;
    const known = this.families.get(PREFIX + full);
    const badName = !NAME.test(full) || Object.keys(labels).some((label) => !NAME.test(label));
    if (badName || !(delta >= 0) || (known !== undefined && known.kind !== 'counter')) {
      this.lost.inc();
      return;
    }
    if (known === undefined && this.families.size >= this.limits.maxFamilies) {
      this.lost.inc();
      return;
    }
    const help = `Counted by actors as ${name}`;
    this.counter(full, help, Object.keys(labels).sort()).at(labels).inc(delta);
  }

  /** Runs before each exposition, to set gauges. @returns unregisters */
  collect(fill: () => void): () => void {
    this.collectors.add(fill);
    return () => this.collectors.delete(fill);
  }

  /** Prometheus text 0.0.4; content type `text/plain; version=0.0.4; charset=utf-8`. */
  text(): string {
    for (const fill of this.collectors) fill();
    const lines: string[] = [];
    for (const family of this.families.values()) {
      if (family.series.size === 0) continue;
      lines.push(`# HELP ${family.name} ${escapeHelp(family.help)}`, `# TYPE ${family.name} ${family.kind}`);
      for (const { labels, series } of family.series.values()) {
        if (series instanceof Series) lines.push(`${family.name}${labelText(labels)} ${show(series.value)}`);
        else histogramLines(lines, family.name, labels, series);
      }
    }
    return `${lines.join('\n')}\n`;
  }

  private family<S extends Series | HistogramSeries>(
    name: string,
    kind: Kind,
    help: string,
    labelNames: readonly string[],
    make: () => S,
  ): Family<S> {
    const full = PREFIX + name;
    const known = this.families.get(full);
    if (known !== undefined) {
      if (known.kind !== kind) throw new Error(`metric ${full} is already a ${known.kind}`);
      return known as Family<S>;
    }
    if (!NAME.test(name) || !labelNames.every((label) => NAME.test(label))) {
      throw new Error(`metric name or label of "${name}" is not lower_snake_case`);
    }
    const overflowed = (): void => this.lost.inc();
    const family = new Family<S>(full, kind, help, labelNames, this.limits.maxSeries, make, overflowed);
    this.families.set(full, family as unknown as Family<Series>);
    return family;
  }
}

function histogramLines(lines: string[], name: string, labels: Labels, series: HistogramSeries): void {
  let total = 0;
  series.bounds.forEach((bound, i) => {
    total += series.counts[i] ?? 0;
    lines.push(`${name}_bucket${labelText({ ...labels, le: show(bound) })} ${total}`);
  });
  lines.push(`${name}_bucket${labelText({ ...labels, le: '+Inf' })} ${series.count}`);
  lines.push(`${name}_sum${labelText(labels)} ${show(series.sum)}`);
  lines.push(`${name}_count${labelText(labels)} ${series.count}`);
}

function show(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`,
  );
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

function escapeHelp(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
}
