// Stock kubectl against the API stand-in: read, watch, describe, label, and create objects from
// files.

import path from 'node:path';
import type { KubeObject } from '@bailiff/lab/apiserver';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { KubectlBench, kubectlIsMissing, words } from './contract/kubectl-bench.ts';

const missing = kubectlIsMissing();

function kubectlTests(): void {
  let bench: KubectlBench;
  let server: KubectlBench['server'];
  let kubectl: KubectlBench['kubectl'];
  let ns = '';

  beforeAll(async () => {
    bench = await KubectlBench.start();
    ({ server, kubectl } = bench);
  });
  afterAll(() => bench?.[Symbol.asyncDispose]());
  beforeEach(() => {
    ns = bench.newNamespace();
  });

  test('get - pods as a table, wide, by selector, in every format', async () => {
    bench.makePod(ns, 'web-1', 'n-get', { labels: { app: 'web' } });
    bench.makePod(ns, 'db-1', 'n-get', { labels: { app: 'db' } });
    const [head, ...rows] = (await kubectl.ok('get', 'pods', '-n', ns)).trim().split('\n');
    expect(words(head)).toEqual(['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE']);
    expect(rows.map((row) => words(row).slice(0, 4))).toEqual([
      ['db-1', '1/1', 'Running', '0'],
      ['web-1', '1/1', 'Running', '0'],
    ]);
    expect(await kubectl.ok('get', 'po', '-n', ns, '-o', 'wide', '-l', 'app=web')).toMatch(
      /web-1 .* 10\.2\.0\.7 +n-get /,
    );
    expect(await kubectl.ok('get', 'pods', '-A', '-o', 'name', '--field-selector', `metadata.namespace=${ns}`)).toBe(
      'pod/db-1\npod/web-1\n',
    );
    const json = JSON.parse(await kubectl.ok('get', 'pods', '-n', ns, '-o', 'json')) as { items: KubeObject[] };
    expect(json.items.map((item) => `${item.kind} ${item.metadata.name}`)).toEqual(['Pod db-1', 'Pod web-1']);
    expect(await kubectl.ok('get', 'pod', 'web-1', '-n', ns, '-o', 'yaml')).toMatch(/^apiVersion: v1\nkind: Pod\n/);
    expect(
      await kubectl.ok('get', 'pods', '-n', ns, '--sort-by=.metadata.name', '-o', 'jsonpath={.items[*].status.podIP}'),
    ).toBe('10.2.0.7 10.2.0.7');
    const missing = await kubectl.run(['get', 'pod', 'nobody', '-n', ns]);
    expect(missing).toMatchObject({ code: 1, stderr: 'Error from server (NotFound): pods "nobody" not found\n' });
  });

  test('get -w - prints changes of the pod until it is deleted', async () => {
    const watching = kubectl.start('get', 'pods', '-n', ns, '-w');
    onTestFinished(() => watching.stop());
    bench.makePod(ns, 'early', 'n-watch');
    await waitFor(() => watching.lines().some((line) => /early +1\/1 +Running/.test(line)), {
      what: 'the running pod',
      timeoutMs: 20_000,
    });
    server.api.delete('pods', { namespace: ns, name: 'early' });
    await waitFor(() => watching.lines().some((line) => /early +1\/1 +Terminating/.test(line)), {
      what: 'the terminating pod',
    });
    server.api.delete('pods', { namespace: ns, name: 'early' }, { gracePeriodSeconds: 0 });
    bench.makePod(ns, 'next', 'n-watch');
    await waitFor(() => watching.lines().some((line) => /next +1\/1 +Running/.test(line)), { what: 'the next pod' });
    expect(words(watching.lines()[0])).toEqual(['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE']);
  });

  test('describe - a pod with its events, a node with its pods', async () => {
    const node = bench.makeNode('n-describe');
    const pod = bench.makePod(ns, 'shown', 'n-describe', { labels: { app: 'shown' }, annotations: { note: 'here' } });
    const involvedObject = { kind: 'Pod', namespace: ns, name: 'shown', uid: pod.metadata.uid, apiVersion: 'v1' };
    const times = { firstTimestamp: new Date().toISOString(), lastTimestamp: new Date().toISOString(), count: 3 };
    const event = {
      reason: 'SpoofedPackets',
      message: '42 packets dropped',
      type: 'Warning',
      source: { component: 'bailiff' },
    };
    server.api.create('events', { metadata: { name: 'shown.1' }, involvedObject, ...event, ...times }, ns);
    const lease = { metadata: { name: 'n-describe' }, spec: { holderIdentity: 'n-describe' } };
    server.api.create('leases.coordination.k8s.io', lease, 'kube-node-lease');
    const text = await kubectl.ok('describe', 'pod', 'shown', '-n', ns);
    expect(text).toMatch(/Node: +n-describe\//);
    expect(text).toMatch(/Annotations: +note: here/);
    expect(text).toMatch(/Warning +SpoofedPackets +.*\(x3 over .*bailiff +42 packets dropped/);
    const nodeText = await kubectl.ok('describe', 'node', node.metadata.name);
    expect(nodeText).toMatch(/HolderIdentity: +n-describe/);
    expect(nodeText).toMatch(new RegExp(`${ns} +shown `));
    expect(await kubectl.ok('get', 'events', '-n', ns)).toMatch(
      /Warning +SpoofedPackets +pod\/shown +42 packets dropped/,
    );
    expect(await kubectl.ok('events', '-n', ns, '--for', 'pod/shown')).toMatch(/SpoofedPackets/);
  });

  test('label and annotate - set, refuse to overwrite, overwrite, remove', async () => {
    bench.makePod(ns, 'tagged', 'n-label');
    expect(await kubectl.ok('label', 'pod', 'tagged', '-n', ns, 'bailiff.dev/verdict=high')).toBe(
      'pod/tagged labeled\n',
    );
    const again = await kubectl.run(['label', 'pod', 'tagged', '-n', ns, 'bailiff.dev/verdict=low']);
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/already has a value/);
    await kubectl.ok('label', '--overwrite', 'pod', 'tagged', '-n', ns, 'bailiff.dev/verdict=low');
    await kubectl.ok('annotate', 'pod', 'tagged', '-n', ns, 'why=because of this');
    const { labels, annotations } = server.api.get('pods', { namespace: ns, name: 'tagged' }).metadata;
    expect({ labels, annotations }).toEqual({
      labels: { 'bailiff.dev/verdict': 'low' },
      annotations: { why: 'because of this' },
    });
    expect(await kubectl.ok('label', 'pod', 'tagged', '-n', ns, 'bailiff.dev/verdict-')).toBe('pod/tagged unlabeled\n');
    expect(server.api.get('pods', { namespace: ns, name: 'tagged' }).metadata.labels).toBeUndefined();
  });

  test('cordon, uncordon and taint - change the node', async () => {
    bench.makeNode('n-cordon');
    expect(await kubectl.ok('cordon', 'n-cordon')).toBe('node/n-cordon cordoned\n');
    expect(await kubectl.ok('get', 'node', 'n-cordon')).toMatch(
      /n-cordon +Ready,SchedulingDisabled +worker +.* v1\.32\.0-lab/,
    );
    expect(await kubectl.ok('cordon', 'n-cordon')).toBe('node/n-cordon already cordoned\n');
    expect(await kubectl.ok('uncordon', 'n-cordon')).toBe('node/n-cordon uncordoned\n');
    expect(server.api.get('nodes', { name: 'n-cordon' }).spec?.['unschedulable']).toBeUndefined();
    await kubectl.ok('taint', 'node', 'n-cordon', 'bailiff.dev/unguarded=yes:NoSchedule');
    expect(server.api.get('nodes', { name: 'n-cordon' }).spec?.['taints']).toEqual([
      { key: 'bailiff.dev/unguarded', value: 'yes', effect: 'NoSchedule' },
    ]);
    await kubectl.ok('taint', 'node', 'n-cordon', 'bailiff.dev/unguarded-');
    expect(server.api.get('nodes', { name: 'n-cordon' }).spec?.['taints'] ?? []).toEqual([]);
  });

  test('create, apply and get - a custom resource after its definition', async () => {
    const version = {
      name: 'v1alpha1',
      served: true,
      storage: true,
      schema: {
        openAPIV3Schema: {
          type: 'object',
          properties: {
            spec: { type: 'object', properties: { mode: { type: 'string', enum: ['enforce', 'audit'] } } },
          },
        },
      },
      additionalPrinterColumns: [{ name: 'Mode', type: 'string', jsonPath: '.spec.mode' }],
    };
    const names = { plural: 'guards', singular: 'guard', kind: 'Guard', shortNames: ['gd'] };
    const definition = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'guards.kubectl.bailiff.dev' },
      spec: { group: 'kubectl.bailiff.dev', scope: 'Namespaced', names, versions: [version] },
    };
    const guard = (mode: string) =>
      JSON.stringify({
        apiVersion: 'kubectl.bailiff.dev/v1alpha1',
        kind: 'Guard',
        metadata: { name: 'one', namespace: ns },
        spec: { mode },
      });
    expect((await kubectl.run(['create', '-f', '-'], JSON.stringify(definition))).code).toBe(0);
    expect(await kubectl.run(['apply', '-f', '-'], guard('audit'))).toMatchObject({ code: 0, stderr: '' });
    expect(await kubectl.run(['apply', '-f', '-'], guard('enforce'))).toMatchObject({ code: 0, stderr: '' });
    const bad = await kubectl.run(['apply', '-f', '-'], guard('maybe'));
    expect(bad.stderr).toMatch(/spec.mode: Unsupported value: "maybe"/);
    expect(await kubectl.ok('get', 'gd', '-n', ns)).toMatch(/NAME +MODE\none +enforce\n/);
  });

  test('access - a denied verb is Forbidden, an expired token Unauthorized', async () => {
    bench.makePod(ns, 'safe', 'n-access');
    const reader = bench.as('reader');
    expect(await reader.ok('get', 'pods', '-n', ns)).toMatch(/safe/);
    const denied = await reader.run(['delete', 'pod', 'safe', '-n', ns]);
    expect(denied.code).toBe(1);
    expect(denied.stderr).toMatch(
      /Forbidden.*User "reader" cannot delete resource "pods" in API group "" in the namespace/,
    );
    server.faults.expireTokens('reader');
    onTestFinished(() => server.faults.restoreTokens('reader'));
    expect((await reader.run(['get', 'pods', '-n', ns])).stderr).toMatch(/must be logged in|Unauthorized/);
  });

  test('create - namespaces, config maps and budgets by command; auth can-i', async () => {
    expect(await kubectl.ok('create', 'namespace', `${ns}-made`)).toBe(`namespace/${ns}-made created\n`);
    await kubectl.ok('create', 'configmap', 'made', '-n', ns, '--from-literal=key=value');
    expect(server.api.get('configmaps', { namespace: ns, name: 'made' })['data']).toEqual({ key: 'value' });
    await kubectl.ok('create', 'pdb', 'made', '-n', ns, '--selector=app=web', '--min-available=2');
    expect(server.api.get('poddisruptionbudgets.policy', { namespace: ns, name: 'made' }).spec).toMatchObject({
      minAvailable: 2,
      selector: { matchLabels: { app: 'web' } },
    });
    expect(await kubectl.ok('auth', 'can-i', 'delete', 'pods')).toBe('yes\n');
    expect((await bench.as('reader').run(['auth', 'can-i', 'delete', 'pods'])).stdout).toBe('no\n');
    expect(await bench.as('reader').ok('auth', 'whoami')).toMatch(/Username +reader/);
  });

  test('explain - custom resources by their schemas, down to a field; built-in kinds name where to ask', async () => {
    const crds = path.resolve(import.meta.dirname, '../../k8s/crds');
    await kubectl.ok('apply', '-k', crds);
    // Refreshes kubectl's discovery cache, which is valid for hours.
    await kubectl.ok('api-resources');
    const top = await kubectl.ok('explain', 'spp');
    expect(top).toMatch(/^GROUP: +bailiff\.dev\nKIND: +SpoofPolicy\nVERSION: +v1alpha1\n/);
    expect(top).toMatch(/\n {2}metadata\t<ObjectMeta>\n[\s\S]*\n {2}spec\t<Object>/);
    expect(await kubectl.ok('explain', 'spp.spec')).toMatch(/FIELD: spec <Object>[\s\S]*\n {2}modes\t<Object>\n/);
    expect(await kubectl.ok('explain', 'runtimepolicies.spec.rules')).toMatch(/FIELD: rules <\[\]Object>/);
    expect(await kubectl.ok('explain', 'responsepolicies.spec.dryRun')).toMatch(/FIELD: dryRun <boolean>/);
    expect(await kubectl.ok('explain', 'spp.metadata.labels')).toMatch(/FIELD: labels <map\[string\]string>/);
    expect(await kubectl.ok('explain', 'spp', '--recursive')).toMatch(/\n {4}modes\t<Object>\n/);
    const unknown = await kubectl.run(['explain', 'spp.spec.nothing']);
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringMatching(/field "nothing" does not exist/)]);
    expect(await kubectl.ok('explain', 'pods')).toMatch(
      /KIND: +Pod[\s\S]*keeps no schema of a Pod: ask a real cluster/,
    );
  });

  test('other commands - version, resources and raw paths', async () => {
    expect(await kubectl.ok('version')).toMatch(/Server Version: v1\.32\.0/);
    const resources = await kubectl.ok('api-resources');
    for (const name of ['pods', 'nodes', 'leases', 'networkpolicies', 'poddisruptionbudgets'])
      expect(resources).toContain(name);
    expect(await kubectl.ok('get', '--raw', '/readyz')).toBe('ok');
    expect(await kubectl.ok('get', 'ns', 'kube-system')).toMatch(/kube-system +Active/);
  });
}

if (missing === undefined) describe('kubectl', kubectlTests);
else test('kubectl', ({ skip }) => skip(missing));
