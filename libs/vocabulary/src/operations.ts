/**
 * Words of runtime policies and of the LSM programs: operations, their values, actions, postures.
 *
 * The index in OPERATIONS, MOUNT_VALUES, KERNEL_VALUES, DRIFT_VALUES, RULE_ACTIONS and
 * POSTURE_CLASSES is the enum's value in libs/bpf/bpf/runtime/layout.h and is ABI: append only. A
 * test compares these lists with the BTF of the object.
 */

export const RUNTIME_MODES = ['audit', 'enforce'] as const;

/** allow: satisfies a posture. audit: counted, passes. block: EPERM. kill: EPERM and SIGKILL. */
export const RUNTIME_ACTIONS = ['allow', 'audit', 'block', 'kill'] as const;
/**
 * Actions of compiled rules (enum rule_action). A higher index is a stronger denial. allow-audit:
 * allow of a policy in audit mode.
 */
export const RULE_ACTIONS = ['allow-audit', ...RUNTIME_ACTIONS] as const;
export type RuleAction = (typeof RULE_ACTIONS)[number];
/** What the kernel did with a denied operation. */
export const OPERATION_OUTCOMES = ['audit', 'block', 'kill'] as const;

/** Classes of operations that have a default posture (enum posture_class). */
export const POSTURE_CLASSES = ['file', 'execute', 'network', 'capability', 'kernel'] as const;
export type PostureClass = (typeof POSTURE_CLASSES)[number];
/** What happens to operations of a class that no allow rule names. */
export const POSTURES = ['allow', 'audit', 'block'] as const;
export type Posture = (typeof POSTURES)[number];

export const FILE_OPERATIONS = [
  'read',
  'write',
  'create',
  'unlink',
  'rename',
  'link',
  'symlink',
  'mkdir',
  'rmdir',
  'mknod',
  'chmod',
  'chown',
  'truncate',
  'setxattr',
  'chroot',
  'mount-point',
] as const;
export type FileOperation = (typeof FILE_OPERATIONS)[number];
/** execute: run as a program or interpreter. map: mapped executable, as libraries are. */
export const EXECUTE_OPERATIONS = ['execute', 'map'] as const;
export const NETWORK_OPERATIONS = ['connect', 'send', 'bind', 'listen'] as const;
export const UNIX_OPERATIONS = ['connect', 'send', 'bind'] as const;

/** Every operation (enum op). Violations and correlation rules use these words. */
export const OPERATIONS = [
  'execute',
  'map-execute',
  ...FILE_OPERATIONS,
  'unix-connect',
  'unix-send',
  'unix-bind',
  ...NETWORK_OPERATIONS,
  'socket',
  'capability',
  'mount',
  'kernel',
  'drift',
] as const;
export type OperationName = (typeof OPERATIONS)[number];

/** Values of the operation `mount` (enum mount_value). */
export const MOUNT_VALUES = ['new', 'bind', 'move', 'remount', 'umount', 'pivot', 'propagation'] as const;
/** Mounts that a rule can name. */
export const MOUNT_OPERATIONS = MOUNT_VALUES;

const AFTER_TRACEME = [
  'user-namespace',
  'bpf',
  'module',
  'kexec',
  'firmware',
  'perf-event',
  'signal',
  'host-mounts',
  'module-request',
  'foreign-netns',
] as const;
/** Values of the operation `kernel` (enum kernel_value). */
export const KERNEL_VALUES = ['ptrace', 'traceme', ...AFTER_TRACEME] as const;
/** Operations on the kernel that a rule can name. `ptrace` covers traceme. */
export const KERNEL_OPERATIONS = ['ptrace', ...AFTER_TRACEME] as const;

/** Values of the operation `drift` (enum drift_value). */
export const DRIFT_VALUES = ['layer', 'volume', 'memory'] as const;
