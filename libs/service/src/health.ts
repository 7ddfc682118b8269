/**
 * Liveness and readiness: named checks, each answering true or the reason why not. A check that throws or does not answer
 * within 2 s counts as failed, with that as its reason; a probe of the kubelet must never hang on a hanging dependency.
 */

/** True when well, else the reason; false is a reason without words. */
export type Check = () => boolean | string | Promise<boolean | string>;

export interface HealthReport {
  ok: boolean;
  /** Name of each check to "ok" or its reason. */
  checks: Record<string, string>;
}

const CHECK_TIMEOUT_MS = 2_000;

export class Health {
  #live = new Map<string, Check>();
  #ready = new Map<string, Check>();
  #started = false;
  #stopping = false;

  /** Adds a readiness check; a second of the same name replaces the first. */
  ready(name: string, check: Check): void {
    this.#ready.set(name, check);
  }
  /** Adds a liveness check: only what a restart would mend. */
  live(name: string, check: Check): void {
    this.#live.set(name, check);
  }
  /** The start is done: until then not ready, whatever the checks say, because it may not have added all of them. */
  started(): void {
    this.#started = true;
  }
  /** From now on not ready: traffic and probes move away before anything is torn down. */
  stopping(): void {
    this.#stopping = true;
  }
  checkLive(): Promise<HealthReport> {
    return report(this.#live);
  }
  async checkReady(): Promise<HealthReport> {
    if (this.#stopping) return { ok: false, checks: { shutdown: 'stopping' } };
    const { ok, checks } = await report(this.#ready);
    return this.#started ? { ok, checks } : { ok: false, checks: { ...checks, start: 'under way' } };
  }
}

async function report(checks: ReadonlyMap<string, Check>): Promise<HealthReport> {
  const results = await Promise.all([...checks].map(async ([name, check]) => [name, await answer(check)] as const));
  return { ok: results.every(([, text]) => text === 'ok'), checks: Object.fromEntries(results) };
}

async function answer(check: Check): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer within ${CHECK_TIMEOUT_MS} ms`), CHECK_TIMEOUT_MS);
  });
  try {
    const value = await Promise.race([check(), late]);
    return value === true ? 'ok' : value === false ? 'failed' : value;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}
