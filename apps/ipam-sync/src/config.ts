/**
 * Configuration of ipam-sync. Where Kubernetes' control plane has the same setting, the default is
 * the same.
 */
import { busShape, type FrameConfig, kubeShape, signersShape, whole } from '@bailiff/service';
import * as z from 'zod';

/** 55,000 ordinary pods, or 1,900 of the largest size: half of the heap of the container. */
export const DEFAULT_POD_BYTES = 128 * 1024 * 1024;

export const configSchema = z
  .strictObject({
    ...busShape,
    ...signersShape,
    kubeconfig: kubeShape.kubeconfig,
    clusterName: z
      .string()
      .max(253)
      .default('')
      .describe('name of this cluster in events, beside the UID of its namespace kube-system'),
    kubeContext: kubeShape.kubeContext,
    leaderElection: z.boolean().default(true).describe('take part in the election; off only with a single replica'),
    leaseNamespace: z.string().min(1).default('bailiff-system').describe('namespace of the Lease'),
    leaseName: z.string().min(1).default('bailiff-ipam-sync').describe('name of the Lease'),
    leaseDurationMs: whole(1_000, 120_000)
      .default(15_000)
      .describe('time after which other replicas take over an unrenewed lease'),
    renewDeadlineMs: whole(500, 60_000)
      .default(10_000)
      .describe('time after which a leader that cannot renew its lease steps down'),
    retryMs: whole(100, 30_000).default(2_000).describe('time between attempts on the lease'),
    coalesceMs: whole(0, 5_000)
      .default(50)
      .describe('changes within this time are coalesced into one write of a snapshot'),
    pageLimit: whole(1, 5_000).default(500).describe('objects in a page of a list'),
    maxPodBytes: whole(1024 ** 2, 64 * 1024 ** 3)
      .default(DEFAULT_POD_BYTES)
      .describe(
        'memory of the records of all pods, some 2.4 kB for an ordinary one, which namespaces share. Raise it with the memory of the container',
      ),
    inactivityMs: whole(1_000, 600_000).default(90_000).describe('time without data after which a watch is reopened'),
    mirror: z
      .enum(['auto', 'off'])
      .default('auto')
      .describe('mirror custom resources to the configuration: auto if their definitions are installed, off never'),
    mirrorRetryMs: whole(1_000, 600_000)
      .default(30_000)
      .describe('time between attempts to read a custom resource that is not installed or not permitted'),
    mirrorStatusMs: whole(500, 60_000)
      .default(2_000)
      .describe('minimum interval of looking up where a custom resource is in force'),
    resolveOwners: z
      .boolean()
      .default(true)
      .describe(
        'confirm the controller of a pod by reading ReplicaSets, Jobs and ControllerRevisions; off: no pod has an owner',
      ),
  })
  .refine((config) => config.renewDeadlineMs < config.leaseDurationMs, {
    path: ['renewDeadlineMs'],
    error: 'must be less than leaseDurationMs',
  });

export type IpamSyncConfig = z.output<typeof configSchema> & FrameConfig;
