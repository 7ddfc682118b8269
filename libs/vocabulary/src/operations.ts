/**
 * The words of runtime policies: what a rule can name, in the order in which the reference lists them. Numbers of the kernel's ABI
 * are libs/runtime's business; a test there keeps both equal.
 */
export const RUNTIME_MODES = ['audit', 'enforce'] as const;
export type RuntimeMode = (typeof RUNTIME_MODES)[number];

/** allow: satisfies a posture. audit: counted, passes. block: EPERM. kill: EPERM and SIGKILL. */
export const RUNTIME_ACTIONS = ['allow', 'audit', 'block', 'kill'] as const;
export type RuntimeAction = (typeof RUNTIME_ACTIONS)[number];

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
export const MOUNT_OPERATIONS = ['new', 'bind', 'move', 'remount', 'umount', 'pivot', 'propagation'] as const;
export const KERNEL_OPERATIONS = [
  'ptrace',
  'user-namespace',
  'bpf',
  'module',
  'kexec',
  'firmware',
  'perf-event',
  'signal',
  'host-mounts',
  'module-request',
] as const;

/** What a violation says was done; a test in libs/runtime keeps it equal to the kernel's list. */
export const OPERATION_NAMES = [
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

/** Transport protocols; another one is written as its number. */
export const PROTOCOL_NAMES = ['icmp', 'tcp', 'udp', 'icmpv6', 'sctp', 'udplite'] as const;

/** Socket families, by the names of the AF_ constants; another one is written as its number. */
export const SOCKET_FAMILIES = [
  'unix',
  'inet',
  'inet6',
  'netlink',
  'packet',
  'bluetooth',
  'can',
  'tipc',
  'alg',
  'nfc',
  'vsock',
  'kcm',
  'qipcrtr',
  'smc',
  'xdp',
  'mctp',
] as const;
export const SOCKET_TYPES = ['stream', 'dgram', 'raw', 'rdm', 'seqpacket', 'packet'] as const;

/** Index = the kernel's number (capability.h), 0 to 40. */
export const CAPABILITIES = [
  'chown',
  'dac_override',
  'dac_read_search',
  'fowner',
  'fsetid',
  'kill',
  'setgid',
  'setuid',
  'setpcap',
  'linux_immutable',
  'net_bind_service',
  'net_broadcast',
  'net_admin',
  'net_raw',
  'ipc_lock',
  'ipc_owner',
  'sys_module',
  'sys_rawio',
  'sys_chroot',
  'sys_ptrace',
  'sys_pacct',
  'sys_admin',
  'sys_boot',
  'sys_nice',
  'sys_resource',
  'sys_time',
  'sys_tty_config',
  'mknod',
  'lease',
  'audit_write',
  'audit_control',
  'setfcap',
  'mac_override',
  'mac_admin',
  'syslog',
  'wake_alarm',
  'block_suspend',
  'audit_read',
  'perfmon',
  'bpf',
  'checkpoint_restore',
] as const;
export type Capability = (typeof CAPABILITIES)[number];
