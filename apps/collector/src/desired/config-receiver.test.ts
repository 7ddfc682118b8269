import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { sampleInterfaces, samplePodIdentity } from '@bailiff/schemas/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Binding } from '../identity/identity.ts';
import { ConfigReceiver } from './config-receiver.ts';
import { DesiredState } from './desired-state.ts';
import { DocumentCache } from './document-cache.ts';

const pod = (uid: string, address: string) =>
  samplePodIdentity({ uid, name: uid, interfaces: sampleInterfaces(address), allowedPrefixes: ['x'] });
const pods = (revision: number, list: object[], nodeName = 'n1') =>
  ({ what: 'pods', key: 'n1', json: JSON.stringify({ nodeName, revision, pods: list }) }) as const;
const audit = { what: 'config', key: 'spoof.namespace.shop.default', json: '{"modes":{"tunnel":"audit"}}' } as const;
const bound = (podUid: string, address: string): Binding => ({
  source: 'cni',
  podUid,
  podNamespace: 'shop',
  podName: podUid,
  ifName: 'eth0',
  mac: '',
  addresses: [address],
  link: { name: podUid, mac: '', linkNetnsid: 1 },
});

describe('config receiver', () => {
  let dir: string;
  let bindings: Binding[];
  let events: string[];
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'bailiff-config-receiver-'));
    bindings = [];
    events = [];
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  /** Starts a process: its desired state after restoring the cached documents. */
  const begin = () => {
    const desired = new DesiredState('n1');
    const receiver = new ConfigReceiver({
      desired,
      documents: new DocumentCache(dir, { onProblem: (_, reason) => events.push(reason) }),
      runtime: { restore: () => {}, receive: () => {}, synced: () => {} },
      latency: { documentApplied: () => {} },
      bindings: () => bindings,
      nowMicros: () => 0,
      engines: [{ apply: () => events.push('changed') }],
      onRefused: ({ what }, reason) => events.push(`refused ${what}: ${reason}`),
      problems: {
        report: (part, _key, reason) => events.push(`problem ${part}: ${reason}`),
        attempt: (_part, action) => action(),
      },
    });
    receiver.restore();
    return { desired, receiver };
  };
  const mode = ({ desired }: ReturnType<typeof begin>) => desired.modesOf(null, 'shop').tunnel;

  it('accepted documents - in force in the next process; rejected documents and left-out prefixes are reported', () => {
    const first = begin();
    first.receiver.receive(pods(3, [pod('a', '10.0.0.2')]));
    first.receiver.receive(audit);
    first.receiver.receive(pods(4, [], 'n2'));
    first.receiver.receive({ ...audit, json: '{' });
    first.receiver.receive({ what: 'pods', key: 'n1', json: null });
    expect(events).toEqual([
      'problem pods: dropped value: pod shop/a: not an IP address: "x"',
      'changed',
      'changed',
      expect.stringMatching(/^refused pods: .*n2/),
      expect.stringMatching(/^refused config/),
    ]);
    const second = begin();
    expect([[...second.desired.pods.keys()], mode(second), [...second.desired.known].sort()]).toEqual([
      ['a'],
      'audit',
      ['pods', 'spoof'],
    ]);
  });
  it('key deleted while not connected - removed when the bus sent every key, unless its bucket was recreated', () => {
    begin().receiver.receive(audit);
    const lost = begin();
    lost.receiver.configSynced('spoof', null);
    expect(mode(lost)).toBe('audit');
    const deleted = begin();
    deleted.receiver.configSynced('disarm', new Set());
    expect(mode(deleted)).toBe('audit');
    deleted.receiver.configSynced('spoof', new Set());
    expect([mode(deleted), mode(begin())]).toEqual(['enforce', 'enforce']);
  });
  it('snapshot that the bindings contradict - withdrawn, also from disk', () => {
    const first = begin();
    first.receiver.receive(pods(1, [pod('a', '9.9.9.1'), pod('b', '9.9.9.2')]));
    bindings = [bound('a', '10.0.0.1'), bound('b', '10.0.0.2')];
    first.receiver.recheckPods();
    expect(events.slice(-2)).toEqual([expect.stringMatching(/^refused pods: .*2 of 2/), 'changed']);
    expect([first.desired.pods.size, readdirSync(path.join(dir, 'bus'))]).toEqual([0, []]);
  });
});
