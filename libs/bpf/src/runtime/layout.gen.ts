// Generated from the BTF of runtime.bpf.o by libs/bpf/scripts/build-bpf.ts --layout. Do not edit.

export const RuntimeAbiValues = {
  RUNTIME_ABI: 3,
} as const;

export const OpValues = {
  OP_EXECUTE: 0,
  OP_MAP_EXECUTE: 1,
  OP_READ: 2,
  OP_WRITE: 3,
  OP_CREATE: 4,
  OP_UNLINK: 5,
  OP_RENAME: 6,
  OP_LINK: 7,
  OP_SYMLINK: 8,
  OP_MKDIR: 9,
  OP_RMDIR: 10,
  OP_MKNOD: 11,
  OP_CHMOD: 12,
  OP_CHOWN: 13,
  OP_TRUNCATE: 14,
  OP_SETXATTR: 15,
  OP_CHROOT: 16,
  OP_MOUNT_POINT: 17,
  OP_UNIX_CONNECT: 18,
  OP_UNIX_SEND: 19,
  OP_UNIX_BIND: 20,
  OP_CONNECT: 21,
  OP_SEND: 22,
  OP_BIND: 23,
  OP_LISTEN: 24,
  OP_SOCKET: 25,
  OP_CAPABILITY: 26,
  OP_MOUNT: 27,
  OP_KERNEL: 28,
  OP_DRIFT: 29,
  OP_COUNT: 30,
} as const;

export const MountValueValues = {
  MOUNT_NEW: 0,
  MOUNT_BIND: 1,
  MOUNT_MOVE: 2,
  MOUNT_REMOUNT: 3,
  MOUNT_UMOUNT: 4,
  MOUNT_PIVOT: 5,
  MOUNT_PROPAGATION: 6,
  MOUNT_VALUES: 7,
} as const;

export const KernelValueValues = {
  KERNEL_PTRACE: 0,
  KERNEL_TRACEME: 1,
  KERNEL_USER_NAMESPACE: 2,
  KERNEL_BPF: 3,
  KERNEL_MODULE: 4,
  KERNEL_KEXEC: 5,
  KERNEL_FIRMWARE: 6,
  KERNEL_PERF_EVENT: 7,
  KERNEL_SIGNAL: 8,
  KERNEL_HOST_MOUNTS: 9,
  KERNEL_MODULE_REQUEST: 10,
  KERNEL_FOREIGN_NETNS: 11,
  KERNEL_VALUES: 12,
} as const;

export const DriftValueValues = {
  DRIFT_LAYER: 0,
  DRIFT_VOLUME: 1,
  DRIFT_MEMORY: 2,
  DRIFT_VALUES: 3,
} as const;

export const RuleActionValues = {
  RULE_ALLOW_AUDIT: 0,
  RULE_ALLOW: 1,
  RULE_AUDIT: 2,
  RULE_BLOCK: 3,
  RULE_KILL: 4,
  RULE_ACTIONS: 5,
} as const;

export const PostureClassValues = {
  POSTURE_FILE: 0,
  POSTURE_EXECUTE: 1,
  POSTURE_NETWORK: 2,
  POSTURE_CAPABILITY: 3,
  POSTURE_KERNEL: 4,
  POSTURE_CLASSES: 5,
} as const;

export const PathMatchValues = {
  PATH_EXACT: 0,
  PATH_DIRECTORY: 1,
  PATH_RECURSIVE: 2,
  PATH_ANCESTOR: 3,
} as const;

export const PathKindValues = {
  PATH_PREFIX: 0,
  PATH_SUFFIX: 1,
  PATH_ABSTRACT: 2,
} as const;

export const PathClassValues = {
  PATHS_EXECUTE: 0,
  PATHS_READ: 1,
  PATHS_CHANGE: 2,
  PATHS_UNIX: 3,
  PATH_CLASSES: 4,
} as const;

export const SubjectFlagValues = {
  SUBJECT_CONTAINERS: 1,
} as const;

export const CounterExtraValues = {
  EXTRA_POSTURE: 0,
  EXTRA_UNRESOLVED: 10,
  COUNTER_EXTRA: 12,
} as const;

export const TaskFlagValues = {
  TASK_ARMED: 1,
  TASK_CHAIN_CUT: 2,
  TASK_BOUND: 4,
  TASK_ENTERED: 8,
  TASK_FOREIGN: 16,
  TASK_SEND_ASKED: 32,
} as const;

