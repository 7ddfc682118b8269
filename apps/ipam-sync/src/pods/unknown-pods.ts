/**
 * Whether there may be pods of which nothing is known: there was no memory for them, or they are large
 * and were not read in time. Then every snapshot counts as incomplete. Pure.
 */
export class UnknownPods {
  readonly #onChange: (areSome: boolean) => void;
  /** Pods were ignored since the last list began. */
  #hasIgnored = false;
  #areIgnored = false;
  #areLate = false;

  constructor(onChange: (areSome: boolean) => void) {
    this.#onChange = onChange;
  }

  get areSome(): boolean {
    return this.#areIgnored || this.#areLate;
  }

  /** A pod has no memory. */
  ignored(): void {
    this.#hasIgnored = true;
    this.#set(true, this.#areLate);
  }

  /** All pods were listed: those that were ignored before are in this list, if they exist. */
  listed(): void {
    this.#set(this.#hasIgnored, this.#areLate);
    this.#hasIgnored = false;
  }

  /** Large pods wait too long, or do not any more. */
  late(areLate: boolean): void {
    this.#set(this.#areIgnored, areLate);
  }

  #set(areIgnored: boolean, areLate: boolean): void {
    const before = this.areSome;
    this.#areIgnored = areIgnored;
    this.#areLate = areLate;
    if (this.areSome !== before) this.#onChange(this.areSome);
  }
}
