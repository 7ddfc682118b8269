// Objects that the contract suite creates, and a namespace of its own for each group of tests.

import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { podObject, podRuns } from '../../support/kube.ts';
import type { ApiClient, Json, Reply } from './client.ts';
import type { Target } from './target.ts';

/** A node name without a node. If nodes are garbage-collected, that takes longer than a test. */
export const nowhere = 'bailiff-contract-nowhere';

export function uniqueName(prefix: string): string {
  return `${prefix}-${randomBytes(4).toString('hex')}`;
}

/** The namespace under test: created before the tests, and passed to each. */
export interface Bench {
  target: Target;
  api: ApiClient;
  namespace: string;
  /** `/api/v1/namespaces/<ns>/pods` and the like, with an optional name. */
  path(resource: string, name?: string): string;
}

const groups: { [resource: string]: string } = {
  leases: '/apis/coordination.k8s.io/v1',
  networkpolicies: '/apis/networking.k8s.io/v1',
  poddisruptionbudgets: '/apis/policy/v1',
  replicasets: '/apis/apps/v1',
};

export async function makeBench(target: Target): Promise<Bench> {
  const api = target.client;
  const namespace = uniqueName('bailiff-contract');
  expectStatus(await api.post('/api/v1/namespaces', { metadata: { name: namespace } }), 201);
  const path = (resource: string, name?: string) =>
    `${groups[resource] ?? '/api/v1'}/namespaces/${namespace}/${resource}${name === undefined ? '' : `/${name}`}`;
  return { target, api, namespace, path };
}

/** Force-deletes the pods, then the namespace, without waiting for it. */
export async function clearBench(bench: Bench): Promise<void> {
  const pods = await bench.api.get(bench.path('pods'));
  for (const pod of pods.body['items'] as Json[]) {
    const path = bench.path('pods', pod['metadata'].name);
    if (pod['metadata'].finalizers) await bench.api.patch(path, 'merge', { metadata: { finalizers: null } });
    await bench.api.delete(path, { gracePeriodSeconds: 0 });
  }
  await bench.api.delete(`/api/v1/namespaces/${bench.namespace}`);
}

export function expectStatus(reply: Reply, status: number): Reply {
  expect(reply.status, reply.text).toBe(status);
  return reply;
}

/** Checks an error's Status object, and returns its body. */
export function expectFailure(reply: Reply, status: number, reason: string | undefined): Json {
  expectStatus(reply, status);
  expect(reply.body).toMatchObject({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: status });
  expect(reply.body['reason']).toBe(reason);
  return reply.body;
}

export interface PodOptions {
  labels?: { [key: string]: string };
  /** Bound to a node that does not exist, so that deletes are graceful. */
  bound?: boolean;
  finalizers?: string[];
  serviceAccountName?: string;
}

export function podBody(name: string, options: PodOptions = {}): Json {
  const { labels, finalizers, bound, serviceAccountName } = options;
  return podObject(name, {
    metadata: { labels, finalizers },
    spec: {
      ...(bound ? { nodeName: nowhere } : {}),
      ...(serviceAccountName ? { serviceAccountName } : {}),
      schedulerName: 'nobody',
    },
  });
}

export async function createPod(bench: Bench, name: string, options: PodOptions = {}): Promise<Json> {
  return expectStatus(await bench.api.post(bench.path('pods'), podBody(name, options)), 201).body;
}

/** Sets a pod's status as its node would report it. */
export async function reportReady(bench: Bench, name: string): Promise<Json> {
  const body = { status: podRuns() };
  return expectStatus(await bench.api.patch(bench.path('pods', `${name}/status`), 'strategic', body), 200).body;
}

export async function createConfigMap(bench: Bench, name: string, labels?: { [key: string]: string }): Promise<Json> {
  const body = { metadata: { name, labels }, data: { key: name } };
  return expectStatus(await bench.api.post(bench.path('configmaps'), body), 201).body;
}

/** Names of a list's items. */
export function names(list: Json): string[] {
  return (list['items'] as Json[]).map((item) => item['metadata'].name as string);
}
