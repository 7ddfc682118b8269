/** What the collector counts. */
import type { ViolationKind } from '@bailiff/schemas';
import { FAST_BUCKETS, MetricFamily, oncePerScrape, type Values } from '@bailiff/service';
import type { Registry } from 'prom-client';

/** Packets and operations that broke a rule, by vector. */
export interface Breaches {
  readonly kind: ViolationKind;
  readonly vector: string;
  drop: number;
  audit: number;
}

/** Read at each scrape. */
export interface Readings {
  /** Live interfaces by state, and interfaces and pods by coverage. */
  interfaces: Values;
  coverage: Values;
  quarantined: number;
  /** 1 or 0 by feature; 1 for the state in which the runtime half is. */
  features: Values;
  runtimeState: Values;
  /** Runtime policies by what they came to. */
  policies: Values;
  snapshotRefused: boolean;
  configRefused: number;
  disarmed: boolean;
  mapEntries: Values;
  mapMaxEntries: Values;
  /** By what was lost, cumulative since the maps were made. */
  losses: Values;
  unacked: number;
  breaches: readonly Readonly<Breaches>[];
  suppressed: Readonly<Record<ViolationKind, number>>;
}

/** Before there are maps. */
export const NO_READINGS: Readings = {
  interfaces: {},
  coverage: {},
  quarantined: 0,
  features: {},
  runtimeState: {},
  policies: {},
  snapshotRefused: false,
  configRefused: 0,
  disarmed: false,
  mapEntries: {},
  mapMaxEntries: {},
  losses: {},
  unacked: 0,
  breaches: [],
  suppressed: { spoof: 0, lsm: 0 },
};

export type Metrics = ReturnType<typeof makeMetrics>;

export function makeMetrics(registry: Registry, read: () => Readings) {
  const readings = oncePerScrape(read);
  const family = new MetricFamily(registry, 'bailiff_collector_');
  addNodeMetrics(family, readings);
  const histogram = (name: string, help: string) => family.histogram(name, help, FAST_BUCKETS);
  return {
    frames: family.counter('frames_total', 'Frames acknowledged by the bus'),
    violations: family.counter('violations_total', 'Violations put into frames'),
    resends: family.counter('frame_resends_total', 'Frames sent again because no acknowledgement came'),
    samples: family.counter('samples_total', 'Samples taken from the ring'),
    sampleErrors: family.counter('sample_errors_total', 'Ring records that could not be decoded'),
    snapshotsRefused: family.counter(
      'snapshots_refused_total',
      'Documents from the bus that were not taken',
      ['document'],
      ['pods', 'cluster', 'quarantine', 'config'].map((document) => ({ document })),
    ),
    identityChanges: family.counter('map_writes_total', 'Interfaces whose kernel maps were written'),
    placesRestored: family.counter('places_restored_total', 'Programs put back to the head of their interface'),
    netlinkOverruns: family.counter(
      'netlink_overruns_total',
      'Times the kernel dropped link events; everything is dumped again',
    ),
    countsForgotten: family.counter(
      'counts_forgotten_total',
      'Packets never told because more interfaces went than there is room for while the bus was away',
    ),
    captures: family.counter('captures_total', 'Captures of a pod that were asked for, by what came of them', [
      'outcome',
    ]),
    problems: family.counter('problems_total', 'Problems by what had them', ['part']),
    guardSeconds: histogram(
      'guard_seconds',
      'From the netlink event of a new interface being read to its programs being attached; those that were there before are not in it',
    ),
    bindSeconds: histogram(
      'bind_seconds',
      'From the netlink event of a new interface being read to knowing whose it is',
    ),
    applySeconds: family.histogram(
      'apply_seconds',
      'From a CNI record being written, or a list being stored on the bus, to the kernel maps, by what it came with',
      FAST_BUCKETS,
      ['source'],
      ['cni', 'pods', 'cluster', 'quarantine'].map((source) => ({ source })),
    ),
    inForceSeconds: family.histogram(
      'policy_in_force_seconds',
      'From a change of configuration being stored on the bus to it being in force in the kernel',
      FAST_BUCKETS,
      ['kind'],
      ['spoof', 'disarm', 'runtime'].map((kind) => ({ kind })),
    ),
    breachSeconds: family.histogram(
      'breach_to_bus_seconds',
      'From the first packet or operation that broke a rule to its violation being acknowledged by the bus',
      FAST_BUCKETS,
      ['kind'],
      ['spoof', 'lsm'].map((kind) => ({ kind })),
    ),
    runtimeBindSeconds: histogram(
      'runtime_bind_seconds',
      "From a container's cgroup to its policy, of pods that ran before their policy was known",
    ),
    runtimeApplySeconds: histogram(
      'runtime_apply_seconds',
      'Time to make policy sets in the kernel what they should be',
    ),
    ackSeconds: histogram('frame_ack_seconds', 'From a frame being closed to its acknowledgement'),
  };
}

function addNodeMetrics(family: MetricFamily, read: () => Readings): void {
  family.gaugeBy('interfaces', 'Pod interfaces by state', 'state', () => read().interfaces);
  family.gaugeBy(
    'coverage',
    'Pod interfaces, and pods without one, by how they are covered: not-covered is a hole, not-applicable is the network of the host',
    'coverage',
    () => read().coverage,
  );
  family.gauge('quarantined_interfaces', 'Interfaces in quarantine', () => read().quarantined);
  family.gaugeBy(
    'feature_available',
    '1 when the kernel has the feature, otherwise 0',
    'feature',
    () => read().features,
  );
  family.gaugeBy('runtime_state', '1 for the state in which the runtime half is', 'state', () => read().runtimeState);
  family.gaugeBy('runtime_policies', 'Runtime policies by what they came to here', 'state', () => read().policies);
  family.gauge('pods_refused', '1 while the newest list of pods is refused, otherwise 0', () =>
    Number(read().snapshotRefused),
  );
  family.gauge('config_refused', 'Configuration keys whose newest value is refused', () => read().configRefused);
  family.gauge('disarmed', '1 while all of the node is disarmed, otherwise 0', () => Number(read().disarmed));
  family.gaugeBy('map_entries', 'Entries of the kernel maps', 'map', () => read().mapEntries);
  family.gaugeBy('map_max_entries', 'Most entries that the kernel maps hold', 'map', () => read().mapMaxEntries);
  family.gauge('frames_unacked', 'Frames sent and not yet acknowledged', () => read().unacked);
  family.totalBy(
    'kernel_losses_total',
    'What the kernel programs could not do, since the maps were made',
    'loss',
    () => read().losses,
  );
  family.totals(
    'breaches_total',
    'Packets and operations that broke a rule, as told to the bus; of runtime policies, by the name of the policy',
    ['kind', 'vector', 'action'],
    () =>
      read().breaches.flatMap(({ kind, vector, drop, audit }) => [
        [[kind, vector, 'drop'], drop] as const,
        [[kind, vector, 'audit'], audit] as const,
      ]),
  );
  family.totalBy('suppressed_total', 'Breaches that were counted and have no sample', 'kind', () => read().suppressed);
}
