/** What the metrics and the readiness checks of ipam-sync read. */
import type { LeaderElector, Reflector } from '@bailiff/kube';
import type { ServiceContext } from '@bailiff/service';
import type { IpamSyncConfig } from './config.ts';
import { NO_READINGS, type Readings } from './metrics.ts';
import type { PolicyMirror } from './mirror/mirror.ts';
import type { OwnerResolver } from './pods/owners.ts';
import type { ServicesFeed } from './services/services-feed.ts';
import type { LabelKeys } from './settings/label-keys.ts';
import type { SettingsFeed } from './settings/settings-feed.ts';
import type { ClusterState } from './snapshots/cluster-state.ts';
import type { EndedPods } from './snapshots/ended-pods.ts';
import type { Omissions } from './snapshots/omissions.ts';
import type { SnapshotWriter, WriterStats } from './snapshots/writer.ts';
import type { TaintController } from './taint/controller.ts';

type Informer = Pick<Reflector<unknown>, 'stats' | 'silentMs' | 'synced' | 'refusal'>;

interface Sources {
  readonly isLeader: boolean;
  readonly elector: LeaderElector;
  readonly state: ClusterState;
  readonly ended: EndedPods;
  readonly omissions: Omissions;
  readonly owners: OwnerResolver;
  readonly writer: SnapshotWriter | null;
  readonly writes: WriterStats;
  readonly labelKeys: LabelKeys;
  readonly settings: SettingsFeed;
  readonly mirror: PolicyMirror | null;
  readonly taints: TaintController;
  readonly pods: Informer;
  readonly nodes: Informer;
  readonly services: { readonly services: Informer; readonly slices: Informer } & Pick<
    ServicesFeed,
    'omitted' | 'claiming'
  >;
}

/** @param stalledSeconds how long work has waited without progress */
export function readingsOf(sync: Sources, stalledSeconds: number): Readings {
  const { state, owners, writer, taints } = sync;
  const informer = ({ stats, silentMs, synced }: Informer) => {
    return { ...stats, silentSeconds: silentMs / 1000, synced };
  };
  return {
    leader: sync.isLeader,
    stalledSeconds,
    terms: sync.elector.terms,
    pods: state.podCount,
    nodes: state.nodeCount,
    contestedAddresses: state.contestedAddresses,
    refusedPrefixes: state.refusedPrefixes,
    cutPods: state.cutPods,
    omittedPods: sync.omissions.total,
    endedPods: sync.ended.count,
    podBytes: state.podBytes,
    refusedLabelKeys: sync.labelKeys.refused,
    configRefused: sync.settings.refused,
    owners: { kept: owners.size, failed: owners.failures, refused: owners.refused },
    snapshots: { pending: writer?.pending ?? 0, oversized: writer?.oversized.size ?? 0 },
    writes: sync.writes,
    mirror: sync.mirror?.stats ?? NO_READINGS.mirror,
    taints: {
      nodes: taints.status?.taintedCount ?? 0,
      problem: (taints.status?.problem ?? '') !== '',
      changes: taints.changes,
    },
    omittedServices: sync.services.omitted,
    claimingServices: sync.services.claiming,
    informers: {
      pods: informer(sync.pods),
      nodes: informer(sync.nodes),
      services: informer(sync.services.services),
      endpointslices: informer(sync.services.slices),
    },
  };
}

/**
 * A watch that is silent for `inactivityMs` is opened again, and a server responds to that within
 * seconds. So data that is older by a third is not current: new pods are in no list.
 */
const SILENT = 4 / 3;

/** Registers the readiness checks. */
export function addChecks({ health, config }: ServiceContext<IpamSyncConfig>, sync: Sources): void {
  const fresh = (informer: Informer) => () => {
    // Lists go on without a right to watch, but minutes apart.
    if (informer.refusal) return informer.refusal;
    if (!informer.synced) return 'not listed yet';
    return informer.silentMs < SILENT * config.inactivityMs || `silent for ${Math.round(informer.silentMs)} ms`;
  };
  health.ready('pods', fresh(sync.pods));
  health.ready('nodes', fresh(sync.nodes));
  health.ready('services', fresh(sync.services.services));
  health.ready('endpointslices', fresh(sync.services.slices));
  health.ready('owners', () => sync.owners.refusal || true);
  health.ready('permits', () => sync.settings.synced || 'not read yet');
  if (!config.leaderElection) return;
  // The lease of another instance can be read without the right to write it.
  const isReached = () => sync.elector.silentMs < 3 * config.leaseDurationMs;
  health.ready('lease', () => sync.elector.refusal || isReached() || 'lease not reachable');
}
