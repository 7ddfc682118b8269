/**
 * The way down: steps run last in, first out, one after another, each bounded in time. A step that fails or is late is
 * reported and passed over, so that one hanging dependency cannot keep the next step from flushing what it has.
 */
import { ServiceError } from './errors.ts';

export interface StopFailure {
  name: string;
  error: Error;
}

export class StopSteps {
  #steps: { name: string; fn: () => void | Promise<void> }[] = [];

  add(name: string, fn: () => void | Promise<void>): void {
    this.#steps.push({ name, fn });
  }

  /** Runs the steps; gives those that failed. `hurry` ends the waiting for the running step and skips none of the rest. */
  async run(timeoutMs: number, hurry: AbortSignal): Promise<StopFailure[]> {
    const failures: StopFailure[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await bounded(step.name, step.fn, hurry.aborted ? 0 : timeoutMs, hurry);
      } catch (error) {
        failures.push({ name: step.name, error: error instanceof Error ? error : new Error(String(error)) });
      }
    }
    return failures;
  }
}

async function bounded(
  name: string,
  fn: () => void | Promise<void>,
  timeoutMs: number,
  hurry: AbortSignal,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let onHurry = () => {};
  const late = new Promise<never>((_, reject) => {
    const fail = (why: string) => reject(new ServiceError('SERVICE_STOP_TIMEOUT', `stop step ${name}: ${why}`));
    onHurry = () => fail('cut short by a second signal');
    timer = setTimeout(() => fail(`not done within ${timeoutMs} ms`), timeoutMs);
    hurry.addEventListener('abort', onHurry, { once: true });
  });
  try {
    await Promise.race([fn(), late]);
  } finally {
    clearTimeout(timer);
    hurry.removeEventListener('abort', onHurry);
  }
}
