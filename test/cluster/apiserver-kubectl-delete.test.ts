// Stock kubectl against the API stand-in: delete, drain, and wait.

import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { KubectlBench, kubectlIsMissing } from './contract/kubectl-bench.ts';

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

  test('delete - waits until the node has confirmed', async () => {
    const { uid } = bench.makePod(ns, 'slow', 'n-delete').metadata;
    const deleting = kubectl.run(['delete', 'pod', 'slow', '-n', ns]);
    const ref = { namespace: ns, name: 'slow' };
    await waitFor(() => server.api.get('pods', ref).metadata.deletionTimestamp, { what: 'the mark' });
    let over = false;
    void deleting.then(() => {
      over = true;
    });
    await waitFor(() => server.openWatches() > 0, { what: 'kubectl watches' });
    expect(over).toBe(false);
    server.api.delete('pods', ref, { gracePeriodSeconds: 0, preconditions: { uid } });
    expect(await deleting).toMatchObject({ code: 0, stdout: 'pod "slow" deleted\n' });
  });

  test('delete - without waiting, with --force, and of an object that does not exist', async () => {
    bench.makePod(ns, 'marked', 'n-delete');
    await kubectl.ok('delete', 'pod', 'marked', '-n', ns, '--wait=false', '--grace-period=7');
    expect(server.api.get('pods', { namespace: ns, name: 'marked' }).metadata.deletionGracePeriodSeconds).toBe(7);
    await kubectl.ok('delete', 'pod', 'marked', '-n', ns, '--force', '--grace-period=0');
    expect((await kubectl.run(['delete', 'pod', 'marked', '-n', ns])).stderr).toMatch(/NotFound/);
    expect((await kubectl.run(['delete', 'pod', 'marked', '-n', ns, '--ignore-not-found'])).code).toBe(0);
  });

  test('delete - with a uid, only that pod is deleted', async () => {
    const { uid } = bench.makePod(ns, 'exact', 'n-delete').metadata;
    const path = `/api/v1/namespaces/${ns}/pods/exact`;
    const options = (wanted: string) =>
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        preconditions: { uid: wanted },
        gracePeriodSeconds: 3,
      });
    const wrong = await kubectl.run(
      ['delete', '--raw', path, '-f', '-'],
      options('c0ffee00-0000-4000-8000-000000000000'),
    );
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toMatch(/Conflict.*the UID in the precondition/);
    expect(server.api.get('pods', { namespace: ns, name: 'exact' }).metadata.deletionTimestamp).toBeUndefined();
    const right = await kubectl.run(['delete', '--raw', path, '-f', '-'], options(uid));
    expect(right.code, right.stderr).toBe(0);
    expect(server.api.get('pods', { namespace: ns, name: 'exact' }).metadata.deletionGracePeriodSeconds).toBe(3);
  });

  test('delete - a namespace is deleted with its objects', async () => {
    bench.confirmDeletions();
    bench.makePod(ns, 'inside', 'n-delete');
    server.api.create('configmaps', { metadata: { name: 'inside' } }, ns);
    expect(await kubectl.ok('delete', 'namespace', ns)).toBe(`namespace "${ns}" deleted\n`);
    expect(server.api.list('pods', ns).items).toEqual([]);
    expect(server.api.list('configmaps', ns).items).toEqual([]);
  });

  test('drain - refuses pods without a controller, ignores daemons', async () => {
    bench.makeNode('n-lone');
    const owner = server.api.create(
      'daemonsets.apps',
      { metadata: { name: 'daemon' }, spec: { selector: {} } },
      ns,
    ).metadata;
    bench.makePod(ns, 'daemon-1', 'n-lone', {
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'daemon', uid: owner.uid, controller: true }],
    });
    bench.makePod(ns, 'lone', 'n-lone');
    bench.confirmDeletions();
    const refused = await kubectl.run(['drain', 'n-lone', '--ignore-daemonsets']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/cannot delete Pods that declare no controller/);
    expect(server.api.list('pods', ns).items).toHaveLength(2);
    const forced = await kubectl.ok('drain', 'n-lone', '--ignore-daemonsets', '--force');
    expect(forced).toMatch(/pod\/lone evicted/);
    expect(server.api.list('pods', ns).items.map((pod) => pod.metadata.name)).toEqual(['daemon-1']);
    expect(server.api.get('nodes', { name: 'n-lone' }).spec?.['unschedulable']).toBe(true);
  });

  test('drain - a budget delays the second pod until the first is replaced', async () => {
    bench.makeNode('n-drain');
    const owner = server.api.create(
      'replicasets.apps',
      { metadata: { name: 'web' }, spec: { replicas: 2, selector: {} } },
      ns,
    ).metadata;
    const ownerReferences = [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: owner.uid, controller: true },
    ];
    const member = { labels: { app: 'web' }, ownerReferences };
    for (const name of ['web-1', 'web-2']) bench.makePod(ns, name, 'n-drain', member);
    const budget = { metadata: { name: 'web' }, spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } } } };
    server.api.create('poddisruptionbudgets.policy', budget, ns);
    const allowed = () =>
      server.api.get('poddisruptionbudgets.policy', { namespace: ns, name: 'web' }).status?.['disruptionsAllowed'];
    await waitFor(() => allowed() === 1, { what: 'the budget is counted' });
    bench.confirmDeletions();
    const refusedBefore = server.requests.count({ resource: 'pods/eviction', code: 429 });
    const draining = kubectl.run(['drain', 'n-drain', '--timeout=50s']);
    await waitFor(() => server.requests.count({ resource: 'pods/eviction', code: 429 }) > refusedBefore, {
      what: 'a refusal',
      timeoutMs: 20_000,
    });
    expect(server.api.list('pods', ns).items).toHaveLength(1);
    bench.makePod(ns, 'web-3', 'n-elsewhere', member);
    const result = await draining;
    expect(result.code, result.stderr).toBe(0);
    expect(result.stdout).toMatch(/node\/n-drain drained/);
    expect(result.stderr).toMatch(/Cannot evict pod as it would violate the pod's disruption budget/);
    expect(server.api.list('pods', ns).items.map((pod) => pod.metadata.name)).toEqual(['web-3']);
  });

  test('wait - for a condition and for a deletion', async () => {
    bench.makePod(ns, 'awaited', 'n-wait');
    expect(await kubectl.ok('wait', '-n', ns, '--for=condition=Ready', 'pod/awaited', '--timeout=10s')).toBe(
      'pod/awaited condition met\n',
    );
    // The watch of the command above: the server notices a moment later that it is closed.
    await waitFor(() => server.openWatches() === 0, { what: 'no watch to be open' });
    const gone = kubectl.run(['wait', '-n', ns, '--for=delete', 'pod/awaited', '--timeout=20s']);
    await waitFor(() => server.openWatches() > 0, { what: 'kubectl watches', timeoutMs: 20_000 });
    server.api.delete('pods', { namespace: ns, name: 'awaited' }, { gracePeriodSeconds: 0 });
    expect(await gone).toMatchObject({ code: 0, stdout: 'pod/awaited condition met\n' });
  });
}

if (missing === undefined) describe('kubectl deletions', kubectlTests);
else test('kubectl deletions', ({ skip }) => skip(missing));
