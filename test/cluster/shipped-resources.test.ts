// The custom resource definitions at a server: it refuses by schema or rule what the schemas
// refuse, and accepts what they accept.
import path from 'node:path';
import { RESOURCE_CASES } from '@bailiff/lab/apiserver';
import type { ResourceKind } from '@bailiff/policy';
import { RESOURCE_PLURALS } from '@bailiff/policy';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type KubectlTarget, kubectlTargets, NO_REAL, START_TIMEOUT_MS } from './contract/kubectl-target.ts';

const K8S = path.resolve(import.meta.dirname, '../../k8s');
const API = 'bailiff.dev/v1alpha1';
const pathOf = (kind: ResourceKind) => `/apis/${API}/${RESOURCE_PLURALS[kind]}`;
const kinds = Object.keys(RESOURCE_PLURALS) as ResourceKind[];
const targets = kubectlTargets(process.env);

describe.each(targets)('shipped resources: $name', ({ start }) => {
  let target: KubectlTarget;
  beforeAll(async () => {
    target = await start();
    await target.kubectl.ok('apply', target.validate, '-k', path.join(K8S, 'crds'));
    const areServed = async () =>
      (await Promise.all(kinds.map((kind) => target.client.get(pathOf(kind))))).every(({ status }) => status === 200);
    await waitFor(areServed, { what: 'the kinds are served' });
  }, START_TIMEOUT_MS);
  afterAll(() => target?.[Symbol.asyncDispose]());

  const sent = (kind: ResourceKind, spec: object) =>
    target.client.post(`${pathOf(kind)}?dryRun=All&fieldValidation=Strict`, {
      apiVersion: API,
      kind,
      metadata: { name: 'x' },
      spec,
    });

  test.each(RESOURCE_CASES)('%s %j: %s', async (kind, spec, right) => {
    const { status, text } = await sent(kind, spec);
    if (right === false) expect([400, 422], text).toContain(status);
    else expect(status, text).toBe(201);
  });

  test('the definitions are accepted whole: the server drops no rule or schema', async () => {
    for (const kind of kinds) {
      const name = `${RESOURCE_PLURALS[kind]}.bailiff.dev`;
      const crd = (await target.client.get(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`)).body;
      const conditions = crd['status'].conditions as { type: string; status: string }[];
      const stated = conditions.filter(({ status }) => status === 'True').map(({ type }) => type);
      expect([kind, stated.sort()]).toEqual([kind, ['Established', 'NamesAccepted']]);
    }
  });

  test('the examples are accepted, and read back unchanged', async () => {
    await target.kubectl.ok('apply', target.validate, '-f', path.join(K8S, 'examples'));
    await target.kubectl.ok('apply', target.validate, '-f', path.join(K8S, '../policies'));
    const again = await target.kubectl.ok('apply', target.validate, '-f', path.join(K8S, 'examples'));
    expect(again.split('\n').filter((line) => line !== '' && !line.endsWith(' unchanged'))).toEqual([]);
  });
});

if (targets.length === 1) test('shipped resources: a real API server', ({ skip }) => skip(NO_REAL));
