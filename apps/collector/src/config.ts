/** Configuration of the collector: its node, its directories, the bus, and its limits. */
import { INITIAL_MODES } from '@bailiff/policy';
import { busShape, type FrameConfig, signersShape, whole } from '@bailiff/service';
import { CNI_RESULTS_DIRS } from '@bailiff/vocabulary';
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
  ...signersShape,
  nodeName: z.string().min(1).describe('the Kubernetes name of this node'),
  bpfDir: z
    .string()
    .min(1)
    .default('/sys/fs/bpf/bailiff')
    .describe('directory on a bpffs for the pins of programs, links and maps; one per node'),
  stateDir: z
    .string()
    .min(1)
    .default('/var/lib/bailiff')
    .describe('directory for bindings of interfaces and for received documents; outlives the process'),
  cniResultsDir: z
    .array(z.string().min(1))
    .min(1)
    .default([...CNI_RESULTS_DIRS])
    .describe(
      "result caches of libcni: the runtime's, and that of Multus (`results` in its `cniDir`); one may be missing",
    ),
  cgroupRoot: z
    .string()
    .default('/sys/fs/cgroup')
    .describe('cgroup v2 root that contains kubepods; empty: interfaces are not bound by network namespace'),
  cni: z
    .enum(['off', 'on'])
    .default('off')
    .describe('on: installs the chained CNI plugin, so that a pod starts only after its interface is guarded'),
  cniSocket: z
    .string()
    .min(1)
    .max(100)
    .default('/run/bailiff/cni.sock')
    .describe('unix socket for the CNI plugin; the path is the same on the node and in the container'),
  cniConfDir: z
    .string()
    .min(1)
    .default('/etc/cni/net.d')
    .describe("the runtime's directory of CNI configurations, as the collector sees it"),
  cniBinDir: z
    .string()
    .min(1)
    .default('/opt/cni/bin')
    .describe("the runtime's directory of CNI plugins, as the collector sees it"),
  cniFailurePolicy: z
    .enum(['open', 'closed'])
    .default('open')
    .describe('if a pod cannot be guarded; open: it starts and is counted, closed: the runtime tries again later'),
  cniExemptNamespaces: z
    .array(z.string().min(1))
    .default(['kube-system', 'bailiff-system'])
    .describe('namespaces whose pods start in any case'),
  cniWaitMs: whole(100, 60_000)
    .default(10_000)
    .describe('longest time that the CNI plugin waits for the collector before the failure policy decides'),
  cniRestartWaitMs: whole(100, 60_000)
    .default(60_000)
    .describe(
      'the same for a collector that ran on the node within the last six minutes: the kubelet waits before it restarts one',
    ),
  podEnds: z
    .enum(['off', 'on'])
    .default('off')
    .describe(
      "on: bailiff-pod-ends runs on this node and guards the pods' ends of veth pairs; an end without its program is reported",
    ),
  hook: z
    .enum(['auto', 'tcx', 'clsact'])
    .default('auto')
    .describe('how programs are attached; auto: tcx if the kernel has it'),
  runtime: z
    .enum(['auto', 'off'])
    .default('auto')
    .describe('runtime policies by BPF-LSM programs; auto: if the kernel loads them'),
  initialMode: z
    .enum(INITIAL_MODES)
    .default('enforce')
    .describe(
      'packet vectors while the bus has no spoof.cluster._.default; audit: count and pass, enforce: built-in modes',
    ),
  observeOnly: z.boolean().default(false).describe('attach no programs, to see what an unguarded node lets through'),
  excludeInterfaces: regex
    .default('^(lo|eth\\d.*|en[opsx].*|bond.*|docker0|cilium_.*|lxc_health|kube-ipvs0)$')
    .describe('host-side interfaces with a matching name are never guarded; a start releases those that are guarded'),
  maxInterfaces: whole(8, 4096)
    .default(512)
    .describe('limit of guarded interfaces, which pods share; pinned maps keep their size'),
  flushIntervalMs: whole(10, 5_000)
    .default(250)
    .describe('longest interval between frames of an interface with violations'),
  sweepIntervalMs: whole(250, 60_000).default(5_000).describe('interval of reading every counter'),
  unknownGraceMs: whole(0, 60_000)
    .default(5_000)
    .describe('grace period before violations of an unbound interface are published'),
  statusIntervalMs: whole(250, 300_000).default(10_000).describe('interval of publishing the node status'),
  publishBytesPerSecond: whole(65_536, 1024 ** 3)
    .default(786_432)
    .describe(
      'rate of frames in the long run, which interfaces and accounts share; below what a correlator reads of a node. Never above 250 frames and 10 MiB a second, which bus-auth allows',
    ),
  maxInFlightFrames: whole(1, 512).default(64).describe('limit of unacknowledged frames'),
});
export type CollectorConfig = z.output<typeof collectorSchema> & FrameConfig;
