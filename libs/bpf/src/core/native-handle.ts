/** What the classes of this folder are made of: a handle of the binding, and its end. */
export class NativeHandle<N extends { close(): void }> implements Disposable {
  /** For the other classes of this package. */
  readonly native: N;

  constructor(handle: N) {
    this.native = handle;
  }

  /** Idempotent. */
  close(): void {
    this.native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
