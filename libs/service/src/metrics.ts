/**
 * How every app declares what it counts. `makeMetrics(registry, read)` of its metrics.ts makes them all, with nothing but a reading of
 * zeros (`NO_READINGS`) where no app runs: so what there is can be listed, documented and checked without starting anything.
 *
 * A value that is kept somewhere anyway is read there when it is scraped: a `gauge` when it may fall, a `total` when it only grows while
 * the process runs (it is then of type counter, as `rate()` and promtool want it). What happens now and then is counted by a `counter`.
 *
 * Cardinality: a label's values are a handful that the code knows (a state, a reason, a stream, an action) or what operators wrote (the
 * name of a rule). Never a pod, an address or a node: those are in the events.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** By the value of a label. */
export type Values = Readonly<Record<string, number>>;

/** Seconds: where latencies with a budget of tens of milliseconds want to be told apart. */
export const FAST_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
/** Seconds: calls to servers, and what waits for other machines. */
export const SLOW_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export class MetricFamily {
  readonly #prefix: string;
  readonly #registers: Registry[];

  /** Names begin with `prefix`, such as `bailiff_collector_`. */
  constructor(registry: Registry, prefix: string) {
    this.#prefix = prefix;
    this.#registers = [registry];
  }

  #named(name: string, help: string) {
    return { name: this.#prefix + name, help, registers: this.#registers };
  }

  /** Read when scraped; may rise and fall. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      ...this.#named(name, help),
      collect() {
        this.set(read());
      },
    });
  }

  /** As `gauge`, one series for each value of the label; what is read no more is told no more. */
  gaugeBy(name: string, help: string, label: string, read: () => Values): void {
    new Gauge({
      ...this.#named(name, help),
      labelNames: [label],
      collect() {
        this.reset();
        for (const [value, n] of Object.entries(read())) this.set({ [label]: value }, n);
      },
    });
  }

  /** Read when scraped; only grows while the process runs. The name ends in `_total`. */
  total(name: string, help: string, read: () => number): void {
    new Counter({
      ...this.#named(name, help),
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  /** As `total`, one series for each value of the label. */
  totalBy(name: string, help: string, label: string, read: () => Values): void {
    new Counter({
      ...this.#named(name, help),
      labelNames: [label],
      collect() {
        this.reset();
        for (const [value, n] of Object.entries(read())) this.inc({ [label]: value }, n);
      },
    });
  }

  /** As `total`, with several labels: their values, in the order of their names, and the number. */
  totals(
    name: string,
    help: string,
    labelNames: readonly string[],
    read: () => Iterable<readonly [values: readonly string[], n: number]>,
  ): void {
    new Counter({
      ...this.#named(name, help),
      labelNames: [...labelNames],
      collect() {
        this.reset();
        for (const [values, n] of read()) this.labels(...values).inc(n);
      },
    });
  }

  /**
   * Counted as it happens. The name ends in `_total`. `zeros`: label values that are told from the start, because `increase()` does not
   * see the first of a series that was not there before.
   */
  counter<L extends string = never>(
    name: string,
    help: string,
    labelNames: readonly L[] = [],
    zeros: readonly Partial<Record<L, string>>[] = [],
  ): Counter<L> {
    const counter = new Counter<L>({ ...this.#named(name, help), labelNames: [...labelNames] });
    for (const labels of zeros) counter.inc(labels as Record<L, string>, 0);
    return counter;
  }

  /** The name ends in the unit: `_seconds`. `zeros` as of `counter`. */
  histogram<L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly L[] = [],
    zeros: readonly Record<L, string>[] = [],
  ): Histogram<L> {
    const histogram = new Histogram<L>({
      ...this.#named(name, help),
      buckets: [...buckets],
      labelNames: [...labelNames],
    });
    for (const labels of zeros) histogram.zero(labels);
    return histogram;
  }
}

/**
 * The reading that all metrics of one scrape share: made once, whatever it costs, and of one moment. A registry asks all its metrics
 * within one turn of the event loop; the next turn reads anew.
 */
export function oncePerScrape<R>(read: () => R): () => R {
  let reading: { value: R } | null = null;
  return () => {
    if (!reading) {
      reading = { value: read() };
      queueMicrotask(() => {
        reading = null;
      });
    }
    return reading.value;
  };
}

/** One metric as it is declared. */
export interface MetricDeclaration {
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels: readonly string[];
  /** Upper bounds, of a histogram; otherwise empty. */
  buckets: readonly number[];
}

/** What is in a registry, by name. Reads nothing. */
export function listMetrics(registry: Registry): MetricDeclaration[] {
  type Declared = { name: string; type: MetricDeclaration['type']; help: string };
  const declared = registry.getMetricsAsArray() as unknown as (Declared & {
    labelNames: string[];
    upperBounds?: number[];
  })[];
  return declared
    .map(({ name, type, help, labelNames, upperBounds }) => {
      return { name, type, help, labels: labelNames.filter((label) => label !== 'le'), buckets: upperBounds ?? [] };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