export const SourceFlagValues = {
  SOURCE_SELF: 1,
  SOURCE_CHILDREN: 2,
} as const;

export const CacheEpochValues = {
  CACHE_EPOCH_CHANGING: 1,
  CACHE_EPOCH_SHIFT: 8,
} as const;

export const RtLossValues = {
  RT_LOSS_RING_FULL: 0,
  RT_LOSS_NO_CELL: 1,
  RT_LOSS_NO_SCRATCH: 2,
  RT_LOSS_UNRESOLVED: 3,
  RT_LOSS_NO_STATE: 4,
  RT_LOSS_UNARMED: 5,
  RT_LOSS_ORPHAN: 6,
  RT_LOSS_UNBOUND: 7,
  RT_LOSS_CGROUPS_FULL: 8,
  RT_LOSS_CGROUP_REFUSED: 9,
  RT_LOSS_TASK_SHARE: 10,
  RT_LOSS_NO_RECORD: 11,
  RT_LOSS_COUNT: 12,
} as const;

export const RtSampleFlagValues = {
  RT_SAMPLE_FIRST: 1,
  RT_SAMPLE_POSTURE: 2,
  RT_SAMPLE_PATH: 4,
  RT_SAMPLE_ADDRESS: 8,
  RT_SAMPLE_CUT: 16,
} as const;

export const PodUidLayout = {
  size: 16,
  bytes: { offset: 0, size: 16 },
} as const;

export const SubjectLayout = {
  size: 32,
  set: { offset: 0, size: 4 },
  counterBase: { offset: 4, size: 4 },
  counterCount: { offset: 8, size: 4 },
  generation: { offset: 12, size: 4 },
  bucket: { offset: 16, size: 4 },
  flags: { offset: 20, size: 4 },
  auditUntilNs: { offset: 24, size: 8 },
} as const;

export const TaskStateLayout = {
  size: 120,
  pod: { offset: 0, size: 16 },
  cgroupId: { offset: 16, size: 8 },
  flags: { offset: 24, size: 4 },
  chainCount: { offset: 28, size: 4 },
  chain: { offset: 32, size: 64 },
  rootDentry: { offset: 96, size: 8 },
  rootDevice: { offset: 104, size: 4 },
  mknodResult: { offset: 108, size: 4 },
  bounding: { offset: 112, size: 8 },
} as const;

export const PathMasksLayout = {
  size: 16,
  suffixLengths: { offset: 0, size: 8 },
  depths: { offset: 8, size: 4 },
  reserved: { offset: 12, size: 4 },
} as const;

export const SetHeadLayout = {
  size: 120,
  ops: { offset: 0, size: 8 },
  postureBlock: { offset: 8, size: 8 },
  postureAudit: { offset: 16, size: 8 },
  rules: { offset: 24, size: 4 },
  unresolved: { offset: 28, size: 1 },
  guardAliases: { offset: 29, size: 1 },
  driftVolumes: { offset: 30, size: 1 },
  unresolvedAddress: { offset: 31, size: 1 },
  guardRule: { offset: 32, size: 4 },
  reservedWord: { offset: 36, size: 4 },
  digest: { offset: 40, size: 16 },
  masks: { offset: 56, size: 64 },
} as const;

export const PathKeyLayout = {
  size: 16,
  set: { offset: 0, size: 4 },
  kind: { offset: 4, size: 4 },
  hash: { offset: 8, size: 8 },
} as const;

export const PathRuleLayout = {
  size: 16,
  ops: { offset: 0, size: 8 },
  rule: { offset: 8, size: 4 },
  source: { offset: 12, size: 2 },
  action: { offset: 14, size: 1 },
  match: { offset: 15, size: 1 },
} as const;

export const PathRulesLayout = {
  size: 136,
  count: { offset: 0, size: 4 },
  below: { offset: 4, size: 4 },
  rules: { offset: 8, size: 128 },
} as const;

export const RtAddressKeyLayout = {
  size: 24,
  prefixlen: { offset: 0, size: 4 },
  set: { offset: 4, size: 4 },
  address: { offset: 8, size: 16 },
} as const;

export const AddressRuleLayout = {
  size: 16,
  rule: { offset: 0, size: 4 },
  source: { offset: 4, size: 2 },
  portFirst: { offset: 6, size: 2 },
  portLast: { offset: 8, size: 2 },
  protocol: { offset: 10, size: 1 },
  action: { offset: 11, size: 1 },
  ops: { offset: 12, size: 4 },
} as const;

