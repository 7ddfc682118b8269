/**
 * Declaration of metrics. Each app's metrics.ts has `makeMetrics(registry, read)`; with
 * `NO_READINGS` it lists, documents and checks metrics without a running app.
 *
 * `gauge` and `total` read a value of the app at each scrape. A gauge may decrease; a total (a
 * Prometheus counter) only increases. `counter` counts events. Label values are a fixed set of the
 * code (state, reason, stream, action) or names that operators choose (rules). They are never pods,
 * addresses or nodes.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Values by label value. */
export type Values = Readonly<Record<string, number>>;

/** Seconds, for latencies with a budget of tens of milliseconds. */
export const FAST_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
/** Seconds, for calls to servers and waits for other machines. */
export const SLOW_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export class MetricFamily<R = void> {
  readonly #prefix: string;
  readonly #registers: Registry[];
  readonly #read: () => R;

  /**
   * @param prefix of all names, such as `bailiff_collector_`
   * @param read what the metrics below take their values from; called once per scrape
   */
  constructor(registry: Registry, prefix: string, read: () => R = () => undefined as R) {
    this.#prefix = prefix;
    this.#registers = [registry];
    this.#read = oncePerScrape(read);
  }

  #options(name: string, help: string) {
    return { name: this.#prefix + name, help, registers: this.#registers };
  }

  /** Read when scraped; may increase and decrease. */
  gauge(name: string, help: string, value: (from: R) => number): void {
    const read = this.#read;
    new Gauge({
      ...this.#options(name, help),
      collect() {
        this.set(value(read()));
      },
    });
  }

  /** As `gauge`, with one series per label value. Values that are no longer read disappear. */
  gaugeBy(name: string, help: string, label: string, values: (from: R) => Values): void {
    const read = this.#read;
    new Gauge({
      ...this.#options(name, help),
      labelNames: [label],
      collect() {
        this.reset();
        for (const [of, n] of Object.entries(values(read()))) this.set({ [label]: of }, n);
      },
    });
  }

  /** Read when scraped; only increases while the process runs. The name ends in `_total`. */
  total(name: string, help: string, value: (from: R) => number): void {
    const read = this.#read;
    new Counter({
      ...this.#options(name, help),
      collect() {
        this.reset();
        this.inc(value(read()));
      },
    });
  }

  /** As `total`, with one series per label value. */
  totalBy(name: string, help: string, label: string, values: (from: R) => Values): void {
    const read = this.#read;
    new Counter({
      ...this.#options(name, help),
      labelNames: [label],
      collect() {
        this.reset();
        for (const [of, n] of Object.entries(values(read()))) this.inc({ [label]: of }, n);
      },
    });
  }

  /** As `total`, with several labels: label values in the order of `labelNames`, and the number. */
  totals(
    name: string,
    help: string,
    labelNames: readonly string[],
    values: (from: R) => Iterable<readonly [labels: readonly string[], n: number]>,
  ): void {
    const read = this.#read;
    new Counter({
      ...this.#options(name, help),
      labelNames: [...labelNames],
      collect() {
        this.reset();
        for (const [labels, n] of values(read())) this.labels(...labels).inc(n);
      },
    });
  }

  /**
   * Counts events. The name ends in `_total`. `zeros`: label values exported from the start,
   * because `increase()` misses the first increment of a new series.
   */
  counter<L extends string = never>(
    name: string,
    help: string,
    labelNames: readonly L[] = [],
    zeros: readonly Partial<Record<L, string>>[] = [],
  ): Counter<L> {
    const counter = new Counter<L>({ ...this.#options(name, help), labelNames: [...labelNames] });
    for (const labels of zeros) counter.inc(labels as Record<L, string>, 0);
    return counter;
  }

  /** The name ends in the unit: `_seconds`. `zeros` as in `counter`. */
  histogram<L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly L[] = [],
    zeros: readonly Record<L, string>[] = [],
  ): Histogram<L> {
    const histogram = new Histogram<L>({
      ...this.#options(name, help),
      buckets: [...buckets],
      labelNames: [...labelNames],
    });
    for (const labels of zeros) histogram.zero(labels);
    return histogram;
  }
}

/**
 * Caches a reading for all metrics of one scrape. So the metrics are consistent, and the app is read
 * once. A registry collects all metrics synchronously; a microtask then clears the cache.
 */
function oncePerScrape<R>(read: () => R): () => R {
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
