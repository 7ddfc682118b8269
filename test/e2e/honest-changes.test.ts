/**
 * What administrators do every day is no attack: replaced pods, a drain, a removal by force, a collector
 * that is killed. While the pods talk, there is no verdict and no dead letter, nothing is lost, and every
 * interface is guarded afterwards. The control is an attack in the same lab.
 */
import { streamInfo } from '@bailiff/bus';
import { type Lab, startLab } from '@bailiff/lab';
import { castOf, chainRun, Talk } from '@bailiff/lab/attack';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kubectl, uniqueId } from './support.ts';

const PODS = 6;
const ROUNDS = 3;

describe('honest changes', () => {
  let lab: Lab;
  const k = (...args: string[]) => kubectl(lab.kubeconfig('admin'), ...args);
  const uids = () => lab.pods().map(({ uid }) => uid);

  beforeAll(async () => {
    lab = await startLab({ id: uniqueId('h'), cni: 'bridge', enforce: true });
  });
  afterAll(async () => lab?.stop());

  /** Waits until the former pods are gone and as many others run and are guarded. */
  async function replaced(gone: readonly string[]): Promise<void> {
    const isReplaced = () => lab.pods().length === PODS && !uids().some((uid) => gone.includes(uid));
    await waitFor(isReplaced, { what: 'other pods', timeoutMs: 120_000, state: () => lab.pods() });
    await lab.awaitReady();
  }

  /** Each pod talks to the next one. */
  async function talkAll(): Promise<void> {
    const all = uids();
    const talks = await Promise.all(
      all.map((uid, index) => Talk.start(lab, uid, all[(index + 1) % all.length] as string, ROUNDS)),
    );
    for (const { sent, received } of await Promise.all(talks.map((talk) => talk.finish()))) {
      expect(sent).toBeGreaterThan(0);
      expect(received).toBe(sent);
    }
  }

  async function stored(...streams: string[]): Promise<number[]> {
    const bus = await lab.bus('admin');
    try {
      return await Promise.all(streams.map(async (name) => (await streamInfo(bus, name)).state.messages));
    } finally {
      await bus.close();
    }
  }
  const judged = () => stored('VERDICTS', 'DEAD_LETTERS', 'RESPONSES');

  it('a rollout: every pod is replaced', async () => {
    await talkAll();
    const before = uids();
    await k('delete', 'pods', '-l', 'app=web', '--wait=false');
    await replaced(before);
    await talkAll();
    expect(await judged()).toEqual([0, 0, 0]);
  });

  it('a drain: the pods of a node go to another one, and back', async () => {
    const name = lab.parts.plan.nodes[0]?.name ?? '';
    const moved = lab.pods().flatMap(({ uid, node }) => (node === name ? [uid] : []));
    await k('drain', name, '--ignore-daemonsets', '--force', '--grace-period=1', '--timeout=60s');
    await replaced(moved);
    expect(lab.pods().filter(({ node }) => node === name)).toEqual([]);
    await k('uncordon', name);
    const some = uids().slice(0, 3);
    await k(
      'delete',
      'pods',
      ...lab.pods().flatMap((pod) => (some.includes(pod.uid) ? [pod.name] : [])),
      '--wait=false',
    );
    await replaced(some);
    await talkAll();
    expect(await judged()).toEqual([0, 0, 0]);
  });

  it('removed by force: the containers run on for a moment, and no node is blamed', async () => {
    const removed = lab.pods().slice(0, 3);
    const talks = await Promise.all(
      removed.map(({ uid }, index) => Talk.start(lab, uid, removed[(index + 1) % removed.length]!.uid)),
    );
    await waitFor(() => talks.every(({ counts }) => counts.sent > 0), { what: 'them to talk' });
    await k('delete', 'pods', ...removed.map(({ name }) => name), '--force', '--grace-period=0', '--wait=false');
    await Promise.all(talks.map((talk) => talk.finish()));
    await replaced(removed.map(({ uid }) => uid));
    await talkAll();
    expect(await judged()).toEqual([0, 0, 0]);
  });

  it('a collector is killed while pods are replaced', async () => {
    const since = new Date().toISOString();
    const before = uids();
    for (const { name } of lab.parts.plan.nodes) lab.child(`collector-${name}`).kill('SIGKILL');
    await k('delete', 'pods', '-l', 'app=web', '--wait=false');
    await replaced(before);
    await lab.awaitReady({ since });
    await talkAll();
    expect(await judged()).toEqual([0, 0, 0]);
  });

  it('control: an attack is a verdict, and its pod is deleted', async () => {
    const { tally, deleted } = await chainRun(lab, castOf(lab));
    expect(deleted).toBe(true);
    expect(tally.verdicts.length).toBeGreaterThan(0);
    expect((await judged())[0]).toBeGreaterThan(0);
  });
});
