// Contract: custom resources, from definition to objects to removal.

import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { Json } from './client.ts';
import { type Bench, expectFailure, expectStatus, names, uniqueName } from './fixtures.ts';

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

function definition(group: string): Json {
  const spec = {
    type: 'object',
    required: ['mode'],
    properties: {
      mode: { type: 'string', enum: ['enforce', 'audit', 'off'] },
      weight: { type: 'integer', minimum: 1, maximum: 10, default: 5 },
      prefixes: { type: 'array', maxItems: 2, items: { type: 'string', pattern: '^[0-9.]+/[0-9]+$' } },
      limits: { type: 'object', additionalProperties: { type: 'integer' } },
      free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    },
  };
  const status = { type: 'object', properties: { seen: { type: 'integer' } } };
  return {
    metadata: { name: `guards.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural: 'guards', singular: 'guard', kind: 'Guard', shortNames: ['gd'] },
      versions: [
        {
          name: 'v1alpha1',
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: 'object', required: ['spec'], properties: { spec, status } } },
          subresources: { status: {} },
          additionalPrinterColumns: [{ name: 'Mode', type: 'string', jsonPath: '.spec.mode' }],
        },
      ],
    },
  };
}

export function customResourceTests(bench: () => Bench): void {
  const group = `${uniqueName('contract')}.bailiff.dev`;
  const path = (name?: string) =>
    `/apis/${group}/v1alpha1/namespaces/${bench().namespace}/guards${name === undefined ? '' : `/${name}`}`;
  const guard = (name: string, spec: object) => ({
    apiVersion: `${group}/v1alpha1`,
    kind: 'Guard',
    metadata: { name },
    spec,
  });

  beforeAll(async () => {
    const { api } = bench();
    expectStatus(await api.post(definitions, definition(group)), 201);
    await waitFor(async () => (await api.get(path())).status === 200, { what: 'the resource is served' });
  });
  afterAll(async () => {
    await bench().api.delete(`${definitions}/guards.${group}`);
  });

  test('custom resource - the definition reports that it is established', async () => {
    const crd = (await bench().api.get(`${definitions}/guards.${group}`)).body;
    const established = crd['status'].conditions.find(
      (condition: { type: string }) => condition.type === 'Established',
    );
    expect(established.status).toBe('True');
    expect(crd['status'].acceptedNames).toMatchObject({ kind: 'Guard', listKind: 'GuardList', plural: 'guards' });
  });

  test('custom resource - is stored with defaults, without fields that the schema does not have', async () => {
    const { api } = bench();
    const spec = { mode: 'audit', unknown: true, limits: { a: 1 }, free: { any: { thing: 1 } } };
    const made = expectStatus(await api.post(path(), guard('stored', spec)), 201).body;
    expect(made['metadata'].generation).toBe(1);
    expect(made['spec']).toEqual({ mode: 'audit', weight: 5, limits: { a: 1 }, free: { any: { thing: 1 } } });
    const list = (await api.get(path())).body;
    expect(list).toMatchObject({ kind: 'GuardList', apiVersion: `${group}/v1alpha1` });
    expect(list['items'][0]).toMatchObject({ kind: 'Guard', apiVersion: `${group}/v1alpha1` });
  });

  test.each([
    ['a missing member', {}, 'spec.mode'],
    ['a value outside the enumeration', { mode: 'maybe' }, 'spec.mode'],
    ['a wrong type', { mode: 'audit', weight: 'five' }, 'spec.weight'],
    ['too large a number', { mode: 'audit', weight: 11 }, 'spec.weight'],
    ['a string against the pattern', { mode: 'audit', prefixes: ['x'] }, 'spec.prefixes[0]'],
    ['too long a list', { mode: 'audit', prefixes: ['1/1', '1/1', '1/1'] }, 'spec.prefixes'],
    ['a wrong type in a map', { mode: 'audit', limits: { a: 'b' } }, 'spec.limits.a'],
  ])('custom resource - %s is Invalid, with the field', async (_, spec, field) => {
    const status = expectFailure(await bench().api.post(path(), guard('refused', spec)), 422, 'Invalid');
    expect(status['details'].causes.map((cause: { field: string }) => cause.field)).toContain(field);
  });

  test('custom resource - spec and status have their own paths, and only changes of the spec raise the generation', async () => {
    const { api } = bench();
    expectStatus(await api.post(path(), { ...guard('split', { mode: 'off' }), status: { seen: 9 } }), 201);
    expect((await api.get(path('split'))).body['status']).toBeUndefined();
    const status = expectStatus(
      await api.patch(path('split/status'), 'merge', { status: { seen: 1 }, spec: { mode: 'audit' } }),
      200,
    ).body;
    expect(status).toMatchObject({ spec: { mode: 'off' }, status: { seen: 1 }, metadata: { generation: 1 } });
    const spec = expectStatus(
      await api.patch(path('split'), 'merge', { status: { seen: 2 }, spec: { mode: 'audit' } }),
      200,
    ).body;
    expect(spec).toMatchObject({ spec: { mode: 'audit' }, status: { seen: 1 }, metadata: { generation: 2 } });
  });

  test('custom resource - updates need a version, and strategic patches are refused', async () => {
    const { api } = bench();
    const made = expectStatus(await api.post(path(), guard('updated', { mode: 'off' })), 201).body;
    expectFailure(await api.put(path('updated'), guard('updated', { mode: 'audit' })), 422, 'Invalid');
    expectStatus(await api.put(path('updated'), { ...made, spec: { mode: 'audit' } }), 200);
    expectFailure(await api.put(path('updated'), { ...made, spec: { mode: 'off' } }), 409, 'Conflict');
    expectFailure(
      await api.patch(path('updated'), 'strategic', { spec: { mode: 'off' } }),
      415,
      'UnsupportedMediaType',
    );
  });

  test('custom resource - can be watched', async () => {
    const { api } = bench();
    const version = (await api.get(path())).body['metadata'].resourceVersion;
    const watch = await api.watch(`${path()}?watch=1&resourceVersion=${version}`);
    onTestFinished(() => watch.close());
    expectStatus(await api.post(path(), guard('watched', { mode: 'off' })), 201);
    expectStatus(await api.delete(path('watched')), 200);
    await waitFor(() => watch.events.length >= 2, { what: 'two events' });
    expect(watch.events.map((event) => `${event.type} ${event.object['metadata'].name}`)).toEqual([
      'ADDED watched',
      'DELETED watched',
    ]);
  });

  test('custom resource - its table has the columns of the definition', async () => {
    const { api } = bench();
    expectStatus(await api.post(path(), guard('tabled', { mode: 'enforce' })), 201);
    const table = await api.get(`${path()}?fieldSelector=metadata.name%3Dtabled`, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    });
    expect(table.body['columnDefinitions'].map((column: { name: string }) => column.name)).toEqual(['Name', 'Mode']);
    expect(table.body['rows'][0].cells).toEqual(['tabled', 'enforce']);
  });

  test('custom resource - a bad definition is Invalid', async () => {
    const { api } = bench();
    const bad = definition(group);
    bad['metadata'].name = `misnamed.${group}`;
    expectFailure(await api.post(definitions, bad), 422, 'Invalid');
  });

  test('custom resource - without its definition it is no longer served', async () => {
    const { api } = bench();
    const other = `${uniqueName('contract')}.bailiff.dev`;
    const all = `/apis/${other}/v1alpha1/guards`;
    expectStatus(await api.post(definitions, definition(other)), 201);
    await waitFor(async () => (await api.get(all)).status === 200, { what: 'the resource is served' });
    expect(names((await api.get(all)).body)).toEqual([]);
    expectStatus(await api.delete(`${definitions}/guards.${other}`), 200);
    await waitFor(async () => (await api.get(all)).status === 404, { what: 'the resource is gone' });
  });
}
