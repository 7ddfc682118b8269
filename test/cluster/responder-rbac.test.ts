// The requests of a responder to the API server, action by action, against the rules that `bailiff
// responder rbac` prints. The rules allow each request, and each rule is needed by an action.

import { loadKube } from '@bailiff/kube';
import type { RequestRecord } from '@bailiff/lab/apiserver';
import { RESPONSE_ACTIONS, type ResponseActionName } from '@bailiff/policy';
import { EVERY_ACTION, responderRules } from '@bailiff/response';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Api } from '../../apps/responder/src/actions/api.ts';
import { observe } from '../../apps/responder/src/actions/observe.ts';
import { acting, type PodOptions, Rig } from './responder/rig.ts';

const right = ({ path, verb, resource, subresource }: RequestRecord): string => {
  const group = /^\/apis\/([^/]+)\//.exec(path)?.[1] ?? '';
  return `${verb} ${group}/${resource}${subresource === '' ? '' : `/${subresource}`}`;
};
const rightsOf = (actions: Iterable<ResponseActionName>): Set<string> =>
  new Set(
    responderRules({ acting: new Set(actions), dryRun: new Set() }).flatMap(
      ({ apiGroups: [group], resources: [resource], verbs }) => verbs.map((verb) => `${verb} ${group}/${resource}`),
    ),
  );

/** Each has an owner, whose replicas guards read; a budget of one causes a storm. */
const OWNERS: NonNullable<PodOptions['owner']>[] = [
  { kind: 'StatefulSet', name: 'db', uid: 'u-1' },
  { kind: 'Deployment', name: 'web', uid: 'u-2' },
  { kind: 'DaemonSet', name: 'agent', uid: 'u-4' },
  { kind: 'ReplicationController', name: 'old', uid: 'u-3', apiVersion: 'v1' },
];

const REMOVALS = ['evict', 'delete'] as const;

describe('responder rbac', () => {
  let rig: Rig;
  const asked = new Map<ResponseActionName, Set<string>>();
  let current: Set<string> | null = null;
  beforeAll(async () => {
    rig = await Rig.start();
    rig.api.requests.listen((record) => {
      // Every identity may review itself.
      if (record.resource !== 'selfsubjectaccessreviews') current?.add(right(record));
    });
    const step = (action: ResponseActionName) =>
      ['label', 'quarantine', 'cordon'].includes(action) ? { action, expires: '1s' } : { action };
    const policies = RESPONSE_ACTIONS.map((action) => [action, acting(action, [step(action)])] as const);
    const deleteStorm = { deletes: 1, window: '10m' };
    const storms = REMOVALS.map((action) => {
      const name = `storm-${action}`;
      return [name, acting(name, [{ action }], { deleteStorm })] as const;
    });
    await rig.policies(Object.fromEntries([...policies, ...storms]));
    await rig.start();
  });
  afterAll(async () => rig?.[Symbol.asyncDispose]());

  /** All requests until the action has ended, including its undo. */
  const record = async (action: ResponseActionName, work: () => Promise<void>) => {
    const set = asked.get(action) ?? new Set<string>();
    asked.set(action, set);
    current = set;
    await work();
    current = null;
    expect([...set].filter((one) => !rightsOf([action]).has(one))).toEqual([]);
  };

  it.each(['label', 'quarantine', 'cordon'] as const)('%s, and its undo', async (action) => {
    await record(action, async () => {
      const verdict = await rig.verdict(rig.pod({ owner: rig.replicaSet(`${action}-set`, 3) }), { rule: action });
      await rig.until(verdict, action, 'succeeded');
      await rig.until(verdict, action, 'undone');
    });
  });

  it.each(['observe', 'evict', 'delete'] as const)('%s', async (action) => {
    await record(action, async () => {
      const verdict = await rig.verdict(rig.pod({ owner: rig.replicaSet(`${action}-set`, 3) }), { rule: action });
      await rig.until(verdict, action, 'succeeded');
    });
  });

  it('observe - whether an earlier attempt was received', async () => {
    await record('observe', async () => {
      const kube = loadKube({ kubeconfig: rig.api.kubeconfigPath(), userAgent: 'test' });
      const verdict = rig.verdictOf(rig.pod(), { rule: 'observe' });
      const task = { taskId: 'f'.repeat(32) };
      const context = { task, verdict, api: new Api(kube, { timeoutMs: 2_000 }) };
      expect(await observe.tookEffect(context as unknown as Parameters<typeof observe.tookEffect>[0])).toBe(false);
    });
  });

  it.each(REMOVALS)('%s - a storm ends in quarantine, with the rights of the removal alone', async (action) => {
    await record(action, async () => {
      const [rule, owner] = [`storm-${action}`, rig.replicaSet(`storm-${action}-set`, 9)];
      await rig.until(await rig.verdict(rig.pod({ owner }), { rule }), action, 'succeeded');
      const verdict = await rig.verdict(rig.pod({ owner }), { rule });
      await rig.until(verdict, 'quarantine', 'succeeded');
    });
  });

  it.each(OWNERS)('delete - a pod of a $kind: its owner is read', async (owner) => {
    await record('delete', async () => {
      await rig.until(await rig.verdict(rig.pod({ owner }), { rule: 'delete' }), 'delete', [
        'succeeded',
        'refused',
        'failed',
      ]);
    });
  });

  it('each right is used by a request', () => {
    const used = new Set([...asked.values()].flatMap((set) => [...set]));
    const granted = rightsOf(EVERY_ACTION.acting);
    expect([...granted].filter((one) => !used.has(one)).sort()).toEqual([]);
    expect(used.size).toBe(granted.size);
  });
});
