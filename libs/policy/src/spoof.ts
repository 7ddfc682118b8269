/**
 * Spoof policy: the mode of each vector and what surrounds it, at three scopes (cluster, namespace, workload). What is not
 * said at a narrower scope is inherited from the wider one; what nobody says has the shipped default.
 */
import * as z from 'zod';
import { cidr, duration, kubeName } from './units.ts';
import { defaultMode, MODES, type Mode, TUNABLE_VECTORS, type Vector } from './vectors.ts';

const mode = z.enum(MODES);
const modes = z.partialRecord(z.enum(TUNABLE_VECTORS), mode);

/** Settings that narrower scopes may override. */
export const spoofScoped = z.strictObject({
  /** Ordering guard: a write with a lower revision than the stored one is refused. */
  revision: z.number().int().nonnegative().default(0),
  modes: modes.default({}),
});

/** Cluster scope: everything a narrower scope has, and what only the whole cluster can have. */
export const spoofCluster = spoofScoped.extend({
  /** What happens to packets of an interface of which nothing is known. `off` passes. */
  unknown: mode.default('audit'),
  tunnelPorts: z
    .strictObject({
      vxlan: z.array(z.number().int().min(1).max(65535)).max(8).default([4789, 8472]),
      geneve: z.array(z.number().int().min(1).max(65535)).max(8).default([6081]),
    })
    .default({ vxlan: [4789, 8472], geneve: [6081] }),
  /** The administrator's key: prefixes that pods of a namespace may ask for by annotation. Nothing here, nothing granted. */
  allowedPrefixes: z
    .array(z.strictObject({ namespace: kubeName, prefixes: z.array(cidr).min(1).max(64) }))
    .max(1024)
    .default([]),
  quarantine: z
    .strictObject({
      /** What a quarantined pod may still exchange packets with. */
      allow: z.array(cidr).max(256).default([]),
    })
    .default({ allow: [] }),
  sampling: z
    .strictObject({
      burst: z.number().int().min(1).max(1024).default(8),
      perSecond: z.number().int().min(1).max(10_000).default(10),
    })
    .default({ burst: 8, perSecond: 10 }),
});

/** Break-glass: until then every enforce at this scope is judged as audit. */
export const disarm = z.strictObject({
  revision: z.number().int().nonnegative().default(0),
  until: z.iso.datetime({ offset: true }),
  duration: duration(1_000, 24 * 3_600_000),
  reason: z.string().max(512).default(''),
  by: z.string().max(256).default(''),
});

export type SpoofScoped = z.infer<typeof spoofScoped>;
export type SpoofCluster = z.infer<typeof spoofCluster>;
export type Disarm = z.infer<typeof disarm>;

/** Mode of a vector after merging scopes, widest first; undefined scopes are skipped. */
export function effectiveMode(vector: Vector, scopes: readonly (SpoofScoped | undefined)[]): Mode {
  let result = defaultMode(vector);
  for (const scope of scopes) {
    const said = (scope?.modes as Partial<Record<Vector, Mode>> | undefined)?.[vector];
    if (said !== undefined) result = said;
  }
  return result;
}
