import { KubeError } from '@bailiff/kube';
import { kubeApiOf } from '@bailiff/kube/testing';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { OwnerResolver, REFRESH_MS, REREAD_MS, templateOf } from './owners.ts';
import { programOf } from './program.ts';
import type { Owner } from './records.ts';

const SPEC = { containers: [{ name: 'main', image: 'registry/vpn:1' }] };
const OTHER = { containers: [{ name: 'main', image: 'attacker/tool' }] };
const template = (spec: object) => ({ template: { metadata: {}, spec } });
const controller = (kind: string, name: string, uid: string) => ({
  apiVersion: 'apps/v1',
  kind,
  name,
  uid,
  controller: true,
});
const SETS = '/apis/apps/v1/namespaces/shop/replicasets';
const REVISIONS = '/apis/apps/v1/namespaces/shop/controllerrevisions';
const OBJECTS: Record<string, object> = {
  [`${SETS}/vpn-1`]: {
    metadata: { name: 'vpn-1', uid: 'u-set', ownerReferences: [controller('Deployment', 'vpn', 'u-vpn')] },
    spec: template(SPEC),
  },
  '/api/v1/namespaces/shop/replicationcontrollers/old': {
    metadata: { name: 'old', uid: 'u-rc' },
    spec: template(SPEC),
  },
  '/apis/batch/v1/namespaces/shop/jobs/once': { metadata: { name: 'once', uid: 'u-job' }, spec: template(SPEC) },
  [`${REVISIONS}/agent-6b`]: {
    metadata: { name: 'agent-6b', uid: 'r', ownerReferences: [controller('DaemonSet', 'agent', 'u-ds')] },
    data: { spec: template(SPEC) },
  },
  [`${REVISIONS}/db-7c`]: {
    metadata: { name: 'db-7c', uid: 'r', ownerReferences: [controller('StatefulSet', 'db', 'u-sts')] },
    data: { spec: template(SPEC) },
  },
};

interface Claimed {
  owner: Owner | null;
  spec?: object;
  namespace?: string;
  controllerRevision?: string;
}
const claim = ({ owner, spec = SPEC, namespace = 'shop', controllerRevision = '' }: Claimed) => ({
  owner,
  namespace,
  controllerRevision,
  program: programOf(spec as Record<string, unknown>, 'p') ?? '',
});
const owned = (kind: string, name: string, uid: string): Owner => ({ kind, name, uid });

/** @param failing errors by path */
function world(failing: ReadonlyMap<string, KubeError> = new Map(), maxTemplates?: number) {
  const asked: string[] = [];
  const stop = new AbortController();
  const pods: ReturnType<typeof claim>[] = [];
  const request = async ({ path }: { path: string }) => {
    asked.push(path);
    const error = failing.get(path) ?? (path in OBJECTS ? null : new KubeError('KUBE_NOT_FOUND', path));
    if (error) throw error;
    return OBJECTS[path];
  };
  const client = kubeApiOf(request);
  const time = { nowMs: 0 };
  const resolved: string[] = [];
  const options = {
    client,
    signal: stop.signal,
    inUse: () => pods,
    nowMs: () => time.nowMs,
    onResolved: (uid: string) => void resolved.push(uid),
  };
  const resolver = new OwnerResolver(maxTemplates === undefined ? options : { ...options, maxTemplates });
  const chain = async (claimed: Claimed) => {
    const pod = claim(claimed);
    pods.push(pod);
    resolver.want(pod);
    await resolver.whenIdle();
    return resolver.chainOf(pod).map(({ kind, name }) => `${kind}/${name}`);
  };
  return { asked, pods, resolver, chain, failing, time, resolved, [Symbol.dispose]: () => stop.abort() };
}

describe('owners - confirmed by the controller', () => {
  test.each([
    [
      'ReplicaSet and Deployment',
      { owner: owned('ReplicaSet', 'vpn-1', 'u-set') },
      ['ReplicaSet/vpn-1', 'Deployment/vpn'],
    ],
    ['ReplicationController', { owner: owned('ReplicationController', 'old', 'u-rc') }, ['ReplicationController/old']],
    ['Job', { owner: owned('Job', 'once', 'u-job') }, ['Job/once']],
    ['DaemonSet', { owner: owned('DaemonSet', 'agent', 'u-ds'), controllerRevision: '6b' }, ['DaemonSet/agent']],
    ['StatefulSet', { owner: owned('StatefulSet', 'db', 'u-sts'), controllerRevision: 'db-7c' }, ['StatefulSet/db']],
  ])('%s', async (_, claimed, expected) => {
    using made = world();
    expect(await made.chain(claimed)).toEqual(expected);
    expect(await made.chain(claimed)).toEqual(expected);
    expect(made.asked).toHaveLength(1);
  });
});

