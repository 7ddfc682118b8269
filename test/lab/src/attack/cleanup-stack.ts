/** Resources of a run, released last in first out. Node 20 has no AsyncDisposableStack. */
export class CleanupStack implements AsyncDisposable {
  #steps: (() => Promise<unknown>)[] = [];

  /** Registers a value with its release function; returns the value. */
  register<T>(value: T, end: (value: T) => Promise<unknown>): T {
    this.#steps.push(() => end(value));
    return value;
  }

  /** Releases everything even if a step fails, then throws the first failure. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) await step().catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }
}
