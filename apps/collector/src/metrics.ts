/** Metrics of the collector; `bailiff_collector_*` by Prometheus' conventions. */
import { Counter, Gauge, Histogram, type Registry as Metrics } from 'prom-client';

const MS_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export function collectorMetrics(
  registry: Metrics,
  read: { interfaces(): Record<string, number>; unacked(): number; losses(): Record<string, number> },
) {
  const registers = [registry];
  new Gauge({
    name: 'bailiff_collector_interfaces',
    help: 'Pod interfaces by state',
    labelNames: ['state'],
    registers,
    collect() {
      for (const [state, count] of Object.entries(read.interfaces())) this.set({ state }, count);
    },
  });
  new Gauge({
    name: 'bailiff_collector_frames_unacked',
    help: 'Frames sent and not yet acknowledged',
    registers,
    collect() {
      this.set(read.unacked());
    },
  });
  new Gauge({
    name: 'bailiff_collector_kernel_losses',
    help: 'What the kernel programs could not do, cumulative since the maps were made',
    labelNames: ['loss'],
    registers,
    collect() {
      for (const [loss, count] of Object.entries(read.losses())) this.set({ loss }, count);
    },
  });
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name: `bailiff_collector_${name}`, help, labelNames, registers });
  const histogram = (name: string, help: string) =>
    new Histogram({ name: `bailiff_collector_${name}`, help, buckets: MS_BUCKETS, registers });
  return {
    frames: counter('frames_total', 'Frames acknowledged by the bus'),
    violations: counter('violations_total', 'Violations put into frames'),
    resends: counter('frame_resends_total', 'Frames sent again because no acknowledgement came'),
    samples: counter('samples_total', 'Samples taken from the ring'),
    sampleErrors: counter('sample_errors_total', 'Ring records that could not be decoded'),
    snapshotsRefused: counter('snapshots_refused_total', 'Documents from the bus that were not taken', ['document']),
    identityChanges: counter('map_writes_total', 'Interfaces whose kernel maps were written'),
    placesRestored: counter('places_restored_total', 'Programs put back to the head of their interface'),
    netlinkOverruns: counter(
      'netlink_overruns_total',
      'Times the kernel dropped link events; everything is dumped again',
    ),
    countsForgotten: counter(
      'counts_forgotten_total',
      'Packets never told because more interfaces went than there is room for while the bus was away',
    ),
    problems: counter('problems_total', 'Problems by what had them', ['part']),
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
export type CollectorMetrics = ReturnType<typeof collectorMetrics>;
