/**
 * Runs shutdown steps one after another, last in first out, each with a time limit. A step that
 * fails or exceeds it is reported and skipped, so that a hanging dependency cannot prevent later
 * steps from flushing.
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

  /**
   * Runs the steps and returns the failed ones. `hurry` ends the wait for the running step, but
   * later steps still run.
   */
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
    onHurry = () => fail('aborted by a second signal');
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
