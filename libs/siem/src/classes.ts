/**
 * OCSF class of an event; the class is a token of its subject in every format. An unknown operation
 * becomes process activity with the activity `Other` instead of being dropped. Pure.
 */
import type { OperationSample } from '@bailiff/schemas';
import type { ResponseEvent, SiemEvent } from './event.ts';

export const CLASSES = {
  'file-system-activity': { uid: 1001, name: 'File System Activity', category: 1, categoryName: 'System Activity' },
  'kernel-activity': { uid: 1003, name: 'Kernel Activity', category: 1, categoryName: 'System Activity' },
  'event-log-activity': { uid: 1008, name: 'Event Log Activity', category: 1, categoryName: 'System Activity' },
  'process-activity': { uid: 1007, name: 'Process Activity', category: 1, categoryName: 'System Activity' },
  'detection-finding': { uid: 2004, name: 'Detection Finding', category: 2, categoryName: 'Findings' },
  'network-activity': { uid: 4001, name: 'Network Activity', category: 4, categoryName: 'Network Activity' },
  'remediation-activity': { uid: 7001, name: 'Remediation Activity', category: 7, categoryName: 'Remediation' },
  'process-remediation-activity': {
    uid: 7003,
    name: 'Process Remediation Activity',
    category: 7,
    categoryName: 'Remediation',
  },
  'network-remediation-activity': {
    uid: 7004,
    name: 'Network Remediation Activity',
    category: 7,
    categoryName: 'Remediation',
  },
} as const;
export type ClassName = keyof typeof CLASSES;

/** OCSF's number for values without their own number; the name is then Bailiff's. */
export const OTHER = 99;

export interface Activity {
  className: ClassName;
  id: number;
  name: string;
}

type Table = Readonly<Record<string, readonly [number, string]>>;
const OTHER_ACTIVITY = (name: string) => [OTHER, name] as const;

const FILE: Table = {
  read: [2, 'Read'],
  write: [3, 'Update'],
  create: [1, 'Create'],
  unlink: [4, 'Delete'],
  rename: [5, 'Rename'],
  link: [1, 'Create'],
  symlink: [1, 'Create'],
  mkdir: [1, 'Create'],
  rmdir: [4, 'Delete'],
  mknod: [1, 'Create'],
  chmod: [7, 'Set Security'],
  chown: [7, 'Set Security'],
  truncate: [3, 'Update'],
  setxattr: [6, 'Set Attributes'],
  chroot: OTHER_ACTIVITY('chroot'),
  'mount-point': [12, 'Mount'],
};
const PROCESS: Table = {
  execute: [1, 'Launch'],
  'map-execute': OTHER_ACTIVITY('map-execute'),
  drift: [1, 'Launch'],
  'host-mounts': [1, 'Launch'],
  ptrace: [3, 'Open'],
  traceme: OTHER_ACTIVITY('traceme'),
  signal: OTHER_ACTIVITY('signal'),
};
const KERNEL: Table = {
  capability: [4, 'Invoke'],
  mount: [4, 'Invoke'],
  kernel: [4, 'Invoke'],
  module: [1, 'Create'],
  'module-request': [1, 'Create'],
  'foreign-netns': [4, 'Invoke'],
  bpf: [4, 'Invoke'],
  kexec: [4, 'Invoke'],
  firmware: [4, 'Invoke'],
  'perf-event': [1, 'Create'],
  'user-namespace': [1, 'Create'],
};
const NETWORK: Table = {
  connect: [1, 'Open'],
  send: [6, 'Traffic'],
  bind: [7, 'Listen'],
  listen: [7, 'Listen'],
  socket: [1, 'Open'],
  'unix-connect': [1, 'Open'],
  'unix-send': [6, 'Traffic'],
  'unix-bind': [7, 'Listen'],
};
const BY_OPERATION: ReadonlyMap<string, Activity> = new Map(
  (
    [
      ['file-system-activity', FILE],
      ['process-activity', PROCESS],
      ['kernel-activity', KERNEL],
      ['network-activity', NETWORK],
    ] as const
  ).flatMap(([className, table]) =>
    Object.entries(table).map(([operation, [id, name]]) => [operation, { className, id, name }] as const),
  ),
);

/** Activity of an operation. `kernel` covers several operations, named by the subject. */
export function operationActivity({ operation, subject }: Pick<OperationSample, 'operation' | 'subject'>): Activity {
  const known = (operation === 'kernel' ? BY_OPERATION.get(subject) : undefined) ?? BY_OPERATION.get(operation);
  return known ?? { className: 'process-activity', id: OTHER, name: operation };
}

const RESPONSE: Readonly<Record<string, Activity>> = {
  observe: { className: 'remediation-activity', id: 5, name: 'Detect' },
  // A capture gathers evidence and changes nothing.
  capture: { className: 'remediation-activity', id: 5, name: 'Detect' },
  label: { className: 'remediation-activity', id: OTHER, name: 'label' },
  cordon: { className: 'remediation-activity', id: 1, name: 'Isolate' },
  quarantine: { className: 'network-remediation-activity', id: 1, name: 'Isolate' },
  evict: { className: 'process-remediation-activity', id: 2, name: 'Evict' },
  delete: { className: 'process-remediation-activity', id: 2, name: 'Evict' },
};

function responseActivity({ value }: ResponseEvent): Activity {
  const known = RESPONSE[value.action] ?? { className: 'remediation-activity', id: OTHER, name: value.action };
  return value.phase === 'undone' ? { ...known, id: 3, name: 'Restore' } : known;
}

export function activityOf(event: SiemEvent): Activity {
  if (event.kind === 'verdict') return { className: 'detection-finding', id: 1, name: 'Create' };
  if (event.kind === 'response') return responseActivity(event);
  if (event.kind === 'omission') return { className: 'event-log-activity', id: OTHER, name: 'Omit' };
  const { kind, operation } = event.value;
  if (kind === 'spoof') return { className: 'network-activity', id: 6, name: 'Traffic' };
  // Counted without a sample: the operation is unknown.
  return operation ? operationActivity(operation) : { className: 'process-activity', id: 0, name: 'Unknown' };
}

/** Namespace of the event's pod; empty without a pod. */
export function namespaceOf(event: SiemEvent): string {
  if (event.kind === 'omission') return '';
  return event.kind === 'response' ? event.value.podNamespace : (event.value.pod?.namespace ?? '');
}

/** OCSF severities: 1 informational to 5 critical. */
const SEVERITIES: Readonly<Record<string, readonly [number, string]>> = {
  informational: [1, 'Informational'],
  low: [2, 'Low'],
  medium: [3, 'Medium'],
  high: [4, 'High'],
  critical: [5, 'Critical'],
};

/**
 * Number and name of the OCSF severity. A violation without a policy severity is medium if it was
 * denied, low if it was allowed.
 */
export function severityOf(event: SiemEvent): { id: number; name: string } {
  const word = severityWord(event);
  // A node chooses the word, also one that every object has (`constructor`).
  const known = Object.hasOwn(SEVERITIES, word) ? SEVERITIES[word] : undefined;
  const [id, name] = known ?? [0, 'Unknown'];
  return { id, name };
}

function severityWord(event: SiemEvent): string {
  if (event.kind === 'omission') return 'medium';
  const { value } = event;
  return 'level' in value ? value.level : value.severity || (value.action === 'drop' ? 'medium' : 'low');
}