export const AddressRulesLayout = {
  size: 260,
  count: { offset: 0, size: 4 },
  rules: { offset: 4, size: 256 },
} as const;

export const ValueKeyLayout = {
  size: 16,
  set: { offset: 0, size: 4 },
  op: { offset: 4, size: 4 },
  value: { offset: 8, size: 8 },
} as const;

export const ValueRuleLayout = {
  size: 8,
  rule: { offset: 0, size: 4 },
  source: { offset: 4, size: 2 },
  action: { offset: 6, size: 1 },
  reserved: { offset: 7, size: 1 },
} as const;

export const ValueRulesLayout = {
  size: 68,
  count: { offset: 0, size: 4 },
  rules: { offset: 4, size: 64 },
} as const;

export const SourceKeyLayout = {
  size: 16,
  set: { offset: 0, size: 4 },
  source: { offset: 4, size: 4 },
  program: { offset: 8, size: 8 },
} as const;

export const RtSettingsLayout = {
  size: 40,
  hashKey: { offset: 0, size: 16 },
  hostMountNs: { offset: 16, size: 4 },
  sampleBurst: { offset: 20, size: 4 },
  samplesPerSecond: { offset: 24, size: 4 },
  abi: { offset: 28, size: 4 },
  maxTasks: { offset: 32, size: 4 },
  reserved: { offset: 36, size: 4 },
} as const;

export const RtBirthLayout = {
  size: 56,
  ns: { offset: 0, size: 8 },
  mounts: { offset: 8, size: 32 },
  recorded: { offset: 40, size: 4 },
  rootDevice: { offset: 44, size: 4 },
  rootDentry: { offset: 48, size: 8 },
} as const;

export const RtTotalsLayout = {
  size: 8,
  tasks: { offset: 0, size: 4 },
  spares: { offset: 4, size: 4 },
} as const;

export const RtCacheControlLayout = {
  size: 24,
  epoch: { offset: 0, size: 8 },
  renameLock: { offset: 8, size: 8 },
  mountLock: { offset: 16, size: 8 },
} as const;

export const SocketMakerLayout = {
  size: 320,
  boottimeNs: { offset: 0, size: 8 },
  pod: { offset: 8, size: 16 },
  containerCgroupId: { offset: 24, size: 8 },
  tgid: { offset: 32, size: 4 },
  uid: { offset: 36, size: 4 },
  comm: { offset: 40, size: 16 },
  programLength: { offset: 56, size: 2 },
  family: { offset: 58, size: 2 },
  type: { offset: 60, size: 2 },
  protocol: { offset: 62, size: 2 },
  program: { offset: 64, size: 256 },
} as const;

export const RuntimeSampleLayout = {
  size: 1040,
  boottimeNs: { offset: 0, size: 8 },
  cgroupId: { offset: 8, size: 8 },
  containerCgroupId: { offset: 16, size: 8 },
  socketCookie: { offset: 24, size: 8 },
  value: { offset: 32, size: 8 },
  pod: { offset: 40, size: 16 },
  generation: { offset: 56, size: 4 },
  rule: { offset: 60, size: 4 },
  op: { offset: 64, size: 4 },
  tgid: { offset: 68, size: 4 },
  tid: { offset: 72, size: 4 },
  parentTgid: { offset: 76, size: 4 },
  uid: { offset: 80, size: 4 },
  gid: { offset: 84, size: 4 },
  capabilities: { offset: 88, size: 8 },
  action: { offset: 96, size: 1 },
  flags: { offset: 97, size: 1 },
  protocol: { offset: 98, size: 1 },
  family: { offset: 99, size: 1 },
  port: { offset: 100, size: 2 },
  reserved: { offset: 102, size: 2 },
  address: { offset: 104, size: 16 },
  comm: { offset: 120, size: 16 },
  subjectLength: { offset: 136, size: 2 },
  programLength: { offset: 138, size: 2 },
  parentLength: { offset: 140, size: 2 },
  argsLength: { offset: 142, size: 2 },
  subject: { offset: 144, size: 256 },
  program: { offset: 400, size: 256 },
  parentProgram: { offset: 656, size: 256 },
  args: { offset: 912, size: 128 },
} as const;
