// Leader election against the API stand-in: never two at once, failover by release and by expiry,
// partitions.
import { LeaderElector } from '@bailiff/kube';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { type KubeHarness, startKube } from '../support/kube.ts';

/**
 * Candidates and server share this process. The lease is longer than any delay of it, so that only
 * a test ends the lease.
 */
const PATIENT = { durationMs: 20_000, renewDeadlineMs: 15_000, retryMs: 100 };
/** For tests that wait for the expiry of a lease. */
const SHORT = { durationMs: 3_000, renewDeadlineMs: 2_000, retryMs: 100 };

function candidate(kube: KubeHarness, identity: string, { eligible = (): boolean => true, timing = PATIENT } = {}) {
  const stop = new AbortController();
  const terms: AbortSignal[] = [];
  const errors: string[] = [];
  const elector = new LeaderElector({
    client: kube.client({ user: identity }),
    namespace: 'default',
    name: 'test',
    identity,
    timing,
    eligible,
    onLeading: (term) => terms.push(term),
    onError: ({ code }) => errors.push(code),
  });
  const running = elector.run(stop.signal);
  return {
    elector,
    terms,
    errors,
    async crash() {
      stop.abort();
      await running;
    },
    async leave() {
      stop.abort();
      await running;
      await elector.release();
    },
  };
}

/** `a` leads, and `b` has seen it. */
async function pair(kube: KubeHarness, timing = PATIENT) {
  const a = candidate(kube, 'a', { timing });
  await waitFor(() => a.elector.isLeader);
  const b = candidate(kube, 'b', { timing });
  await waitFor(() => b.elector.holder === 'a');
  return { a, b };
}

const tokens = ['a', 'b', 'c'].map((user) => ({ user, token: `token-of-${user}`, groups: ['system:masters'] }));

const lease = (kube: KubeHarness) =>
  kube.server.api.get('leases.coordination.k8s.io', { namespace: 'default', name: 'test' }) as unknown as {
    metadata: { resourceVersion: string };
    spec: { holderIdentity: string; leaseTransitions: number; acquireTime: string; renewTime: string };
  };

