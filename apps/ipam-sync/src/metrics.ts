/** What ipam-sync counts. Most values are read where they are kept, when they are scraped. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { IpamSync } from './ipam-sync.ts';

export interface Metrics {
  kubeErrors: Counter<'resource' | 'code'>;
  busErrors: Counter<'code'>;
  writeSeconds: Histogram;
}

export function makeMetrics(registry: Registry, sync: IpamSync): Metrics {
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: `bailiff_ipam_${name}`,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  gauge('leader', '1 while this replica leads', () => Number(sync.isLeader));
  gauge('terms_total', 'Times this replica became leader', () => sync.elector.terms);
  gauge('pods', 'Pods that are bound to a node and have not ended', () => sync.state.podCount);
  gauge('nodes', 'Nodes', () => sync.state.nodeCount);
  gauge('contested_addresses', 'Addresses that more than one pod claims', () => sync.state.contestedAddresses);
  gauge('refused_prefixes', 'Prefixes asked for that are no CIDR or above the bound', () => sync.state.refusedPrefixes);
  gauge('config_refused_total', 'Configurations refused', () => sync.permits.refused);
  gauge('owners', 'ReplicaSets and Jobs whose owner is kept', () => sync.owners.size);
  gauge('owner_lookups_failed_total', 'Failed look-ups of an owner', () => sync.owners.failures);
  gauge('owner_lookups_refused_total', 'Look-ups not made because too many are kept', () => sync.owners.refused);
  gauge('snapshots_pending', 'Snapshots to be written', () => sync.writer?.pending ?? 0);
  gauge('snapshots_oversized', 'Nodes whose snapshot is above the limit', () => sync.writer?.oversized.size ?? 0);
  gauge('snapshot_writes_total', 'Snapshots written', () => sync.writes.writes);
  gauge('snapshot_deletes_total', 'Snapshots removed', () => sync.writes.deletes);
  gauge('snapshot_conflicts_total', 'Writes that met a newer revision', () => sync.writes.conflicts);
  gauge('snapshot_failures_total', 'Writes that failed and were tried again', () => sync.writes.failures);
  gauge('snapshot_too_large_total', 'Writes not made because of the size', () => sync.writes.tooLarge);
  addInformerMetrics(registry, sync);
  return {
    kubeErrors: new Counter({
      name: 'bailiff_ipam_kube_errors_total',
      help: 'Failures towards the API server',
      labelNames: ['resource', 'code'],
      registers,
    }),
    busErrors: new Counter({
      name: 'bailiff_ipam_bus_errors_total',
      help: 'Failures of reading from the bus',
      labelNames: ['code'],
      registers,
    }),
    writeSeconds: new Histogram({
      name: 'bailiff_ipam_change_to_written_seconds',
      help: 'From the first change of a snapshot to its ack by the bus',
      buckets: [0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
  };
}

function addInformerMetrics(registry: Registry, sync: IpamSync): void {
  const informers = { pods: sync.pods, nodes: sync.nodes };
  const kinds = {
    lists: 'Complete lists',
    watches: 'Watches opened',
    events: 'Events taken',
    gone: 'Versions that were too old (410)',
    inactive: 'Watches broken off because nothing came',
    staleEvents: 'Events older than what was known',
  } as const;
  for (const [kind, help] of Object.entries(kinds) as [keyof typeof kinds, string][]) {
    new Gauge({
      name: `bailiff_ipam_informer_${kind === 'staleEvents' ? 'stale_events' : kind}_total`,
      help,
      labelNames: ['resource'],
      registers: [registry],
      collect() {
        for (const [resource, informer] of Object.entries(informers)) this.labels(resource).set(informer.stats[kind]);
      },
    });
  }
}
