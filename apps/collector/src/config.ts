/** What a collector is told: who it is, where the node keeps things, how to reach the bus, and its bounds. */
import { busShape, type FrameConfig } from '@bailiff/service';
import * as z from 'zod';

const regex = z.string().refine(
  (text) => {
    try {
      new RegExp(text);
      return true;
    } catch {
      return false;
    }
  },
  { error: 'must be a regular expression' },
);

export const collectorSchema = z.strictObject({
  ...busShape,
  nodeName: z.string().min(1).describe('the Kubernetes name of this node'),
  bpfDir: z
    .string()
    .min(1)
    .default('/sys/fs/bpf/bailiff')
    .describe('directory on a bpffs, this node alone: pins of programs, links and maps'),
  stateDir: z
    .string()
    .min(1)
    .default('/var/lib/bailiff')
    .describe('whose each guarded interface is; outlives the process'),
  cniResultsDir: z.string().min(1).default('/var/lib/cni/results').describe("libcni's result cache"),
  cgroupRoot: z
    .string()
    .default('/sys/fs/cgroup')
    .describe('cgroup-v2 root that holds kubepods; empty: no fallback by namespace'),
  hook: z
    .enum(['auto', 'tcx', 'clsact'])
    .default('auto')
    .describe('how programs are attached; auto: tcx where the kernel has it'),
  runtime: z
    .enum(['auto', 'off'])
    .default('auto')
    .describe('runtime policies by BPF-LSM programs; auto: where the kernel loads them'),
  observeOnly: z.boolean().default(false).describe('attach nothing: what an unguarded node lets through'),
  excludeInterfaces: regex
    .default('^(lo|eth\\d.*|en[opsx].*|bond.*|docker0|cilium_.*|lxc_health|kube-ipvs0)$')
    .describe('host-side interfaces with such a name are never pods'),
  maxInterfaces: z
    .number()
    .int()
    .min(8)
    .max(4096)
    .default(512)
    .describe('interfaces guarded at most; pinned maps keep the size they have'),
  flushIntervalMs: z
    .number()
    .int()
    .min(10)
    .max(5_000)
    .default(250)
    .describe('how often a breaching interface speaks on the bus'),
  sweepIntervalMs: z.number().int().min(250).max(60_000).default(5_000).describe('how often every counter is read'),
  unknownGraceMs: z
    .number()
    .int()
    .min(0)
    .max(60_000)
    .default(5_000)
    .describe('an interface of nobody speaks on the bus only after this long'),
  statusIntervalMs: z
    .number()
    .int()
    .min(250)
    .max(300_000)
    .default(10_000)
    .describe('how often node status is put on the bus'),
  maxInFlightFrames: z.number().int().min(1).max(512).default(64).describe('frames unacknowledged at most'),
});
export type CollectorConfig = z.output<typeof collectorSchema> & FrameConfig;
