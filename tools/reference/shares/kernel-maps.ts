/**
 * Every map of the kernel programs: what fills it, which part of it one pod may use, and what happens
 * when it is full. libs/bpf/src/layout.test.ts compares names and sizes with the objects; docs/reference shows the
 * list. A map that pods fill has a share per pod, and is allocated when it is created: no pod can use
 * up the part of another, or the memory of the collector.
 */
export interface MapShare {
  /** Default of max_entries; bytes of a ring. */
  readonly size: number;
  /** The event that adds an entry, and whether a pod can cause it. */
  readonly filledBy: string;
  /** What one pod can use at most. */
  readonly share: string;
  readonly whenFull: string;
}

const CONSTANT = { filledBy: 'an array, written in place', share: '', whenFull: 'never' } as const;
const ofPolicies = (share: string): Omit<MapShare, 'size'> => ({
  filledBy: 'policies that the collector compiles',
  share,
  whenFull: 'the pods that need the set are refused, with the reason in the status',
});
const PER_INTERFACE =
  'the guard of an interface. A pod has one, and one more for each network that it requests (Multus)';
const NOT_GUARDED = 'the interface has no guard or an incomplete one; status and metrics name it';

/** Maps of spoof.bpf.o. */
export const PACKET_MAPS: Readonly<Record<string, MapShare>> = {
  ifaces: { size: 512, filledBy: PER_INTERFACE, share: '1 per interface', whenFull: NOT_GUARDED },
  cards: {
    size: 4096,
    filledBy: PER_INTERFACE,
    share: '1 per interface',
    whenFull: 'the interface uses the slow path',
  },
  addresses: {
    size: 32_768,
    filledBy: 'addresses and grants of pods',
    share: '64 per interface (MAX_GRANTS)',
    whenFull: 'never: 64 for each interface. Of more than 64, the rest is left out, and status names the interface',
  },
  counters: {
    size: 1024,
    filledBy: PER_INTERFACE,
    share: '1 per interface',
    whenFull: NOT_GUARDED,
  },
  seen: { size: 512, ...CONSTANT, share: '1 slot per interface' },
  buckets: { size: 512, ...CONSTANT, share: '1 bucket per interface: samplesPerSecond and sampleBurst' },
  settings: { size: 1, ...CONSTANT },
  meta: { size: 1, ...CONSTANT },
  node_addresses: {
    size: 16_384,
    filledBy: 'addresses of the nodes in the pod list',
    share: 'none: pods add no entry',
    whenFull: 'tunnels to the other nodes are not recognised; status reports it',
  },
  networks: {
    size: 131_072,
    filledBy: 'networks of the node, the pod list and the configuration',
    share: 'none: pods add no entry',
    whenFull: 'tunnels to the missing networks are not recognised; status reports it',
  },
  tunnel_services: {
    size: 16_384,
    filledBy: 'Services that lead to a tunnel port, in the cluster list',
    share: 'namespaces add their Services in turn, 4,096 in all (MAX_TUNNEL_SERVICES of ipam-sync)',
    whenFull: 'never: the list is shorter',
  },
  tunnel_ports: { size: 1024, ...CONSTANT },
  pods_cgroup: { size: 1, ...CONSTANT },
  allowed_cidrs: {
    size: 1024,
    filledBy: 'the configuration `quarantine`',
    share: 'none: pods add no entry',
    whenFull: 'the configuration is not applied; status reports it',
  },
  probe_ports: {
    size: 16_384,
    filledBy: 'probes in the specification of pods',
    share: '32 per interface (MAX_PROBE_PORTS)',
    whenFull: 'never: 32 for each interface. Of more than 32, the rest is left out, and status names the interface',
  },
  redirections: { size: 1, ...CONSTANT },
  losses: { size: 3, ...CONSTANT },
  samples: {
    size: 1 << 20,
    filledBy: 'violations of pods, both kinds',
    share:
      'packets: the burst and rate of its interface, and the first of each vector. Operations: the burst and rate of each subject; firsts of a rule use only the first half of the ring',
    whenFull: '`ring-full`, `runtime-ring-full`: the sample is lost, the count is exact, the next violation is sampled',
  },
};

