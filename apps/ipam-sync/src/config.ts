/**
 * Configuration of ipam-sync. Where Kubernetes' control plane has the same setting, the default is
 * the same.
 */
import { busShape, type FrameConfig } from '@bailiff/service';
import * as z from 'zod';

const milliseconds = (min: number, max: number) => z.number().int().min(min).max(max);

export const configSchema = z
  .strictObject({
    ...busShape,
    kubeconfig: z
      .string()
      .default('')
      .describe('kubeconfig file; empty: KUBECONFIG, ~/.kube/config or the service account'),
    kubeContext: z.string().default('').describe('context of the kubeconfig; empty: its current one'),
    leaderElection: z
      .boolean()
      .default(true)
      .describe('take part in the election; off only where one replica ever runs'),
    leaseNamespace: z.string().min(1).default('bailiff-system').describe('namespace of the Lease'),
    leaseName: z.string().min(1).default('bailiff-ipam-sync').describe('name of the Lease'),
    leaseDurationMs: milliseconds(1_000, 120_000).default(15_000).describe('others take an unrenewed lease after this'),
    renewDeadlineMs: milliseconds(500, 60_000)
      .default(10_000)
      .describe('a leader that cannot renew steps down after this'),
    retryMs: milliseconds(100, 30_000).default(2_000).describe('time between attempts on the lease'),
    coalesceMs: milliseconds(0, 5_000).default(50).describe('changes within this time go into one write of a snapshot'),
    pageLimit: z.number().int().min(1).max(5_000).default(500).describe('objects in a page of a list'),
    inactivityMs: milliseconds(1_000, 600_000)
      .default(90_000)
      .describe('a watch on which nothing comes is opened anew after this'),
    mirror: z
      .enum(['auto', 'off'])
      .default('auto')
      .describe('custom resources become configuration: auto where their definitions are installed, off never'),
    mirrorRetryMs: milliseconds(1_000, 600_000)
      .default(30_000)
      .describe('time between questions for a custom resource that is not defined, or not ours to read'),
    mirrorStatusMs: milliseconds(500, 60_000)
      .default(2_000)
      .describe('where a custom resource is in force is looked up this often at most'),
    resolveOwners: z
      .boolean()
      .default(true)
      .describe(
        'confirm who made a pod by reading ReplicaSets, Jobs and ControllerRevisions; off: no pod has an owner',
      ),
  })
  .refine((config) => config.renewDeadlineMs < config.leaseDurationMs, {
    path: ['renewDeadlineMs'],
    error: 'must be less than leaseDurationMs',
  });

export type IpamSyncConfig = z.output<typeof configSchema> & FrameConfig;
