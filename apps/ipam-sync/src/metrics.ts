/** Metrics of ipam-sync. Most values are read from their owners at each scrape. */
import type { ReflectorStats } from '@bailiff/kube';
import { MetricFamily, SLOW_BUCKETS } from '@bailiff/service';
import type { Registry } from 'prom-client';
import type { MirrorStats } from './mirror/mirror.ts';
import type { WriterStats } from './snapshots/writer.ts';

/** Values read at each scrape, as they are before the first reading. */
export const NO_READINGS = {
  leader: false,
  stalledSeconds: 0,
  terms: 0,
  pods: 0,
  nodes: 0,
  contestedAddresses: 0,
  refusedPrefixes: 0,
  cutPods: 0,
  omittedPods: 0,
  endedPods: 0,
  podBytes: 0,
  omittedServices: 0,
  claimingServices: 0,
  refusedLabelKeys: 0,
  configRefused: 0,
  owners: { kept: 0, failed: 0, refused: 0 },
  snapshots: { pending: 0, oversized: 0 },
  writes: { writes: 0, deletes: 0, conflicts: 0, failures: 0, tooLarge: 0 } as Readonly<WriterStats>,
  mirror: { writes: 0, deletes: 0, conflicts: 0, statusWrites: 0, resources: 0, refused: 0 } as Readonly<MirrorStats>,
  taints: { nodes: 0, problem: false, changes: { put: 0, removed: 0 } as Readonly<Record<'put' | 'removed', number>> },
  /** By resource. */
  informers: {} as Readonly<Record<string, Readonly<ReflectorStats> & { silentSeconds: number; synced: boolean }>>,
};
export type Readings = typeof NO_READINGS;

export type Metrics = ReturnType<typeof makeMetrics>;

