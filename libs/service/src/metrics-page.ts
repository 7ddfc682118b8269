/**
 * The page /metrics. Its readers are not known, on a node any pod, and a rendering takes from
 * milliseconds to, with full kernel maps, tenths of a second, in which the process does nothing else.
 * So it is rendered at a limited rate and for a limited share of the time; requests beyond that get the
 * last rendering.
 */
import type { Registry } from 'prom-client';
import type { Clock } from './clock.ts';
import type { Page } from './http.ts';

export const RENDERS_PER_SECOND = 20;
/** Renderings at once after a pause. */
export const RENDER_BURST = 40;
/** Part of the time that renderings take, if each takes longer than this rate allows. */
export const RENDER_SHARE = 1 / 10;
const INTERVAL_MS = 1_000 / RENDERS_PER_SECOND;

export class MetricsPage {
  readonly #registry: Registry;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #last: Promise<Page> | null = null;
  #isRendering = false;
  /** Time until which the permitted renderings are used up, at the permitted rate. */
  #usedUntilMs = 0;
  #repeated = 0;

  constructor(registry: Registry, clock: Pick<Clock, 'monotonicMs'>) {
    this.#registry = registry;
    this.#clock = clock;
  }

  /** Responses that repeated the last rendering. */
  get repeated(): number {
    return this.#repeated;
  }

  get(): Promise<Page> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#last && (this.#isRendering || this.#usedUntilMs > nowMs + (RENDER_BURST - 1) * INTERVAL_MS)) {
      this.#repeated += 1;
      return this.#last;
    }
    this.#isRendering = true;
    this.#last = this.#render(nowMs);
    return this.#last;
  }

  async #render(beganMs: number): Promise<Page> {
    try {
      // One buffer for all responses that share it, also for those that a client reads slowly.
      const body = Buffer.from(await this.#registry.metrics());
      return { status: 200, type: this.#registry.contentType, body };
    } finally {
      const tookMs = this.#clock.monotonicMs() - beganMs;
      this.#usedUntilMs = Math.max(this.#usedUntilMs, beganMs) + Math.max(INTERVAL_MS, tookMs / RENDER_SHARE);
      this.#isRendering = false;
    }
  }
}
