/** The status that an instance of ipam-sync publishes, read from its parts. */
import { type Bus, InstanceReporter, type Position } from '@bailiff/bus';
import { SPOOF_CLUSTER_KEY } from '@bailiff/policy';
import type { InstanceStatus } from '@bailiff/schemas';
import type { ServiceContext } from '@bailiff/service';
import type { IpamSyncConfig } from './config.ts';
import type { PolicyMirror } from './mirror/mirror.ts';
import type { OwnerResolver } from './pods/owners.ts';
import type { SettingsFeed } from './settings/settings-feed.ts';
import type { Omissions } from './snapshots/omissions.ts';
import type { SnapshotWriter } from './snapshots/writer.ts';
import type { TaintController } from './taint/controller.ts';

interface Parts {
  readonly isLeader: boolean;
  readonly settings: SettingsFeed;
  readonly omissions: Omissions;
  readonly mirror: Pick<PolicyMirror, 'refused'> | null;
  /** Absent until it is created. */
  readonly owners?: OwnerResolver;
  readonly writer: SnapshotWriter | null;
  /** Absent until it is created. */
  readonly taints?: TaintController;
}

export interface StatusReporterOptions {
  ctx: ServiceContext<IpamSyncConfig>;
  bus: Bus;
  sync: Parts;
  /** Bucket of the snapshots, and the newest one that this process has written. */
  bucket: string;
  written(): Position;
  onError(error: Error): void;
}

export function createStatusReporter({ ctx, bus, sync, bucket, written, onError }: StatusReporterOptions) {
  return new InstanceReporter({
    ctx,
    bus,
    service: 'ipam-sync',
    onError,
    refused: () => [
      ...(sync.settings.refusal === '' ? [] : [[SPOOF_CLUSTER_KEY, sync.settings.refusal] as const]),
      ...(sync.mirror?.refused ?? []),
    ],
    progress: [{ stream: `KV_${bucket}`, position: written, behind: () => sync.writer?.unwritten ?? 0 }],
    more: () => ({
      leads: sync.isLeader,
      ...(sync.isLeader ? {} : { progress: null }),
      ...(sync.taints?.status ? { taints: sync.taints.status } : {}),
      ...sync.omissions.status,
      ...claimedMembersOf(sync),
    }),
  });
}

/** Only the leader's, because all instances know the same pods. */
function claimedMembersOf({ isLeader, owners }: Parts): Pick<InstanceStatus, 'claimedMembers'> {
  const claimedMembers = isLeader ? owners?.claimedMembers() : undefined;
  return claimedMembers && claimedMembers.pods > 0 ? { claimedMembers } : {};
}
