/** Removes a generation that is gone from memory, from disk and from the counter maps. */
import type { CounterStore } from '../counting/counter-store.ts';
import type { BindingStore } from './binding-store.ts';
import { type GuardedInterface, keyOf } from './guarded-interface.ts';
import type { Registry } from './registry.ts';

export interface ForgetParts {
  registry: Pick<Registry, 'forget'>;
  store: Pick<BindingStore, 'remove'>;
  counters: Pick<CounterStore, 'remove'>;
  onProblem(problem: { interfaceName: string; reason: string; error?: unknown }): void;
}

/** Call it when every count of the generation is acknowledged, or given up. */
export function forgetGeneration({ registry, store, counters, onProblem }: ForgetParts, iface: GuardedInterface): void {
  try {
    counters.remove(keyOf(iface));
  } catch (error) {
    onProblem({ interfaceName: iface.link.name, reason: (error as Error).message, error });
  }
  store.remove(iface.ifindex, iface.generation);
  registry.forget(iface);
}
