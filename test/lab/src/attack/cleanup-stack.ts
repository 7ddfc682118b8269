/** What a run has started and must end, last in first out, whatever happens: Node 20 has no AsyncDisposableStack. */
export class Owned implements AsyncDisposable {
  #steps: (() => Promise<unknown>)[] = [];

  /** Takes a value with the way to end it; gives the value. */
  adopt<T>(value: T, end: (value: T) => Promise<unknown>): T {
    this.#steps.push(() => end(value));
    return value;
  }

  /** Every step is taken even if one fails; the first failure is thrown after the last step. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) await step().catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }
}