describe('leader election', () => {
  test('leader election - of three, one leads, and stays leader', async () => {
    await using kube = await startKube({ tokens });
    const all = ['a', 'b', 'c'].map((identity) => candidate(kube, identity));
    const leaders = () => all.filter(({ elector }) => elector.isLeader);
    await waitFor(() => leaders().length === 1);
    const [leader] = leaders();
    await waitFor(() => kube.server.requests.count({ verb: 'update', resource: 'leases' }) > 15);
    expect(leaders()).toEqual([leader]);
    expect(all.map(({ terms }) => terms.length).sort()).toEqual([0, 0, 1]);
    for (const one of all) await one.leave();
  });

  test('leader election - a release is a failover at once', async () => {
    await using kube = await startKube({ tokens });
    const { a, b } = await pair(kube);
    const startedAtMs = performance.now();
    await a.leave();
    expect(a.elector.isLeader).toBe(false);
    expect(a.terms[0]?.aborted).toBe(true);
    await waitFor(() => b.elector.isLeader);
    expect(performance.now() - startedAtMs).toBeLessThan(PATIENT.durationMs);
    await b.leave();
  });

  test('leader election - a shutdown that interrupts a renewal releases the lease too', async () => {
    await using kube = await startKube({ tokens });
    const { a, b } = await pair(kube);
    const held = kube.server.faults.inject({ hold: true, resource: 'leases', verb: 'update', user: 'a' });
    await waitFor(() => held.hits === 1);
    await a.leave();
    expect(lease(kube).spec.holderIdentity).toBe('');
    await waitFor(() => b.elector.isLeader);
    held.release();
    held.remove();
    await b.leave();
  });

  test('leader election - a crash is a failover after the duration', async () => {
    await using kube = await startKube({ tokens });
    const { a, b } = await pair(kube, SHORT);
    await a.crash();
    const left = lease(kube).spec;
    expect(left.holderIdentity).toBe('a');
    await waitFor(() => b.elector.isLeader);
    const taken = lease(kube).spec;
    expect(taken).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
    // It saw the last renewal after that was written. One of the two times is truncated to
    // milliseconds.
    const waitedMs = Date.parse(taken.acquireTime) - Date.parse(left.renewTime);
    expect(waitedMs).toBeGreaterThanOrEqual(SHORT.durationMs - 2);
    await b.leave();
  });

  test('leader election - a leader without a connection steps down before another leads', async () => {
    await using kube = await startKube({ tokens });
    const { a, b } = await pair(kube, SHORT);
    let both = false;
    const look = setInterval(() => {
      both ||= a.elector.isLeader && b.elector.isLeader;
    }, 5);
    const held = kube.server.faults.inject({ hold: true, resource: 'leases', user: 'a', times: Infinity });
    await waitFor(() => b.elector.isLeader, { state: () => [a.errors, b.errors] });
    expect(a.terms[0]?.aborted).toBe(true);
    expect(a.errors).toContain('KUBE_TIMEOUT');
    // The held requests arrive now, based on versions that are long outdated.
    const { resourceVersion } = lease(kube).metadata;
    held.release();
    held.remove();
    await waitFor(() => a.elector.holder === 'b' && lease(kube).metadata.resourceVersion !== resourceVersion);
    expect(lease(kube).spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
    clearInterval(look);
    expect(both).toBe(false);
    await a.leave();
    await b.leave();
  });

  test('leader election - confirm detects that another leader took over', async () => {
    await using kube = await startKube({ tokens });
    const a = candidate(kube, 'a');
    await waitFor(() => a.elector.isLeader);
    expect(await a.elector.confirm()).toBe(true);
    const held = kube.server.api.get('leases.coordination.k8s.io', { namespace: 'default', name: 'test' });
    const overtaken = { ...held, spec: { ...(held as unknown as { spec: object }).spec, holderIdentity: 'z' } };
    kube.server.api.update('leases.coordination.k8s.io', { namespace: 'default', name: 'test' }, overtaken);
    expect(await a.elector.confirm()).toBe(false);
    expect(a.elector.isLeader).toBe(false);
    expect(a.terms[0]?.aborted).toBe(true);
    await a.crash();
  });

  test('leader election - a candidate that cannot do the work does not compete, and a leader releases the lease', async () => {
    await using kube = await startKube({ tokens });
    let able = true;
    const a = candidate(kube, 'a', { eligible: () => able });
    await waitFor(() => a.elector.isLeader);
    const b = candidate(kube, 'b');
    able = false;
    await waitFor(() => b.elector.isLeader);
    expect(a.terms[0]?.aborted).toBe(true);
    able = true;
    await b.leave();
    await waitFor(() => a.elector.isLeader);
    expect(a.terms).toHaveLength(2);
    await a.leave();
  });

  test('leader election - a deleted lease is recreated, in a new term', async () => {
    await using kube = await startKube({ tokens });
    const a = candidate(kube, 'a');
    await waitFor(() => a.elector.isLeader);
    kube.server.api.delete('leases.coordination.k8s.io', { namespace: 'default', name: 'test' });
    await waitFor(() => a.terms.length === 2 && a.elector.isLeader, { state: () => a.errors });
    expect(a.terms[0]?.aborted).toBe(true);
    await a.leave();
  });

  test('leader election - without the right to the lease there is no leader, and the error is reported', async () => {
    const deny = [{ resources: ['leases'], verbs: ['*'] }];
    await using kube = await startKube({ tokens: [{ user: 'a', token: 'token-of-a', deny }] });
    const a = candidate(kube, 'a');
    await waitFor(() => a.errors.includes('KUBE_FORBIDDEN'));
    expect(a.elector.isLeader).toBe(false);
    expect(a.elector.silentMs).toBe(Infinity);
    await a.crash();
  });
});
