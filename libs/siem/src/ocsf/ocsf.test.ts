// Requirements of OCSF: attributes of each class and object, and numbers of enumerations. Taken
// from the schema releases 1.3.0 and 1.5.0 (github.com/ocsf/ocsf-schema). Where they differ, the
// requirements of both apply.

import { RESPONSE_ACTIONS } from '@bailiff/policy';
import { KERNEL_VALUES, OPERATIONS as RUNTIME_OPERATIONS } from '@bailiff/runtime';
import { expect, it } from 'vitest';
import { activityOf, CLASSES, type ClassName, operationActivity } from '../classes.ts';
import {
  captureEvent,
  everyEvent,
  OPERATIONS,
  operationEvent,
  responseEvent,
  verdictEvent,
  violationEvent,
} from '../testing.ts';
import type { Json } from './base.ts';
import { toOcsf } from './index.ts';

const EVERY_CLASS = ['activity_id', 'category_uid', 'class_uid', 'metadata', 'severity_id', 'time', 'type_uid'];
const REQUIRED: Readonly<Record<ClassName, readonly string[]>> = {
  'file-system-activity': ['actor', 'device', 'file'],
  'kernel-activity': ['actor', 'device', 'kernel'],
  'event-log-activity': ['device', 'log_name'],
  'process-activity': ['actor', 'device', 'process'],
  'detection-finding': ['finding_info'],
  // 1.3.0 requires dst_endpoint; 1.5.0 one of the two endpoints.
  'network-activity': ['dst_endpoint', 'src_endpoint'],
  'remediation-activity': ['command_uid'],
  'process-remediation-activity': ['command_uid', 'process'],
  'network-remediation-activity': ['command_uid', 'connection_info'],
};
/**
 * By the attribute that holds the object: all of the first list, and at least one of each of the
 * others.
 */
const OBJECTS: Readonly<Record<string, { all: readonly string[]; oneOf: readonly (readonly string[])[] }>> = {
  metadata: { all: ['product', 'version'], oneOf: [] },
  product: { all: ['vendor_name'], oneOf: [['name', 'uid']] },
  device: { all: ['type_id'], oneOf: [['ip', 'uid', 'name', 'hostname', 'instance_uid']] },
  actor: { all: [], oneOf: [['process', 'user', 'invoked_by', 'session', 'app_name', 'app_uid']] },
  process: {
    all: [],
    oneOf: [
      ['name', 'uid'],
      ['pid', 'uid'],
    ],
  },
  parent_process: {
    all: [],
    oneOf: [
      ['name', 'uid'],
      ['pid', 'uid'],
    ],
  },
  file: { all: ['name', 'type_id'], oneOf: [] },
  kernel: { all: ['name', 'type_id'], oneOf: [] },
  finding_info: { all: ['title', 'uid'], oneOf: [] },
  remediation: { all: ['desc'], oneOf: [] },
  src_endpoint: { all: [], oneOf: [['ip', 'uid', 'name', 'hostname', 'interface_name']] },
  dst_endpoint: { all: [], oneOf: [['ip', 'uid', 'name', 'hostname', 'interface_name']] },
  connection_info: { all: ['direction_id'], oneOf: [] },
  user: { all: [], oneOf: [['account', 'name', 'uid']] },
  container: { all: [], oneOf: [['uid', 'name']] },
  analytic: { all: ['type_id'], oneOf: [['name', 'uid']] },
  related_events: { all: ['uid'], oneOf: [] },
  attacks: { all: [], oneOf: [['tactic', 'technique', 'sub_technique']] },
  resources: { all: [], oneOf: [['name', 'uid']] },
  policy: { all: [], oneOf: [['name', 'uid']] },
  evidences: { all: [], oneOf: [['process', 'actor', 'data', 'file']] },
};
/** activity_id by class; 0 and 99 are valid for every class. */
const ACTIVITIES: Readonly<Record<ClassName, number>> = {
  'file-system-activity': 14,
  'kernel-activity': 4,
  // Releases number them differently; only Other is used.
  'event-log-activity': 0,
  'process-activity': 5,
  'detection-finding': 3,
  'network-activity': 7,
  'remediation-activity': 5,
  'process-remediation-activity': 5,
  'network-remediation-activity': 5,
};

