// A node that several verdicts cordon.

import type { KubeApi, RequestOptions } from '@bailiff/kube';
import { CORDONED_BY, nodeFactsOf, type Task } from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import { sampleVerdict } from '@bailiff/schemas/testing';
import { expect, test } from 'vitest';
import type { ActionContext, UndoContext } from './action.ts';
import { Api } from './api.ts';
import { cordon } from './cordon.ts';

/** The API server with one node. */
function world() {
  const managed = { cordon: [] as string[] };
  const node = {
    metadata: {
      name: 'node-a',
      annotations: {} as Record<string, unknown>,
      /** As the API server keeps them: who has set a field. */
      get managedFields() {
        const { unschedulable } = node.spec;
        return ['bailiff-responder', 'kubectl-cordon', 'kubelet'].map((manager) => ({
          ...{ manager, operation: 'Update', apiVersion: 'v1', fieldsType: 'FieldsV1' },
          fieldsV1: {
            ...(manager === 'bailiff-responder' && {
              'f:metadata': { 'f:annotations': { [`f:${CORDONED_BY}`]: {} } },
            }),
            'f:spec': unschedulable && managed.cordon.includes(manager) ? { 'f:unschedulable': {} } : {},
          },
        }));
      },
    },
    spec: {} as { unschedulable?: boolean },
  };
  const kube: KubeApi = {
    request: async <T>({ verb, body }: RequestOptions): Promise<T> => {
      if (verb === 'PATCH') {
        const { metadata, spec } = body as typeof node;
        Object.assign(node.metadata.annotations, metadata.annotations);
        if (node.spec.unschedulable !== spec.unschedulable) managed.cordon = ['bailiff-responder'];
        node.spec = spec;
      }
      return structuredClone(node) as T;
    },
    watch: () => Promise.reject(new Error('not here')),
  };
  const api = new Api(kube, { timeoutMs: 1_000 });
  const keyOf = (verdictId: string) => ({ verdictId, policy: 'close' });
  const contextOf = (verdictId: string, expiresAtMicros: number | null) =>
    ({
      task: keyOf(verdictId) as Task,
      verdict: sampleVerdict(),
      facts: { pod: null, owner: null, node: nodeFactsOf(node) },
      expiresAtMicros,
      api,
    }) as unknown as ActionContext;
  return {
    isCordoned: () => nodeFactsOf(node).unschedulable,
    open: () => {
      node.spec = {};
    },
    /** `kubectl cordon` does nothing with a cordoned node. */
    close: () => {
      if (!node.spec.unschedulable) managed.cordon = ['kubectl-cordon'];
      node.spec = { unschedulable: true };
    },
    markOfNode: () => nodeFactsOf(node).annotations[CORDONED_BY],
    act: (verdictId: string, expiresAtMicros: number | null) => cordon.carryOut(contextOf(verdictId, expiresAtMicros)),
    tookEffect: (verdictId: string, expiresAtMicros: number | null) =>
      cordon.tookEffect(contextOf(verdictId, expiresAtMicros)),
    undo: (verdictId: string, expiresAt: number | null) =>
      cordon.undo?.({ done: { ...keyOf(verdictId), nodeName: 'node-a', expiresAt } as Response, api } as UndoContext),
  };
}

const [SOON, LATER] = [60e6, 3_600e6];

test.each([
  ['without an end', null],
  ['with a later end', LATER],
  ['with the same end', SOON],
])('cordon - one %s stays that of its verdict when another one cordons the node, too', async (_, end) => {
  const { act, undo, isCordoned, tookEffect } = world();
  expect(await act('node', end)).toMatchObject({ reasonCode: '' });
  expect(await act('pod', SOON)).toMatchObject({ reasonCode: 'cordoned-longer', isForeign: true });
  expect(await tookEffect('node', end)).toBe(true);
  expect(await undo('pod', SOON)).toMatchObject({ reasonCode: 'superseded' });
  expect(isCordoned()).toBe(true);
});

test('cordon - a longer one replaces a shorter one, whose end leaves it alone', async () => {
  const { act, undo, isCordoned } = world();
  await act('pod', SOON);
  expect(await act('node', LATER)).toMatchObject({ reasonCode: '' });
  expect(await undo('pod', SOON)).toMatchObject({ reasonCode: 'superseded' });
  expect(isCordoned()).toBe(true);
  expect(await undo('node', LATER), 'control').toMatchObject({ reasonCode: '' });
  expect(isCordoned()).toBe(false);
});

test('cordon - a person who opens the node ends a cordon: the next verdict cordons it for its own time', async () => {
  const { act, undo, isCordoned, open } = world();
  await act('node', null);
  open();
  expect(await act('pod', SOON)).toMatchObject({ reasonCode: '' });
  expect(await undo('pod', SOON)).toMatchObject({ reasonCode: '' });
  expect(isCordoned()).toBe(false);
});

test('cordon - a person who opens the node, and cordons it again for maintenance: it stays cordoned, and is of others', async () => {
  const { act, undo, isCordoned, open, close, markOfNode } = world();
  await act('pod', SOON);
  close();
  expect(markOfNode(), 'control: a cordon of a cordoned node').toMatch(/^pod\/close\//);
  open();
  close();
  expect(markOfNode()).toBeUndefined();
  expect(await undo('pod', SOON)).toMatchObject({ reasonCode: 'already-cordoned' });
  expect(isCordoned()).toBe(true);
  open();
  expect(await act('pod', LATER)).toMatchObject({ reasonCode: '' });
  expect(await undo('pod', LATER)).toMatchObject({ reasonCode: '' });
  expect(isCordoned()).toBe(false);
});
