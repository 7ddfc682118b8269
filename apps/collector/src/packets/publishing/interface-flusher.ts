/** The flusher of guarded interfaces: their adapter (what grew) and its schedule (when). */
import type { SpoofSample } from '@bailiff/bpf';
import { Flusher, type FlusherOptions } from '../../publishing/flusher.ts';
import type { GuardedInterface } from '../subjects/guarded-interface.ts';
import { InterfaceAdapter, type InterfaceAdapterOptions } from './adapter.ts';

export type InterfaceFlusherOptions = FlusherOptions & InterfaceAdapterOptions;

export class InterfaceFlusher extends Flusher<GuardedInterface> {
  readonly #samples: InterfaceAdapter;

  constructor(options: InterfaceFlusherOptions) {
    const adapter = new InterfaceAdapter(options);
    super(options, adapter);
    this.#samples = adapter;
  }

  /** Stores samples, and flushes the due interfaces among them at once. */
  takeSamples(samples: readonly SpoofSample[]): void {
    this.received(this.#samples.takeSamples(samples));
  }
}
