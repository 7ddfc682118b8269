/**
 * Spoof policies: the mode of each vector and related settings, at three scopes (cluster,
 * namespace, workload). A narrower scope inherits missing fields from the wider one; the last
 * resort is the built-in value.
 */

import { MODES, type Mode, TUNABLE_VECTORS } from '@bailiff/vocabulary';
import * as z from 'zod';
import { unguardedNodes } from './unguarded.ts';
import { cidr, duration, kubeName, macPrefix, revision, whole } from './units.ts';

const mode = z.enum(MODES);
const ports = z.array(whole(1, 65535)).max(8);
const modes = z
  .partialRecord(z.enum(TUNABLE_VECTORS), mode)
  .default({})
  .describe(
    'mode of each vector: enforce drops and counts, audit counts and passes, off skips the check; a missing vector is inherited',
  );

const networks = z.array(cidr).max(256).default([]);

const burst = whole(1, 1024).describe('burst of samples');
const perSecond = whole(1, 10_000).describe('samples per second in the long run');
const SAMPLES = 'token bucket for samples, per interface; counts are exact in any case';

/** Settings that narrower scopes may override. */
export const spoofScoped = z.strictObject({
  revision,
  modes,
  sampling: z
    .strictObject({ burst: burst.optional(), perSecond: perSecond.optional() })
    .optional()
    .describe(`${SAMPLES}; missing fields are inherited`),
});

/** Pods that a permit is for. Absent fields: any. */
export interface PermitScope {
  namespace: string;
  serviceAccount?: string | undefined;
  workload?: string | undefined;
}

/** What permits select a pod by. */
export interface PermittedPod {
  namespace: string;
  serviceAccount: string;
  /** null: no confirmed controller. */
  workload: string | null;
}

export const isPermitFor = ({ namespace, serviceAccount, workload }: PermitScope, pod: PermittedPod): boolean =>
  namespace === pod.namespace &&
  (serviceAccount === undefined || serviceAccount === pod.serviceAccount) &&
  (workload === undefined || workload === pod.workload);

const permitted = (what: string) => ({
  namespace: kubeName.describe(`namespace whose pods may request ${what}`),
  serviceAccount: kubeName.optional().describe('only pods with this service account; missing: any'),
  workload: kubeName
    .optional()
    .describe('only pods of the controller of this name, confirmed by the API server; missing: any pod'),
});

/** Cluster scope: all fields of a narrower scope, and those of the whole cluster. */
export const spoofCluster = spoofScoped.extend({
  unknown: mode
    .default('audit')
    .describe('packets of an interface without a binding: enforce drops, audit counts and passes, off passes'),
  tunnelPorts: z
    .strictObject({
      vxlan: ports.default([4789, 8472]).describe('UDP ports that carry VXLAN'),
      geneve: ports.default([6081]).describe('UDP ports that carry Geneve'),
    })
    .default({ vxlan: [4789, 8472], geneve: [6081] })
    .describe('destination ports that mark encapsulated frames for the vectors tunnel and tunnel-other'),
  tunnelNetworks: z
    .strictObject({
      inside: networks.describe('further networks of nodes, pods and Services'),
      outside: networks.describe(
        'networks of private addresses, or of the nodes’ own link, that are outside the cluster',
      ),
    })
    .default({ inside: [], outside: [] })
    .describe(
      'destinations of the vector tunnel besides the known and the private ones, and those of tunnel-other; the longest prefix decides, and the cluster’s own networks stay inside',
    ),
  allowedTunnels: z
    .array(
      z.strictObject({
        ...permitted('tunnels'),
        peers: z.array(cidr).min(1).max(64).describe('CIDRs that must contain the requested peers'),
      }),
    )
    .max(1024)
    .default([])
    .describe(
      "the administrator's key: peers to which pods of a namespace may ask by annotation to send tunnels; no address of a node can be granted",
    ),
  allowedPrefixes: z
    .array(
      z.strictObject({
        ...permitted('prefixes'),
        prefixes: z.array(cidr).min(1).max(64).describe('CIDRs that must contain the requested prefixes'),
      }),
    )
    .max(1024)
    .default([])
    .describe(
      "the administrator's key: prefixes that pods of a namespace may ask for by annotation; nothing here, nothing granted",
    ),
  allowedMacs: z
    .array(
      z.strictObject({
        ...permitted('MACs'),
        macs: z.array(macPrefix).min(1).max(64).describe('MACs, or their first three to five bytes'),
      }),
    )
    .max(1024)
    .default([])
    .describe(
      "the administrator's key: MACs that pods of a namespace may ask for by annotation, for example of virtual machines; nothing here, nothing granted",
    ),
  allowedNeighbours: z
    .array(
      z.strictObject({
        ...permitted('addresses'),
        prefixes: z.array(cidr).min(1).max(64).describe('CIDRs that must contain the requested ones'),
      }),
    )
    .max(1024)
    .default([])
    .describe(
      "the administrator's key: addresses that pods of a namespace may ask by annotation to use and to announce in ARP and neighbour discovery, for example virtual addresses",
    ),
  quarantine: z
    .strictObject({
      allow: z
        .array(cidr)
        .max(256)
        .default([])
        .describe('CIDRs with which a quarantined pod may still exchange packets'),
    })
    .default({ allow: [] })
    .describe('traffic that a quarantine allows'),
  unguardedNodes,
  sampling: z
    .strictObject({ burst: burst.default(8), perSecond: perSecond.default(10) })
    .default({ burst: 8, perSecond: 10 })
    .describe(`${SAMPLES}. Pods under runtime policies, and their containers, have another one for operations`),
});

/** What a cluster starts with: the built-in modes, or audit for every vector. */
export const INITIAL_MODES = ['enforce', 'audit'] as const;
export type InitialMode = (typeof INITIAL_MODES)[number];

/** The cluster's policy until one is stored. */
export function initialSpoofPolicy(mode: InitialMode): {
  modes: Partial<Record<(typeof TUNABLE_VECTORS)[number], Mode>>;
} {
  return { modes: mode === 'audit' ? Object.fromEntries(TUNABLE_VECTORS.map((vector) => [vector, mode])) : {} };
}

/** Disarm: until it ends, every enforce at this scope is judged as audit. */
export const disarm = z.strictObject({
  revision,
  until: z.iso.datetime({ offset: true }).max(64).describe('end of the disarm, RFC 3339 with an offset'),
  duration: duration(1_000, 24 * 3_600_000).describe('requested duration: 1s to 24h'),
  reason: z.string().max(512).default('').describe('reason, for operators who find it in force'),
  by: z.string().max(256).default('').describe('who requested it'),
});

export type SpoofScoped = z.infer<typeof spoofScoped>;
export type SpoofCluster = z.infer<typeof spoofCluster>;
export type Disarm = z.infer<typeof disarm>;
