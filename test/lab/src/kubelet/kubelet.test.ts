import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decide } from './decide.ts';
import { type LabPod, readPod } from './pod.ts';
import { nameSuffix, planReplicas, podManifest, replicaCounts } from './replicas.ts';
import { endedStatus, runningStatus } from './status.ts';

const pod = (change: Partial<LabPod> = {}): LabPod => ({
  uid: 'u',
  namespace: 'default',
  name: 'p',
  nodeName: 'a',
  annotations: {},
  phase: 'Pending',
  ready: false,
  controllerUid: 'rs',
  deletionGraceSeconds: null,
  containerName: 'web',
  image: 'i',
  ...change,
});

describe('kubelet', () => {
  it.each([
    ['a new pod is started', pod(), 'absent', { do: 'start' }],
    ['a running pod is unchanged', pod({ phase: 'Running' }), 'running', { do: 'nothing' }],
    [
      'a deleted pod gets its grace period',
      pod({ deletionGraceSeconds: 5 }),
      'running',
      { do: 'stop-and-confirm', graceMs: 5000 },
    ],
    [
      'a pod deleted before its start is confirmed',
      pod({ deletionGraceSeconds: 0 }),
      'absent',
      { do: 'stop-and-confirm', graceMs: 0 },
    ],
    ['a pod without object is stopped', null, 'running', { do: 'stop', graceMs: 0 }],
    ['a pod without object and without processes needs no step', null, 'absent', { do: 'nothing' }],
    ['a process that ended fails its pod', pod({ phase: 'Running' }), 'exited', { do: 'fail' }],
    ['a failed pod is not started again', pod({ phase: 'Failed' }), 'absent', { do: 'nothing' }],
    ['an ended pod that runs here is stopped', pod({ phase: 'Succeeded' }), 'running', { do: 'stop', graceMs: 0 }],
  ] as const)('decide - %s', (_, seen, local, step) => {
    expect(decide(seen, local)).toEqual(step);
  });

  it('pod - reads deletion, controller and readiness, with defaults for absent fields', () => {
    const metadata = {
      uid: 'u',
      name: 'p',
      namespace: 'n',
      resourceVersion: '1',
      deletionTimestamp: '2026-01-01T00:00:00Z',
      deletionGracePeriodSeconds: 7,
      ownerReferences: [
        { apiVersion: 'v1', kind: 'X', name: 'x', uid: 'other' },
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'rs', controller: true },
      ],
    };
    expect(readPod({ metadata })).toMatchObject({
      deletionGraceSeconds: 7,
      controllerUid: 'rs',
      nodeName: '',
      ready: false,
    });
    const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    expect(readPod({ metadata: { ...metadata, deletionTimestamp: undefined }, status } as never)).toMatchObject({
      deletionGraceSeconds: null,
      ready: true,
      phase: 'Running',
    });
  });

  it('status - all addresses, ready, and a container id in the form of containerd', () => {
    const running = {
      addresses: ['10.0.0.1', 'fd00::1'],
      hostAddresses: ['10.1.0.1'],
      containerId: 'abc',
      startedAt: '2026-01-01T00:00:00.123Z',
    };
    const status = runningStatus(pod(), running) as { conditions: { type: string; status: string }[] };
    expect(status).toMatchObject({
      phase: 'Running',
      podIP: '10.0.0.1',
      podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }],
      startTime: '2026-01-01T00:00:00Z',
      containerStatuses: [{ containerID: 'containerd://abc', ready: true }],
    });
    expect(status.conditions.find((each) => each.type === 'Ready')?.status).toBe('True');
    const ended = endedStatus('Failed', 'Why', 'because', running.startedAt);
    expect(ended.conditions.find((each) => each.type === 'Ready')?.status).toBe('False');
    expect(ended).toMatchObject({ phase: 'Failed', reason: 'Why' });
  });
});

describe('replicas', () => {
  const nodes = [
    { name: 'a', unschedulable: false },
    { name: 'b', unschedulable: false },
    { name: 'c', unschedulable: true },
  ];

  it('plan - new pods go to the least used node, never to a cordoned one', () => {
    expect(planReplicas(4, [pod({ nodeName: 'a' })], nodes).sort()).toEqual(['a', 'b', 'b']);
    expect(planReplicas(4, [], [nodes[2]!])).toEqual([]);
  });

  it('plan - ended and terminating pods do not count', () => {
    const over = [pod({ phase: 'Failed' }), pod({ deletionGraceSeconds: 3 }), pod({ phase: 'Running' })];
    expect(planReplicas(2, over, nodes)).toHaveLength(1);
    expect(replicaCounts([...over, pod({ ready: true })])).toEqual({ replicas: 2, readyReplicas: 1 });
  });

  it('plan - never more than desired, and balanced within one pod', () => {
    fc.assert(
      fc.property(fc.nat(60), fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 40 }), (desired, placed) => {
        const created = planReplicas(
          desired,
          placed.map((nodeName) => pod({ nodeName })),
          nodes,
        );
        expect(created).toHaveLength(Math.max(0, desired - placed.length));
        const count = (name: string) => [...placed, ...created].filter((each) => each === name).length;
        if (created.length > 0) {
          const spread = Math.abs(count('a') - count('b'));
          const before = Math.abs(placed.filter((p) => p === 'a').length - placed.filter((p) => p === 'b').length);
          expect(spread).toBeLessThanOrEqual(Math.max(1, before));
        }
      }),
    );
  });

  it('manifest - bound to its node and controlled by the ReplicaSet', () => {
    const owner = {
      namespace: 'default',
      replicaSet: { name: 'web-1', uid: 'rs' },
      deployment: { name: 'web' },
      labels: { app: 'web' },
      image: 'i',
    };
    expect(
      podManifest(
        owner,
        'node-1.lab.internal',
        nameSuffix(() => 0),
      ),
    ).toMatchObject({
      metadata: { name: 'web-1-bbbbb', ownerReferences: [{ kind: 'ReplicaSet', uid: 'rs', controller: true }] },
      spec: { nodeName: 'node-1.lab.internal' },
    });
  });
});
