/**
 * A notification against the order of creation: the layer below emits it, layers above listen.
 * Synchronous; an emission without a listener is dropped.
 */
export class Signal {
  readonly #listeners: (() => void)[] = [];

  listen(listener: () => void): void {
    this.#listeners.push(listener);
  }

  emit(): void {
    for (const listener of this.#listeners) listener();
  }
}
