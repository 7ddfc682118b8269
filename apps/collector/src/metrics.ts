/**
 * Metrics of the collector: counters and histograms that its parts write, and gauges that are read
 * from the node's status at each scrape.
 */
import type { ViolationKind } from '@bailiff/schemas';
import { FAST_BUCKETS, MetricFamily, type Values } from '@bailiff/service';
import type { Registry } from 'prom-client';

/** Packets or operations of one vector that were published as violations. */
export interface VectorTotals {
  readonly kind: ViolationKind;
  readonly vector: string;
  drop: number;
  audit: number;
}

/** Values read at each scrape, as they are before any map exists. */
export const NO_READINGS = {
  /** Live interfaces by state. */
  interfaces: {} as Values,
  /** Interfaces and pods by coverage. */
  coverage: {} as Values,
  foreignLinks: 0,
  quarantined: 0,
  /** 1 or 0 by feature. */
  features: {} as Values,
  /** 1 for the current state of runtime enforcement, 0 for the others. */
  runtimeState: {} as Values,
  /** Runtime policies by state. */
  policies: {} as Values,
  /** 1 for the current state of the CNI plugin, 0 for the others; all 0 without it. */
  cniState: {} as Values,
  /** Time of the newest pod that started without a guard, in seconds since 1970; 0: there is none. */
  cniPassedAtSeconds: 0,
  snapshotRefused: false,
  configRefused: 0,
  disarmed: false,
  mapEntries: {} as Values,
  mapMaxEntries: {} as Values,
  /** By kind of loss, cumulative since the maps were created. */
  losses: {} as Values,
  /** Records that the runtime programs lacked and the collector added, by kind. */
  repaired: {} as Values,
  unacked: 0,
  violations: [] as readonly Readonly<VectorTotals>[],
  suppressed: { spoof: 0, lsm: 0 } as Readonly<Record<ViolationKind, number>>,
};
export type Readings = typeof NO_READINGS;

export type Metrics = ReturnType<typeof makeMetrics>;

/** @param read the values of the node's status; called once per scrape */
export function makeMetrics(registry: Registry, read: () => Readings) {
  const family = new MetricFamily(registry, 'bailiff_collector_', read);
  addReadings(family);
  return { ...countersOf(family), ...latenciesOf(family), cniPassed: cniPassedOf(family) };
}

/** The CNI plugin also counts while no collector runs, in a file that the collector reads. */
function cniPassedOf(family: MetricFamily<Readings>): { count: number } {
  const passed = { count: 0 };
  family.total(
    'cni_passed_total',
    'Pods that the CNI plugin let start without a guard, since the node started',
    () => passed.count,
  );
  return passed;
}

function countersOf(family: MetricFamily<Readings>) {
  return {
    frames: family.counter('frames_total', 'Frames that the bus acknowledged'),
    violations: family.counter('violations_total', 'Violations put into frames'),
    flushesPostponed: family.counter(
      'flushes_postponed_total',
      'Times that an interface or account waited because it had used its share of what the node publishes',
    ),
    resends: family.counter('frame_resends_total', 'Frames sent again because no acknowledgement arrived'),
    samples: family.counter('samples_total', 'Samples read from the ring buffer'),
    sampleErrors: family.counter('sample_errors_total', 'Ring buffer records that could not be decoded'),
    snapshotsRefused: family.counter(
      'snapshots_refused_total',
      'Documents from the bus that were rejected',
      ['document'],
      ['pods', 'cluster', 'quarantine', 'config'].map((document) => ({ document })),
    ),
    identityChanges: family.counter('map_writes_total', 'Interfaces whose kernel maps were written'),
    placesRestored: family.counter(
      'places_restored_total',
      'Interfaces whose programs were attached again at the head of the chain',
    ),
    unjudged: family.counter(
      'unjudged_frames_total',
      'Frames that guarded interfaces received and their programs did not judge',
    ),
    netlinkOverruns: family.counter(
      'netlink_overruns_total',
      'Times the kernel dropped link events; all links are dumped again',
    ),
    countsForgotten: family.counter(
      'counts_forgotten_total',
      'Packets that are never published, because too many interfaces disappeared while the bus was unavailable',
    ),
    captures: family.counter('captures_total', 'Requested captures of a pod, by outcome', ['outcome']),
    cniRequests: family.counter('cni_requests_total', 'Requests of the CNI plugin, by command and outcome', [
      'command',
      'outcome',
    ]),
    problems: family.counter('problems_total', 'Problems, by part of the collector', ['part']),
  };
}