describe('owners - an unconfirmed claim gives no owner', () => {
  test.each([
    ['its UID with another program', { owner: owned('ReplicaSet', 'vpn-1', 'u-set'), spec: OTHER }],
    ['its name with another UID', { owner: owned('ReplicaSet', 'vpn-1', 'u-other') }],
    ['its UID under another name', { owner: owned('ReplicaSet', 'other', 'u-set') }],
    ['its UID from another namespace', { owner: owned('ReplicaSet', 'vpn-1', 'u-set'), namespace: 'tenant' }],
    ['the Deployment itself', { owner: owned('Deployment', 'vpn', 'u-vpn') }],
    ['the revision of another', { owner: owned('DaemonSet', 'agent', 'u-x'), controllerRevision: '6b' }],
    [
      'the revision of another kind under a name of its own',
      { owner: owned('StatefulSet', 'vpn', 'u-ds'), controllerRevision: 'agent-6b' },
    ],
    ['no revision', { owner: owned('DaemonSet', 'agent', 'u-ds') }],
    ['a custom controller', { owner: owned('StrimziPodSet', 'kafka', 'u-k') }],
    ['none', { owner: null }],
  ])('%s', async (_, claimed) => {
    using made = world();
    // Control: the honest pod beside it.
    expect(await made.chain({ owner: owned('ReplicaSet', 'vpn-1', 'u-set') })).toHaveLength(2);
    expect(await made.chain(claimed)).toEqual([]);
  });

  test('requests an owner that the server refuses once', async () => {
    const owner = owned('ReplicaSet', '%', 'u-set');
    const path = templateOf({ owner, namespace: 'shop', controllerRevision: '' })?.path as string;
    using made = world(new Map([[path, new KubeError('KUBE_INVALID', '400')]]));
    expect(await made.chain({ owner })).toEqual([]);
    expect(await made.chain({ owner })).toEqual([]);
    expect(made.asked).toEqual([`${SETS}/%25`]);
  });

  test('retries after a server failure, then the pod has its owner', async () => {
    const failing = new Map([[`${SETS}/vpn-1`, new KubeError('KUBE_SERVER', '500')]]);
    using made = world(failing);
    const claimed = { owner: owned('ReplicaSet', 'vpn-1', 'u-set') };
    expect(await made.chain(claimed)).toEqual([]);
    failing.clear();
    await waitFor(() => made.resolver.chainOf(claim(claimed)).length === 2, { state: () => made.asked });
  });
});

test('owners - a refusal ends with the right, or with the last pod of its kind', async () => {
  using made = world(new Map([[`${SETS}/vpn-1`, new KubeError('KUBE_FORBIDDEN', 'cannot get replicasets')]]));
  await made.chain({ owner: owned('ReplicaSet', 'vpn-1', 'u-set') });
  expect(made.resolver.refusal).toBe('cannot get replicasets');
  await made.chain({ owner: owned('Job', 'once', 'u-job') });
  expect(made.resolver.refusal, 'another kind may be read').toBe('cannot get replicasets');
  made.pods.length = 0;
  await waitFor(() => made.resolver.refusal === '', { what: 'the end of the refusal' });
});

