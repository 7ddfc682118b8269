/**
 * A notification between rooms, against the order in which they are created: the room below emits
 * it, rooms above listen. Synchronous; an emission without a listener is dropped.
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