export function makeMetrics(registry: Registry, read: () => Readings) {
  const family = new MetricFamily(registry, 'bailiff_ipam_sync_', read);
  family.gauge('leader', '1 while this replica leads', (r) => Number(r.leader));
  family.gauge(
    'stalled_seconds',
    'Time without progress while snapshots wait to be written; leader only',
    (r) => r.stalledSeconds,
  );
  family.gauge('pods', 'Pods with a node that have not ended', (r) => r.pods);
  family.gauge('nodes', 'Nodes', (r) => r.nodes);
  family.gauge('contested_addresses', 'Addresses that more than one pod claims', (r) => r.contestedAddresses);
  family.gauge('cut_pods', 'Pods with labels, owner, containers, ports or addresses cut at a limit', (r) => r.cutPods);
  family.gauge(
    'ended_pods',
    'Pods in lists that the API server no longer has, but whose node still reports them',
    (r) => r.endedPods,
  );
  family.gauge(
    'omitted_pods',
    'Pods left out of node snapshots: full ones, or no memory for the pod; leader only',
    (r) => r.omittedPods,
  );
  family.gauge('pod_bytes', 'Estimated memory of the records of pods', (r) => r.podBytes);
  family.gauge(
    'omitted_tunnel_services',
    'Addresses and ports of Services that lead to a tunnel port, above the limit of the list; and UDP Services and EndpointSlices that are ignored, because their namespace has its share of memory',
    (r) => r.omittedServices,
  );
  family.gauge(
    'claiming_tunnel_services',
    'Services that lead an address which they claim (externalIPs) to a tunnel port of a node',
    (r) => r.claimingServices,
  );
  family.gauge(
    'refused_prefixes',
    'Requested prefixes, MACs and peers that are invalid or exceed the limit',
    (r) => r.refusedPrefixes,
  );
  family.gauge('owners', 'ReplicaSets and Jobs with a cached owner', (r) => r.owners.kept);
  family.gauge('snapshots_pending', 'Snapshots waiting to be written', (r) => r.snapshots.pending);
  family.gauge('snapshots_oversized', 'Nodes whose snapshot exceeds the limit', (r) => r.snapshots.oversized);
  family.total(
    'label_keys_refused_total',
    'Label names that policies select by, but above the limit of protected names',
    (r) => r.refusedLabelKeys,
  );
  family.total('terms_total', 'Times this replica became leader', (r) => r.terms);
  family.total('config_refused_total', 'Configurations refused', (r) => r.configRefused);
  family.total('owner_lookups_failed_total', 'Failed lookups of an owner', (r) => r.owners.failed);
  family.total('owner_lookups_refused_total', 'Lookups skipped because the cache is full', (r) => r.owners.refused);
  family.total('snapshot_writes_total', 'Snapshots written', (r) => r.writes.writes);
  family.total('snapshot_deletes_total', 'Snapshots removed', (r) => r.writes.deletes);
  family.total('snapshot_conflicts_total', 'Writes rejected because of a newer revision', (r) => r.writes.conflicts);
  family.total('snapshot_failures_total', 'Writes that failed and were retried', (r) => r.writes.failures);
  family.total('snapshot_too_large_total', 'Writes skipped because of their size', (r) => r.writes.tooLarge);
  family.gauge('mirror_resources', 'Custom resources in the last pass of the leader', (r) => r.mirror.resources);
  family.gauge('mirror_refused', 'Custom resources that are not accepted', (r) => r.mirror.refused);
  family.total('mirror_writes_total', 'Keys of the configuration written for custom resources', (r) => r.mirror.writes);
  family.total('mirror_deletes_total', 'Keys deleted with their custom resource', (r) => r.mirror.deletes);
  family.total(
    'mirror_conflicts_total',
    'Key writes rejected because of a concurrent write',
    (r) => r.mirror.conflicts,
  );
  family.total('mirror_status_writes_total', 'Status writes of custom resources', (r) => r.mirror.statusWrites);
  family.gauge('tainted_nodes', 'Nodes with the taint for unguarded nodes; leader only', (r) => r.taints.nodes);
  family.gauge(
    'taint_problem',
    '1 if taints cannot be reconciled with the configuration, otherwise 0; leader only',
    (r) => Number(r.taints.problem),
  );
  family.totalBy(
    'taint_changes_total',
    'Taints of unguarded nodes added and removed',
    'change',
    (r) => r.taints.changes,
  );
  addInformerMetrics(family);
  return {
    kubeErrors: family.counter('kube_errors_total', 'Failed requests to the API server', ['resource', 'code']),
    busErrors: family.counter('bus_errors_total', 'Failed reads from the bus', ['code']),
    writeSeconds: family.histogram(
      'change_to_written_seconds',
      'Time from the first change of a snapshot to the ack of the bus',
      SLOW_BUCKETS,
    ),
  };
}

const INFORMER_TOTALS = {
  lists: 'Complete lists',
  watches: 'Watches opened',
  events: 'Events taken',
  gone: 'Expired resource versions (410)',
  inactive: 'Watches closed because of inactivity',
  staleEvents: 'Events older than the known object',
} as const;

function addInformerMetrics(family: MetricFamily<Readings>): void {
  const each = (value: (of: Readings['informers'][string]) => number) => (r: Readings) =>
    Object.fromEntries(Object.entries(r.informers).map(([name, of]) => [name, value(of)]));
  family.gaugeBy(
    'informer_silent_seconds',
    'Time since the last data from the API server, bookmarks included',
    'resource',
    each((of) => of.silentSeconds),
  );
  family.gaugeBy(
    'informer_synced',
    '1 once the first list is complete, otherwise 0',
    'resource',
    each((of) => Number(of.synced)),
  );
  family.gaugeBy(
    'informer_large_objects',
    'Objects with an event too large to parse at once that wait to be read',
    'resource',
    each((of) => of.large),
  );
  for (const [kind, help] of Object.entries(INFORMER_TOTALS) as [keyof typeof INFORMER_TOTALS, string][]) {
    family.totalBy(
      `informer_${kind === 'staleEvents' ? 'stale_events' : kind}_total`,
      help,
      'resource',
      each((of) => of[kind]),
    );
  }
}