/** Missing required attributes of an object, as dotted paths. */
function lacking(value: unknown, path: string, key: string): string[] {
  if (Array.isArray(value)) return value.flatMap((entry, index) => lacking(entry, `${path}[${index}]`, key));
  if (value === null || typeof value !== 'object') return [];
  const object = value as Json;
  const wrong: string[] = [];
  const required = OBJECTS[key];
  for (const name of required?.all ?? []) if (object[name] === undefined) wrong.push(`${path}.${name}`);
  for (const names of required?.oneOf ?? []) {
    if (names.every((name) => object[name] === undefined)) wrong.push(`${path}: one of ${names.join(', ')}`);
  }
  // `unmapped` follows no OCSF schema.
  const inner = Object.entries(object).filter(([name]) => name !== 'unmapped');
  return [...wrong, ...inner.flatMap(([name, entry]) => lacking(entry, `${path}.${name}`, name))];
}

it.each(everyEvent())('ocsf - %s has what its class and its objects require', (_, event) => {
  const { className } = activityOf(event);
  const ocsf = toOcsf(event, '1.2.3');
  const missing = [...EVERY_CLASS, ...REQUIRED[className]].filter((name) => ocsf[name] === undefined);
  expect(missing).toEqual([]);
  expect(lacking(ocsf, className, '')).toEqual([]);
  const { uid, category } = CLASSES[className];
  const activity = ocsf['activity_id'] as number;
  expect(ocsf).toMatchObject({ class_uid: uid, category_uid: category, type_uid: uid * 100 + activity });
  expect(activity === 99 || (activity >= 0 && activity <= ACTIVITIES[className])).toBe(true);
  expect([0, 1, 2, 3, 4, 5, 6, 99]).toContain(ocsf['severity_id']);
  expect(Number.isSafeInteger(ocsf['time'])).toBe(true);
  expect(ocsf['metadata']).toMatchObject({ version: '1.5.0', uid: event.origin.uid });
});

it('ocsf - the test itself sees what is missing', () => {
  const ocsf = toOcsf(violationEvent(), '1');
  const { device, ...rest } = ocsf;
  expect(device).toBeDefined();
  expect(lacking({ ...rest, device: { name: 'n' } }, 'x', '')).toEqual(['x.device.type_id']);
  expect(lacking({ process: { pid: 1 } }, 'x', '')).toEqual(['x.process: one of name, uid']);
});

it('ocsf - each kind of operation is of the class that its hook belongs to', () => {
  const classes = OPERATIONS.map(([operation, subject, address]) => {
    const event = operationEvent({ operation, subject, address });
    return [operation === 'kernel' ? subject : operation, toOcsf(event, '1')['class_uid']];
  });
  const of = (uid: number) => [...new Set(classes.filter(([, found]) => found === uid).map(([name]) => name))].sort();
  const words = (text: string) => text.split(' ').sort();
  expect(of(1001)).toEqual(
    words(
      'read write create unlink rename link symlink mkdir rmdir mknod chmod chown truncate setxattr chroot mount-point',
    ),
  );
  expect(of(1007)).toEqual(words('execute map-execute drift ptrace traceme signal host-mounts never-heard-of'));
  expect(of(1003)).toEqual(
    words('capability mount user-namespace bpf module kexec firmware perf-event module-request foreign-netns'),
  );
  expect(of(4001)).toEqual(words('unix-connect unix-send unix-bind connect send bind listen socket'));
});

it('ocsf - these tests cover every operation that the kernel program reports', () => {
  const tried = new Set(OPERATIONS.map(([operation, subject]) => (operation === 'kernel' ? subject : operation)));
  const known = [...RUNTIME_OPERATIONS.filter((name) => name !== 'kernel'), ...KERNEL_VALUES];
  expect(known.filter((word) => !tried.has(word))).toEqual([]);
});

it('ocsf - every operation that the kernel program reports has a chosen class', () => {
  const words = [...RUNTIME_OPERATIONS.filter((name) => name !== 'kernel'), ...KERNEL_VALUES];
  const chosen = (operation: string) => operationActivity({ operation, subject: '' });
  const unknown = chosen('never-heard-of');
  expect(
    words.filter((word) => JSON.stringify({ ...chosen(word), name: '' }) === JSON.stringify({ ...unknown, name: '' })),
  ).toEqual(
    // Process operations without an OCSF activity.
    ['map-execute', 'traceme', 'signal'],
  );
});

it('ocsf - actions are of the class of what they remedy, and an undoing restores', () => {
  const uids = RESPONSE_ACTIONS.map((action) => toOcsf(responseEvent({ action }), '1')['class_uid']);
  expect(Object.fromEntries(RESPONSE_ACTIONS.map((action, index) => [action, uids[index]]))).toEqual({
    observe: 7001,
    capture: 7001,
    label: 7001,
    cordon: 7001,
    quarantine: 7004,
    evict: 7003,
    delete: 7003,
  });
  const undone = toOcsf(responseEvent({ action: 'quarantine', phase: 'undone' }), '1');
  expect(undone).toMatchObject({ class_uid: 7004, activity_id: 3, status_id: 1 });
});

