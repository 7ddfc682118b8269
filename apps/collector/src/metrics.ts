/** What the collector counts. */
import { FAST_BUCKETS, MetricFamily, oncePerScrape, type Values } from '@bailiff/service';
import type { Registry } from 'prom-client';

/** Read at each scrape. */
export interface Readings {
  /** Live interfaces by state. */
  interfaces: Values;
  unacked: number;
  /** By what was lost, cumulative since the maps were made. */
  losses: Values;
}

/** Before there are maps. */
export const NO_READINGS: Readings = { interfaces: {}, unacked: 0, losses: {} };

export type Metrics = ReturnType<typeof makeMetrics>;

export function makeMetrics(registry: Registry, read: () => Readings) {
  const readings = oncePerScrape(read);
  const family = new MetricFamily(registry, 'bailiff_collector_');
  family.gaugeBy('interfaces', 'Pod interfaces by state', 'state', () => readings().interfaces);
  family.gauge('frames_unacked', 'Frames sent and not yet acknowledged', () => readings().unacked);
  family.totalBy(
    'kernel_losses_total',
    'What the kernel programs could not do, since the maps were made',
    'loss',
    () => readings().losses,
  );
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
    problems: family.counter('problems_total', 'Problems by what had them', ['part']),
    guardSeconds: histogram(
      'guard_seconds',
      'From the netlink event of a new interface to its programs being attached',
    ),
    bindSeconds: histogram('bind_seconds', 'From a new interface to knowing whose it is'),
    applySeconds: histogram('apply_seconds', 'From a CNI record or a document of the bus to the kernel maps'),
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