function latenciesOf(family: MetricFamily<Readings>) {
  const histogram = (name: string, help: string) => family.histogram(name, help, FAST_BUCKETS);
  return {
    guardSeconds: histogram(
      'guard_seconds',
      'From reading the netlink event of a new interface to its attached programs; interfaces that existed before the collector are not included',
    ),
    bindSeconds: histogram(
      'bind_seconds',
      'From reading the netlink event of a new interface to the binding to its pod',
    ),
    applySeconds: family.histogram(
      'apply_seconds',
      'From writing a CNI record, or storing a list on the bus, to the kernel maps, by source',
      FAST_BUCKETS,
      ['source'],
      ['cni', 'pods', 'cluster', 'quarantine'].map((source) => ({ source })),
    ),
    inForceSeconds: family.histogram(
      'policy_in_force_seconds',
      'From storing a configuration change on the bus to its effect in the kernel',
      FAST_BUCKETS,
      ['kind'],
      ['spoof', 'disarm', 'runtime'].map((kind) => ({ kind })),
    ),
    violationToBusSeconds: family.histogram(
      'breach_to_bus_seconds',
      'From the first packet or operation that broke a rule to the acknowledgement of its violation by the bus',
      FAST_BUCKETS,
      ['kind'],
      ['spoof', 'lsm'].map((kind) => ({ kind })),
    ),
    runtimeBindSeconds: histogram(
      'runtime_bind_seconds',
      'From the creation of a container cgroup to its policy, for pods that ran before their policy was known',
    ),
    runtimeApplySeconds: histogram('runtime_apply_seconds', 'Time to reconcile the policy sets in the kernel'),
    cniSeconds: histogram('cni_request_seconds', 'From reading a request of the CNI plugin to its answer'),
    ackSeconds: histogram('frame_ack_seconds', 'From closing a frame to its acknowledgement'),
  };
}

function addReadings(family: MetricFamily<Readings>): void {
  family.gaugeBy('interfaces', 'Pod interfaces by state', 'state', (r) => r.interfaces);
  family.gaugeBy(
    'coverage',
    'Pod interfaces, and pods without one, by coverage: not-covered is a gap in enforcement, not-applicable uses the network of the host',
    'coverage',
    (r) => r.coverage,
  );
  family.gauge(
    'foreign_links',
    'Pod interfaces whose pods have links with a part in the network of the node, which no guard judges',
    (r) => r.foreignLinks,
  );
  family.gauge('quarantined_interfaces', 'Interfaces in quarantine', (r) => r.quarantined);
  family.gaugeBy('feature_available', '1 if the kernel has the feature, else 0', 'feature', (r) => r.features);
  family.gaugeBy(
    'runtime_state',
    '1 for the current state of runtime enforcement, else 0',
    'state',
    (r) => r.runtimeState,
  );
  family.gaugeBy(
    'cni_state',
    '1 for the current state of the CNI plugin, else 0; left-behind: it is installed, and cni is off; all 0 without the plugin',
    'state',
    (r) => r.cniState,
  );
  family.gauge(
    'cni_passed_at_seconds',
    'When the CNI plugin last let a pod start without a guard, in seconds since 1970; 0: not since the node started',
    (r) => r.cniPassedAtSeconds,
  );
  family.gaugeBy('runtime_policies', 'Runtime policies by state on this node', 'state', (r) => r.policies);
  family.gauge('pods_refused', '1 while the newest list of pods is rejected, else 0', (r) => Number(r.snapshotRefused));
  family.gauge('config_refused', 'Configuration keys whose newest value is rejected', (r) => r.configRefused);
  family.gauge('disarmed', '1 while the whole node is disarmed, else 0', (r) => Number(r.disarmed));
  family.gaugeBy('map_entries', 'Entries of the kernel maps', 'map', (r) => r.mapEntries);
  family.gaugeBy('map_max_entries', 'Capacity of the kernel maps, in entries', 'map', (r) => r.mapMaxEntries);
  family.gauge('frames_unacked', 'Frames sent and not yet acknowledged', (r) => r.unacked);
  family.totalBy(
    'kernel_losses_total',
    'Events that the kernel programs could not record, since the maps were created',
    'loss',
    (r) => r.losses,
  );
  family.totalBy(
    'runtime_repaired_total',
    'Cgroups of pods, and processes in them, without a record of the kernel programs, which the collector added: a map was full, or a link was detached',
    'kind',
    (r) => r.repaired,
  );
  family.totals(
    'breaches_total',
    'Packets and operations that broke a rule, as stored on the bus; for runtime policies by policy name',
    ['kind', 'vector', 'action'],
    (r) =>
      r.violations.flatMap(({ kind, vector, drop, audit }) => [
        [[kind, vector, 'drop'], drop] as const,
        [[kind, vector, 'audit'], audit] as const,
      ]),
  );
  family.totalBy(
    'suppressed_total',
    'Packets and operations that were counted and have no sample',
    'kind',
    (r) => r.suppressed,
  );
}
