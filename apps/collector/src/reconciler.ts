/**
 * Brings the kernel's record of an interface to what it should be: binding + bus + configuration -> plan -> map writes. Also finds
 * what user space judges by itself: a bus that contradicts the node (identity-mismatch) and a link that changed under its binding
 * (interface-moved).
 */
import type { SpoofMaps } from '@bailiff/bpf';
import type { BindingStore } from './binding-store.ts';
import { type DesiredState, type Moment, podRefOf } from './desired-state.ts';
import { type GuardedInterface, keyOf, MAX_PENDING, originOf, storedOf } from './guarded-interface.ts';
import { disagreement, identityOf, movedFrom } from './identity.ts';
import { planIface, wantedIface } from './plan.ts';
import { userspaceViolation } from './violations.ts';

export interface ReconcilerOptions {
  bootId: string;
  maps: SpoofMaps;
  desired: DesiredState;
  store: BindingStore;
  moment(): Moment;
  /** There is something to say about the interface. */
  onNews(iface: GuardedInterface): void;
  onApplied?(iface: GuardedInterface, steps: number): void;
}

export class Reconciler {
  readonly #o: ReconcilerOptions;

  constructor(options: ReconcilerOptions) {
    this.#o = options;
  }

  /** Recomputes one interface and writes what differs. @returns whether anything was written */
  apply(iface: GuardedInterface): boolean {
    if (iface.gone) return false;
    const { desired, maps } = this.#o;
    const moment = this.#o.moment();
    const pod = iface.binding ? (desired.pods.get(iface.binding.podUid) ?? null) : null;
    this.#judge(iface, pod ? disagreement(iface.binding!, pod) : [], moment);
    if (iface.binding && (pod || !iface.pod)) {
      const ref = podRefOf(iface.binding, pod);
      if (JSON.stringify(ref) !== JSON.stringify(iface.pod)) {
        iface.pod = ref;
        this.#o.store.save(storedOf(iface));
      }
    }
    const { wanted, omitted } = wantedIface({
      identity: identityOf(iface.binding, pod),
      modes: desired.modesOf(pod),
      quarantineUntilNs: iface.binding ? desired.quarantineUntilNs(iface.binding.podUid, moment) : 0n,
      auditUntilNs: desired.auditUntilNs(pod?.namespace ?? iface.binding?.podNamespace ?? null, moment),
      probePorts: pod?.probePorts ?? [],
    });
    iface.omitted = omitted;
    const steps = planIface(iface.kernel, wanted);
    const key = keyOf(iface);
    for (const step of steps) {
      if (step.step === 'record')
        maps.ifaces.set(iface.ifindex, { ...step.record, slot: iface.slot, generation: iface.generation });
      else if (step.step === 'grants') maps.addresses.replace(key, step.grants);
      else maps.probePorts.replace(key, step.probePorts);
    }
    iface.kernel = wanted;
    if (steps.length > 0) this.#o.onApplied?.(iface, steps.length);
    return steps.length > 0;
  }

  #judge(iface: GuardedInterface, mismatch: string[], moment: Moment): void {
    this.#report(
      iface,
      'identity-mismatch',
      mismatch.length > 0 ? `bus and node differ on ${mismatch.join(', ')}` : '',
      moment,
    );
    const moves = iface.binding ? movedFrom(iface.binding, iface.link) : [];
    this.#report(iface, 'interface-moved', moves.join('; '), moment);
  }

  #report(
    iface: GuardedInterface,
    vector: 'identity-mismatch' | 'interface-moved',
    detail: string,
    moment: Moment,
  ): void {
    if ((iface.lastReported[vector] ?? '') === detail) return;
    iface.lastReported[vector] = detail;
    if (detail === '') return;
    const occurrences = (iface.occurrences[vector] ?? 0) + 1;
    iface.occurrences[vector] = occurrences;
    this.#o.store.save(storedOf(iface));
    const state = iface.kernel?.record.state ?? 'unknown';
    const violation = userspaceViolation(
      originOf(iface, this.#o.bootId),
      vector,
      state,
      occurrences,
      detail,
      moment.wallMs * 1000,
    );
    // The newest say the most: their cumulative value holds the number of those that are left out.
    iface.pending = [...iface.pending, violation].slice(-MAX_PENDING);
    this.#o.onNews(iface);
  }
}