describe('owners - a template that is edited in place', () => {
  const path = `${SETS}/vpn-1`;
  const owner = owned('ReplicaSet', 'vpn-1', 'u-set');
  const edited = async (spec: object | null, run: () => Promise<void>) => {
    const before = OBJECTS[path] as { metadata: object };
    if (spec) OBJECTS[path] = { ...before, spec: template(spec) };
    else delete OBJECTS[path];
    try {
      await run();
    } finally {
      OBJECTS[path] = before;
    }
  };

  test('is read again with the next change of a pod, at most once a minute; the former program is not confirmed any more', async () => {
    using made = world();
    expect(await made.chain({ owner })).toHaveLength(2);
    await edited(OTHER, async () => {
      made.time.nowMs = REREAD_MS - 1;
      expect(await made.chain({ owner, spec: OTHER }), 'read lately').toEqual([]);
      expect(made.asked).toHaveLength(1);
      made.time.nowMs = REREAD_MS;
      expect(await made.chain({ owner, spec: OTHER })).toHaveLength(2);
      expect(await made.chain({ owner })).toEqual([]);
      expect(made.asked).toHaveLength(2);
    });
    expect(made.resolved).toEqual(['u-set', 'u-set']);
  });

  test('is read again without a change of a pod, and its end is noticed; a failure changes nothing', async () => {
    using made = world();
    await made.chain({ owner });
    const refresh = async (afterMs: number) => {
      made.time.nowMs += afterMs;
      made.resolver.refresh();
      await made.resolver.whenIdle();
      return made.resolver.chainOf(claim({ owner })).length;
    };
    expect([await refresh(REFRESH_MS - 1), made.asked.length]).toEqual([2, 1]);
    expect([await refresh(1), made.asked.length, made.resolved.length]).toEqual([2, 2, 1]);
    (made.failing as Map<string, KubeError>).set(path, new KubeError('KUBE_SERVER', '500'));
    expect(await refresh(REFRESH_MS)).toBe(2);
    (made.failing as Map<string, KubeError>).clear();
    await edited(null, async () => expect(await refresh(REFRESH_MS)).toBe(0));
    expect([made.resolved.length, made.resolver.size]).toEqual([2, 0]);
  });

  test('a ControllerRevision never changes, and is read once', async () => {
    using made = world();
    const claimed = { owner: owned('StatefulSet', 'db', 'u-sts'), controllerRevision: 'db-7c' };
    await made.chain(claimed);
    made.time.nowMs = REFRESH_MS;
    expect(await made.chain(claimed)).toHaveLength(1);
    expect(made.asked).toHaveLength(1);
  });

  test('claimed members - pods of a known controller that do not run its template', async () => {
    using made = world();
    await made.chain({ owner });
    for (let i = 0; i < 3; i++) await made.chain({ owner, spec: OTHER });
    await made.chain({ owner: owned('ReplicaSet', 'invented', 'u-none'), spec: OTHER });
    expect(made.resolver.claimedMembers()).toEqual({ pods: 3, controllers: 1 });
  });
});

test('owners - requests a controller again that did not exist before', async () => {
  const path = `${REVISIONS}/db-8d`;
  const revision = OBJECTS[`${REVISIONS}/db-7c`] as object;
  using made = world();
  const claimed = { owner: owned('StatefulSet', 'db', 'u-sts'), controllerRevision: 'db-8d' };
  // A tenant can compute the name of the next revision.
  expect(await made.chain({ ...claimed, spec: OTHER })).toEqual([]);
  OBJECTS[path] = revision;
  try {
    expect(await made.chain(claimed)).toEqual(['StatefulSet/db']);
  } finally {
    delete OBJECTS[path];
  }
});

test('owners - a namespace with many claims does not delay another', async () => {
  using made = world();
  for (let i = 0; i < 1_000; i++) {
    made.resolver.want(claim({ owner: owned('ReplicaSet', `r${i}`, `u${i}`), namespace: 'tenant' }));
  }
  made.resolver.want(claim({ owner: owned('ReplicaSet', 'vpn-1', 'u-set') }));
  await made.resolver.whenIdle();
  expect(made.asked).toHaveLength(1_001);
  // Eight requests were open already.
  expect(made.asked.indexOf(`${SETS}/vpn-1`)).toBeLessThan(10);
});

test('owners - a namespace with many claims leaves templates to others', async () => {
  // Claims that the server refuses are kept as long as a pod makes them.
  const names = Array.from({ length: 32 }, (_, i) => `r${i}`);
  const path = (name: string) => `${SETS.replace('shop', 'tenant')}/${name}`;
  const failing = new Map(names.map((name) => [path(name), new KubeError('KUBE_INVALID', '400')]));
  using made = world(failing, 16);
  for (const name of names) await made.chain({ owner: owned('ReplicaSet', name, name), namespace: 'tenant' });
  expect([made.resolver.size, made.resolver.refused]).toEqual([8, 24]);
  expect(await made.chain({ owner: owned('ReplicaSet', 'vpn-1', 'u-set') })).toHaveLength(2);
});
