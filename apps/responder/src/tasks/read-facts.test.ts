// The owner reference of a pod is verified, and does not affect other pods.
import { type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';
import type { Verdict } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { FactReader, OWNER_CACHE_MS } from './read-facts.ts';

const OWNER = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'rs-1', controller: true };
const daemonSet = { ...OWNER, kind: 'DaemonSet', name: 'agent', uid: 'ds-1' };
const pod = (namespace: string, owner: object) => ({
  metadata: { uid: `${namespace}-1`, namespace, name: 'one', labels: { app: 'web' }, ownerReferences: [owner] },
  spec: { nodeName: 'node-a' },
});
/** An API server with these objects by path. */
function world(objects: Record<string, object | KubeError>) {
  const asked: string[] = [];
  const api: KubeApi = {
    request: async <T>({ path }: RequestOptions): Promise<T> => {
      asked.push(path);
      const found = objects[path];
      if (found instanceof KubeError) throw found;
      if (found) return found as T;
      throw new KubeError('KUBE_NOT_FOUND', 'not here', { status: 404 });
    },
    watch: () => Promise.reject(new Error('not here')),
  };
  return { api, asked };
}
/** @param ownerUid the owner that ipam-sync confirmed */
const verdictOf = (namespace: string, ownerUid = 'rs-1') =>
  ({ nodeName: 'node-a', pod: { uid: `${namespace}-1`, namespace, name: 'one', ownerUid } }) as Verdict;

const selector = { matchLabels: { app: 'web' } };
const SET = { metadata: { uid: 'rs-1' }, spec: { replicas: 4, selector }, status: { readyReplicas: 3 } };
const pods = {
  '/api/v1/namespaces/shop/pods/one': pod('shop', OWNER),
  '/api/v1/namespaces/evil/pods/one': pod('evil', OWNER),
};

describe('facts of an owner', () => {
  it('a burst for one owner reads it once, and again after the cache expires', async () => {
    let nowMs = 0;
    const { api, asked } = world({ ...pods, '/apis/apps/v1/namespaces/shop/replicasets/web': SET });
    const reader = new FactReader(() => nowMs);
    for (const _ of [1, 2]) {
      expect((await reader.read(api, 'delete', verdictOf('shop'))).owner).toEqual({ replicas: 4, ready: 3 });
    }
    nowMs = OWNER_CACHE_MS;
    await reader.read(api, 'delete', verdictOf('shop'));
    expect(asked.filter((path) => path.includes('replicasets'))).toHaveLength(2);
  });

  it.each([
    ['first', ['evil', 'shop']],
    ['second', ['shop', 'evil']],
  ])(
    'a pod of another namespace with the same owner reference is unconfirmed and does not affect the others - %s',
    async (_, order) => {
      const { api } = world({ ...pods, '/apis/apps/v1/namespaces/shop/replicasets/web': SET });
      const reader = new FactReader(() => 0);
      const found: Record<string, unknown> = {};
      for (const namespace of order) found[namespace] = (await reader.read(api, 'delete', verdictOf(namespace))).owner;
      expect(found).toEqual({ shop: { replicas: 4, ready: 3 }, evil: null });
    },
  );

  it('a pod that does not match its owner’s selector has no owner; matching pods have', async () => {
    const stray = { ...pod('shop', OWNER), metadata: { ...pod('shop', OWNER).metadata, labels: { app: 'other' } } };
    const { api } = world({
      ...pods,
      '/api/v1/namespaces/shop/pods/two': stray,
      '/apis/apps/v1/namespaces/shop/replicasets/web': SET,
    });
    const reader = new FactReader(() => 0);
    const two = {
      nodeName: 'node-a',
      pod: { uid: 'shop-1', namespace: 'shop', name: 'two', ownerUid: 'rs-1' },
    } as Verdict;
    expect((await reader.read(api, 'delete', two)).owner).toBeNull();
    expect((await reader.read(api, 'delete', verdictOf('shop'))).owner).toEqual({ replicas: 4, ready: 3 });
  });

  it.each(['%', '..', 'a/b', 'A', 'a'.repeat(254), ''])(
    'a name that no object can have is not asked for - %s',
    async (name) => {
      const { api, asked } = world({ '/api/v1/namespaces/shop/pods/one': pod('shop', { ...OWNER, name }) });
      expect((await new FactReader(() => 0).read(api, 'delete', verdictOf('shop'))).owner).toBeNull();
      expect(asked).toEqual(['/api/v1/namespaces/shop/pods/one']);
    },
  );

  const path = '/apis/apps/v1/namespaces/shop/replicasets/web';
  it.each([400, 405, 410, 414, 422, 431])(
    'an owner that the server refuses to return is absent - %d',
    async (status) => {
      const { api } = world({ ...pods, [path]: new KubeError('KUBE_INVALID', 'refused', { status }) });
      expect((await new FactReader(() => 0).read(api, 'delete', verdictOf('shop'))).owner).toBeNull();
    },
  );

  it.each([0, 401, 403, 408, 429, 500, 503])(
    'a temporary error is retried within its bound; then the owner is absent - %d',
    async (status) => {
      const { api } = world({ ...pods, [path]: new KubeError('KUBE_SERVER', 'later', { status }) });
      const reader = new FactReader(() => 0);
      const read = (failingForMs: number) =>
        reader.read(api, 'delete', verdictOf('shop'), { failingForMs: () => failingForMs, boundMs: 1_000 });
      await expect(read(999)).rejects.toThrow('later');
      expect((await read(1_000)).owner).toBeNull();
    },
  );

  it.each([
    ['one that is there', {}, { replicas: 5, ready: 4 }],
    ['recreated under the same name', { metadata: { uid: 'ds-2' } }, null],
  ])('a DaemonSet has as many replicas as nodes that should run it - %s', async (_, more, expected) => {
    const status = { desiredNumberScheduled: 5, numberReady: 4 };
    const { api } = world({
      '/api/v1/namespaces/shop/pods/one': pod('shop', daemonSet),
      '/apis/apps/v1/namespaces/shop/daemonsets/agent': {
        metadata: { uid: 'ds-1' },
        spec: { selector },
        status,
        ...more,
      },
    });
    expect((await new FactReader(() => 0).read(api, 'delete', verdictOf('shop', 'ds-1'))).owner).toEqual(expected);
  });

  it('a pod that runs another program than the template, or that a webhook changed, is a claimed member', async () => {
    const { api } = world({ ...pods, [path]: SET });
    const reader = new FactReader(() => 0);
    const claimed = { replicas: 4, ready: 3, isClaimed: true };
    expect((await reader.read(api, 'delete', verdictOf('shop', ''))).owner).toEqual(claimed);
    expect((await reader.read(api, 'delete', verdictOf('shop', 'another'))).owner).toEqual(claimed);
    expect((await reader.read(api, 'delete', verdictOf('shop'))).owner).toEqual({ replicas: 4, ready: 3 });
  });

  it('a quarantine does not wait for an owner that only the pod names; a removal does', async () => {
    const { api } = world({ ...pods, [path]: new KubeError('KUBE_SERVER', 'later', { status: 503 }) });
    const reader = new FactReader(() => 0);
    expect((await reader.read(api, 'quarantine', verdictOf('shop', ''))).owner).toBeNull();
    await expect(reader.read(api, 'delete', verdictOf('shop', ''))).rejects.toThrow('later');
    await expect(reader.read(api, 'quarantine', verdictOf('shop'))).rejects.toThrow('later');
  });
});
