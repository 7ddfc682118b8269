/**
 * Informers on Services and EndpointSlices, and the nodes → the pairs of the cluster's snapshot. It
 * reports a change only if the pairs changed. Objects beyond the share of their namespace are ignored
 * (record-shares.ts).
 */
import {
  type EndpointSlice,
  type KubeError,
  type KubeObject,
  Reflector,
  type ReflectorOptions,
  type Service,
} from '@bailiff/kube';
import type { TunnelService } from '@bailiff/schemas';
import { pause } from '@bailiff/service';
import type { NodeRecord } from '../pods/records.ts';
import { CHARACTERS_PER_ENTRY, RecordShares } from './record-shares.ts';
import { type ServiceRecord, type SliceRecord, serviceRecord, sliceRecord } from './records.ts';
import { TunnelServices } from './tunnel-services.ts';

/** Shortest time between two lists for ignored objects that may fit: a list is expensive. */
const LIST_INTERVAL_MS = 60_000;
/** How often pairs whose grace period ended are removed. */
const EXPIRY_CHECK_MS = 5_000;
/** Changes within this time are evaluated together: a list has thousands. */
const COALESCE_MS = 20;
/** The wait is at least so many times as long as the last evaluation: changes cannot use up the CPU. */
const WAITS_PER_EVALUATION = 9;
/** Shortest time between two changes: each is written and read by every node of the cluster. */
const CHANGE_INTERVAL_MS = 1_000;

export interface ServicesFeedOptions {
  informer: Pick<ReflectorOptions<unknown>, 'client' | 'pageLimit' | 'inactivityMs' | 'backoff'>;
  onError(resource: string): (error: KubeError) => void;
  /** The pairs changed. */
  onChange(): void;
  /** A Service now leads an address that it claims to a tunnel port of a node. */
  onClaim(service: string): void;
  nodes(): readonly NodeRecord[];
  nowMs(): number;
  /** For tests. */
  maxEntries?: number;
  listIntervalMs?: number;
}

export class ServicesFeed {
  readonly services: Reflector<ServiceRecord>;
  readonly slices: Reflector<SliceRecord>;
  readonly #pairs = new TunnelServices();
  readonly #shares: RecordShares;
  readonly #o: ServicesFeedOptions;
  #list: TunnelService[] = [];
  #timer: NodeJS.Timeout | undefined;
  #evaluationMs = 0;
  #changedAtMs = Number.NEGATIVE_INFINITY;
  #listedAtMs = performance.now();

  constructor(options: ServicesFeedOptions) {
    this.#o = options;
    const { informer, onError } = options;
    this.#shares = new RecordShares(options.maxEntries);
    this.services = new Reflector<ServiceRecord>({
      ...informer,
      path: '/api/v1/services',
      select: (object) => {
        const record = serviceRecord(object as Service);
        if (record === null) return null;
        const { addresses, claimed, ports } = record;
        return this.#fits(object, addresses.length + claimed.length + ports.length) ? record : null;
      },
      onAdd: (record, uid) => this.#changed(() => this.#pairs.put(uid, record)),
      onUpdate: (record, _before, uid) => this.#changed(() => this.#pairs.put(uid, record)),
      onDelete: (_record, uid) => this.#changed(() => this.#pairs.remove(uid), uid),
      onError: onError('services'),
    });
    this.slices = new Reflector<SliceRecord>({
      ...informer,
      path: '/apis/discovery.k8s.io/v1/endpointslices',
      select: (object) => {
        const record = sliceRecord(object as EndpointSlice);
        if (record === null) return null;
        const { endpoints, ports } = record;
        return this.#fits(object, ports.length + Math.ceil(endpoints.length / CHARACTERS_PER_ENTRY)) ? record : null;
      },
      onAdd: (record, uid) => this.#changed(() => this.#pairs.putSlice(uid, record)),
      onUpdate: (record, _before, uid) => this.#changed(() => this.#pairs.putSlice(uid, record)),
      onDelete: (_record, uid) => this.#changed(() => this.#pairs.removeSlice(uid), uid),
      onError: onError('endpointslices'),
    });
  }

  /** True if the list is made of all Services, endpoints and nodes that were read. */
  get current(): boolean {
    return this.services.synced && this.slices.synced && this.#timer === undefined;
  }
  get list(): readonly TunnelService[] {
    return this.#list;
  }
  /** Pairs above the limit, and ignored objects. */
  get omitted(): number {
    return this.#pairs.omitted + this.#shares.refused;
  }

  /** Services that lead an address which they claim to a tunnel port of a node. */
  get claiming(): number {
    return this.#pairs.claiming.size;
  }

  #fits({ metadata: { uid, namespace = '' } }: KubeObject, addressesAndPorts: number): boolean {
    return this.#shares.put(uid, namespace, addressesAndPorts);
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.services.run(signal), this.slices.run(signal), this.#expire(signal)]);
    clearTimeout(this.#timer);
  }

  setTunnelPorts(ports: readonly number[]): void {
    this.#changed(() => this.#pairs.setTunnelPorts(new Set(ports)));
  }

  nodesChanged(): void {
    this.#changed(() => this.#pairs.setNodes(this.#o.nodes()));
  }

  async #expire(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(EXPIRY_CHECK_MS, signal);
      this.#evaluate();
      this.#listIgnored();
    }
  }

  /** Room is free again: ignored objects are read again. */
  #listIgnored(): void {
    const intervalMs = this.#o.listIntervalMs ?? LIST_INTERVAL_MS;
    if (performance.now() - this.#listedAtMs < intervalMs || !this.#shares.takeRoom()) return;
    this.#listedAtMs = performance.now();
    this.services.reselect();
    this.slices.reselect();
  }

  /** @param removed UID of an object that is gone or ignored */
  #changed(change: () => void, removed?: string): void {
    change();
    if (removed !== undefined) this.#shares.remove(removed);
    const sinceChangeMs = performance.now() - this.#changedAtMs;
    const waitMs = Math.max(COALESCE_MS, WAITS_PER_EVALUATION * this.#evaluationMs, CHANGE_INTERVAL_MS - sinceChangeMs);
    this.#timer ??= setTimeout(() => this.#evaluate(), waitMs);
  }

  #evaluate(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const startedMs = performance.now();
    const { claiming } = this.#pairs;
    const list = this.#pairs.list(this.#o.nowMs());
    this.#evaluationMs = performance.now() - startedMs;
    for (const service of this.#pairs.claiming) if (!claiming.has(service)) this.#o.onClaim(service);
    if (JSON.stringify(list) === JSON.stringify(this.#list)) return;
    this.#list = list;
    this.#changedAtMs = performance.now();
    this.#o.onChange();
  }
}
