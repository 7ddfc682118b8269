/**
 * Spoof policy: the mode of each vector and what surrounds it, at three scopes (cluster, namespace, workload). What is not
 * said at a narrower scope is inherited from the wider one; what nobody says is as it is built in.
 */

import { MODES, TUNABLE_VECTORS } from '@bailiff/vocabulary';
import * as z from 'zod';
import { unguardedNodes } from './unguarded.ts';
import { cidr, duration, kubeName, revision } from './units.ts';

const mode = z.enum(MODES);
const ports = z.array(z.number().int().min(1).max(65535)).max(8);
const modes = z
  .partialRecord(z.enum(TUNABLE_VECTORS), mode)
  .default({})
  .describe(
    'mode of each vector: enforce drops and counts, audit counts and passes, off does not judge; one that is not named is inherited',
  );

const burst = z.number().int().min(1).max(1024).describe('samples that may leave at once');
const perSecond = z.number().int().min(1).max(10_000).describe('samples in the long run, a second');
const SAMPLES = 'token bucket for samples, of each interface; counts stay exact whatever it is';

/** Settings that narrower scopes may override. */
export const spoofScoped = z.strictObject({
  revision,
  modes,
  sampling: z
    .strictObject({ burst: burst.optional(), perSecond: perSecond.optional() })
    .optional()
    .describe(`${SAMPLES}; what is not said is inherited`),
});

/** Cluster scope: everything a narrower scope has, and what only the whole cluster can have. */
export const spoofCluster = spoofScoped.extend({
  unknown: mode
    .default('audit')
    .describe('packets of an interface of which nothing is known: enforce drops, audit counts and passes, off passes'),
  tunnelPorts: z
    .strictObject({
      vxlan: ports.default([4789, 8472]).describe('UDP ports that carry VXLAN'),
      geneve: ports.default([6081]).describe('UDP ports that carry Geneve'),
    })
    .default({ vxlan: [4789, 8472], geneve: [6081] })
    .describe('destination ports by which the vectors tunnel and tunnel-other know encapsulated frames'),
  allowedPrefixes: z
    .array(
      z.strictObject({
        namespace: kubeName.describe('namespace whose pods may ask'),
        prefixes: z.array(cidr).min(1).max(64).describe('CIDRs within which what they ask for must lie'),
      }),
    )
    .max(1024)
    .default([])
    .describe(
      "the administrator's key: prefixes that pods of a namespace may ask for by annotation; nothing here, nothing granted",
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
    .describe('what a quarantine lets pass'),
  unguardedNodes,
  sampling: z
    .strictObject({ burst: burst.default(8), perSecond: perSecond.default(10) })
    .default({ burst: 8, perSecond: 10 })
    .describe(`${SAMPLES}. Pods under runtime policies, and their containers, have one for their operations as well`),
});

/** Break-glass: until then every enforce at this scope is judged as audit. */
export const disarm = z.strictObject({
  revision,
  until: z.iso.datetime({ offset: true }).max(64).describe('when it ends, RFC 3339 with an offset'),
  duration: duration(1_000, 24 * 3_600_000).describe('how long it was asked for: 1s to 24h'),
  reason: z.string().max(512).default('').describe('why, for whoever finds it in force'),
  by: z.string().max(256).default('').describe('who asked for it'),
});

export type SpoofScoped = z.infer<typeof spoofScoped>;
export type SpoofCluster = z.infer<typeof spoofCluster>;
export type Disarm = z.infer<typeof disarm>;
