import type { NodeStatus, Response } from '@bailiff/schemas';
import { sampleResponse } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import { RemovedPods } from '../status/removed-pods.ts';
import type { ServiceStatus } from '../status/service-status.ts';
import { removedPodProblems } from './removed-pods.ts';

const NOW = Date.parse('2026-12-01T12:00:00Z');
const UID = '0f0e0d0c-0000-4222-8333-000000000001';

function texts(record: Partial<Response>, agoMs: number, iface: object = {}) {
  const removed = new RemovedPods(NOW * 1000);
  removed.add(sampleResponse({ action: 'delete', phase: 'succeeded', podUid: UID, ...record }), (NOW - agoMs) * 1000);
  const one = { interfaceName: 'veth1', podUid: UID, podNamespace: 'shop', podName: 'web-0', ...iface };
  const status = { updatedAt: new Date(NOW).toISOString(), interfaces: [one] } as unknown as NodeStatus;
  const services = { responder: { removed: removed.all } } as unknown as ServiceStatus;
  return removedPodProblems({ nodes: new Map([['node-a', status]]), services }).map(
    ({ node, text, exitCode }) => `${exitCode} ${node}: ${text}`,
  );
}

it('a pod that its node still reports a minute after its removal - is not enforced', () => {
  const found = [expect.stringMatching(/^10 node-a: still runs .*shop\/web-0.*, although the removal/)];
  expect(texts({}, 90_000)).toEqual(found);
  expect(texts({ action: 'evict' }, 3_000_000)).toEqual(found);
});

it.each<[string, Partial<Response>, number, object?]>([
  ['removed a moment ago', {}, 20_000],
  ['removed long ago', {}, 4_000_000],
  ['another pod', { podUid: 'other' }, 90_000],
  ['a removal that failed', { phase: 'failed' }, 90_000],
  ['a dry run', { phase: 'dryrun' }, 90_000],
  ['a label', { action: 'label' }, 90_000],
  ['an interface that outlives its pod', {}, 90_000, { orphaned: true }],
])('control: %s - is no problem here', (_, record, agoMs, iface) => {
  expect(texts(record, agoMs, iface)).toEqual([]);
});