it('ocsf - a cordon names its node, every other action its pod', () => {
  const messageOf = (action: (typeof RESPONSE_ACTIONS)[number]) =>
    toOcsf(responseEvent({ action, nodeName: 'node-9' }), '1')['message'];
  expect(RESPONSE_ACTIONS.filter((action) => String(messageOf(action)).includes(' of node node-9 '))).toEqual([
    'cordon',
  ]);
});

it('ocsf - a capture has counts, executables and peers, and no arguments', () => {
  const ocsf = toOcsf(captureEvent(), '1');
  expect(ocsf).toMatchObject({ class_uid: 7001, activity_id: 5, status_id: 1, activity_name: 'Detect' });
  const { capture } = (ocsf['unmapped'] as { bailiff: { capture: Record<string, string[]> } }).bailiff;
  expect(capture).toMatchObject({ taken_at: 1_790_000_000_456, processes: 103, sockets: 102 });
  // Without duplicates, limited in number and length, and by process name if the executable is
  // unknown.
  expect([capture['executables']?.length, capture['peers']?.length]).toEqual([16, 16]);
  expect(capture['executables']?.[1]).toBe('p1');
  expect(capture['peers']?.[0]).toBe('198.51.100.1:443');
  expect(JSON.stringify(ocsf)).not.toContain('hunter2');
  const failed = toOcsf(captureEvent({ phase: 'failed', capture: null, reasonCode: 'no-answer' }), '1');
  expect(failed).toMatchObject({ class_uid: 7001, status_id: 2, status_code: 'no-answer' });
  expect(JSON.stringify(failed)).not.toContain('"executables"');
});

it('ocsf - a spoofed packet comes from the pod that sent it; whom it claims to be is no endpoint', () => {
  const ocsf = toOcsf(violationEvent(), '1');
  expect(ocsf).toMatchObject({
    class_uid: 4001,
    src_endpoint: { ip: '10.1.0.4', name: 'default/attacker-0', port: 40_000 },
    dst_endpoint: { ip: '10.1.0.5', port: 53 },
    count: 321,
    action_id: 2,
    disposition_id: 6,
    unmapped: { bailiff: { claimed_address: '192.0.2.7' } },
  });
  // The message and `unmapped` may contain the claimed source; correlated attributes may not.
  expect(JSON.stringify({ ...ocsf, unmapped: null, message: null })).not.toContain('192.0.2.7');
});

it('ocsf - a verdict names its evidence by the uids of the events it came from', () => {
  const violation = violationEvent(undefined, 3);
  const sequence = violation.origin.sequence;
  const evidence = [{ streamSequence: sequence, index: 3, vector: 'ipv4-source', packets: 5, process: null }];
  const finding = toOcsf(verdictEvent({ evidence, tags: ['attack.t1552.001'] }), '1')['finding_info'] as Json;
  expect(finding).toMatchObject({
    uid: '5f1d3c7a9b2e4d60',
    related_events: [{ uid: violation.origin.uid, count: 5 }],
    attacks: [{ technique: { uid: 'T1552' }, sub_technique: { uid: 'T1552.001' } }],
  });
});

it('ocsf - the phases of one action have one command, and a refusal is neither success nor failure', () => {
  const events = (['started', 'failed', 'refused'] as const).map((phase, index) =>
    toOcsf(responseEvent({ phase, responseId: `r${index}`, reasonCode: 'x' }), '1'),
  );
  expect(new Set(events.map((event) => event['command_uid'])).size).toBe(1);
  expect(events.map((event) => event['status_id'])).toEqual([0, 2, 99]);
  expect(events[2]).toMatchObject({ status: 'refused', status_code: 'x' });
});

it('a path does not go on with the sentence of the message', () => {
  const subject = '/tmp/x in shop/neighbour-0 by /bin/sh seen';
  const message = (part: Parameters<typeof operationEvent>[0]) => String(toOcsf(operationEvent(part), '1')['message']);
  expect(message({ subject, executable: '/x "y' })).toMatch(
    /: \w+ "\/tmp\/x in shop\/neighbour-0 by \/bin\/sh seen" in default\/[\w-]+ by "\/x \\"y" /,
  );
  expect(message({ subject: '/etc/shadow', executable: '/bin/sh' })).toMatch(
    /: \w+ \/etc\/shadow in default\/[\w-]+ by \/bin\/sh /,
  );
});