/** Maps of runtime.bpf.o, without `samples`. */
export const RUNTIME_MAPS: Readonly<Record<string, MapShare>> = {
  rt_pods: { size: 1024, ...ofPolicies('1') },
  rt_containers: {
    size: 4096,
    ...ofPolicies('1 per container in its specification, within the share of its namespace'),
  },
  rt_sets: {
    size: 1024,
    ...ofPolicies('pods with the same policies share a set. The sets of a namespace have at most as much as is free'),
  },
  rt_paths: { size: 262_144, ...ofPolicies('as for `rt_sets`') },
  rt_addresses: { size: 65_536, ...ofPolicies('as for `rt_sets`') },
  rt_values: { size: 65_536, ...ofPolicies('as for `rt_sets`') },
  rt_sources: { size: 16_384, ...ofPolicies('as for `rt_sets`') },
  rt_counters: {
    size: 524_288,
    ...CONSTANT,
    share: 'the cells of its subjects. Containers use half of all, within the share of their namespace',
  },
  rt_buckets: { size: 4096, ...CONSTANT, share: '1 bucket per subject: samplesPerSecond and sampleBurst' },
  rt_settings: { size: 1, ...CONSTANT },
  rt_totals: { size: 1, ...CONSTANT },
  rt_losses: { size: 12, ...CONSTANT },
  rt_cache_control: { size: 1, ...CONSTANT },
  rt_opens: {
    size: 32_768,
    filledBy: 'an open that policies allow without counting it',
    share: 'none: an entry replaces another one, and an open without an entry is decided by the rules',
    whenFull: 'never',
  },
  rt_peers: {
    size: 4096,
    filledBy: 'a connect that policies allow without counting it',
    share: 'none: an entry replaces another one, and a connect without an entry is decided by the rules',
    whenFull: 'never',
  },
  rt_cgroups: {
    size: 8192,
    filledBy: 'the kubelet, with the cgroup of a pod. A cgroup that a pod creates adds none',
    share: '1, until the cgroup is removed',
    whenFull: '`runtime-cgroups-full`: bound later, from user space',
  },
  rt_born: {
    size: 8192,
    filledBy: 'a runtime, with the cgroup of a container. A cgroup that a pod creates adds none',
    share: '1 per container, until its cgroup is removed',
    whenFull:
      '`runtime-no-record`: the birth time, the first root and the mount namespaces of the container are unknown: its image is the root of each later program',
  },
  rt_mounts: {
    size: 16_384,
    filledBy: 'a program that a runtime starts in a mount namespace without a record',
    share: '4 per container: the first namespace, and the newest of the others (BORN_MOUNTS)',
    whenFull: '`runtime-no-record`: the container is identified by its cgroup alone',
  },
  rt_shares: {
    size: 1024,
    filledBy: 'the first program of a pod',
    share: '1, until the cgroup of the pod is removed',
    whenFull: '`runtime-no-record`: the pod has tasks while half of `rt_tasks` is free, and no records of sockets',
  },
  rt_tasks: {
    size: 131_072,
    filledBy: 'each task of a pod, by fork and by the first program; before it, each process in the cgroup of a pod',
    share: 'as many as are free: alone at most half, and room for the others stays however many pods do so',
    whenFull:
      '`runtime-task-share`: a fork beyond the share ends with EAGAIN. `runtime-no-state`: the map is full, which the shares prevent; forks and first programs end with EAGAIN',
  },
  rt_scratch: {
    size: 513,
    filledBy: 'a program that runs, for as long as it runs',
    share: 'the slot of the CPU, and as many of the 512 spares as are free while others wait with that slot',
    whenFull: '`runtime-no-scratch`: the operation is decided as unresolved',
  },
  rt_sockets: {
    size: 8192,
    filledBy: 'each raw or packet socket of a pod',
    share: 'the newest 16 of the pod, until its cgroup is removed (SHARE_SOCKETS)',
    whenFull: '`runtime-no-record`: packets of the socket do not name its process',
  },
};
