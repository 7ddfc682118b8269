import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { type ConfigSigners, NO_SIGNERS, parseSigners, SignedConfig } from '@bailiff/policy';
import { newSigner, signedBy, signerLine } from '@bailiff/policy/testing';
import { sampleInterfaces, samplePodIdentity } from '@bailiff/schemas/testing';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
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
  /** Runtime policies that were restored or received. */
  let policies: string[];
  let signers: ConfigSigners;
  /** Time that a pass takes, with fake timers. */
  let passMs: number;
  beforeEach(() => {
    dir = temporaryDirectory();
    bindings = [];
    events = [];
    policies = [];
    signers = NO_SIGNERS;
    passMs = 0;
  });
  /** Starts a process: its desired state after restoring the cached documents. */
  const begin = () => {
    const desired = new DesiredState('n1');
    const receiver = new ConfigReceiver({
      desired,
      documents: new DocumentCache(dir, { onProblem: (_, reason) => events.push(reason) }),
      runtime: {
        restore: ({ key }) => policies.push(key),
        receive: ({ key, json }) => policies.push(`${key} ${json}`),
        policyKeys: () => policies,
        synced: () => {},
      },
      signed: new SignedConfig(signers),
      latency: { documentApplied: () => {} },
      bindings: () => bindings,
      nowMicros: () => 0,
      engines: [
        {
          apply: () => {
            events.push('changed');
            if (passMs > 0) vi.advanceTimersByTime(passMs);
          },
        },
      ],
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
  describe('signed configuration', () => {
    const anna = newSigner('anna');
    const policy = 'runtime.cluster._.no-shell';
    const signed = (atMs: number, json: string | null, key: string = audit.key) =>
      ({ what: 'config', ...signedBy(anna, key, json, atMs) }) as const;
    const off = '{"modes":{"tunnel":"off"}}';
    const refused = ({ desired }: ReturnType<typeof begin>) => Object.fromEntries(desired.configRefused);

    it('unsigned values, deletions and vanished keys - refused; control: obeyed without signers', () => {
      const results = ['', signerLine(anna)].map((text) => {
        rmSync(path.join(dir, 'bus'), { recursive: true, force: true });
        signers = text === '' ? NO_SIGNERS : parseSigners(text);
        const one = begin();
        one.receiver.receive(signed(1, audit.json));
        one.receiver.receive({ ...audit, json: off });
        const afterValue = mode(one);
        one.receiver.receive({ ...audit, json: null });
        const afterDeletion = mode(one);
        one.receiver.receive(signed(1, audit.json));
        one.receiver.configSynced('spoof', new Set());
        return [afterValue, afterDeletion, mode(one), refused(one)];
      });
      expect(results).toEqual([
        ['off', 'enforce', 'enforce', {}],
        ['audit', 'audit', 'audit', { [audit.key]: 'the deletion is not signed' }],
      ]);
    });
    it('runtime policies - only signed ones and signed deletions pass', () => {
      signers = parseSigners(signerLine(anna));
      const { receiver, desired } = begin();
      receiver.receive({ what: 'config', key: policy, json: '{"a":1}' });
      expect([policies, desired.configRefused.size]).toEqual([[], 1]);
      receiver.receive(signed(1, '{"b":1}', policy));
      expect(desired.configRefused.size).toBe(0);
      policies = [policy];
      receiver.configSynced('runtime', new Set());
      receiver.receive(signed(2, null, policy));
      expect(policies).toEqual([policy, `${policy} null`]);
    });
    it('restart - the memory of signed values and deletions stays, so old ones do not return', () => {
      signers = parseSigners(signerLine(anna));
      const first = begin();
      first.receiver.receive(signed(1, off));
      first.receiver.receive(signed(2, audit.json));
      const second = begin();
      second.receiver.receive(signed(1, off));
      expect([mode(second), refused(second)[audit.key]]).toEqual(['audit', expect.stringMatching(/^an old value/)]);
      second.receiver.receive(signed(3, null));
      const third = begin();
      third.receiver.receive(signed(2, audit.json));
      expect([mode(third), refused(third)[audit.key]]).toEqual(['enforce', expect.stringMatching(/^an old value/)]);
    });
    it('restart with other signers - values of the former ones are not in force, and those cached unsigned neither', () => {
      signers = parseSigners(signerLine(anna));
      begin().receiver.receive(signed(1, audit.json));
      signers = parseSigners(signerLine(newSigner('berta')));
      const second = begin();
      expect([mode(second), refused(second)[audit.key]]).toEqual(['enforce', expect.stringContaining('may not sign')]);
      signers = NO_SIGNERS;
      const third = begin();
      third.receiver.receive(audit);
      expect(mode(third)).toBe('audit');
      signers = parseSigners(signerLine(anna));
      const fourth = begin();
      expect([mode(fourth), refused(fourth)]).toEqual(['enforce', { [audit.key]: 'the value is not signed' }]);
    });
    it('absent - a key for which the signers state a time is reported until it has a signed value', () => {
      signers = parseSigners(`${signerLine(anna)}\nsince 1970-01-01T00:00:00.002Z ${audit.key}`);
      const one = begin();
      one.receiver.configSynced('spoof', new Set());
      expect(refused(one)[audit.key]).toContain('the bus has no value or deletion signed at');
      one.receiver.receive({ what: 'config', key: audit.key, json: null });
      expect(refused(one)[audit.key]).toBe('the deletion is not signed');
      one.receiver.receive(signed(1, off));
      expect(mode(one)).toBe('enforce');
      one.receiver.receive(signed(2, audit.json));
      expect([mode(one), refused(one)]).toEqual(['audit', {}]);
    });
  });
  it('lists that come faster than they are applied - one pass applies them; quarantines wait only for each other, and control: short passes', () => {
    vi.useFakeTimers();
    const list = (revision: number) => pods(revision, [pod('a', `10.0.0.${revision}`)]);
    const quarantine = (revision: number) => {
      const entry = { podUid: `pod-${revision}`, verdictId: 'v', until: '2126-01-01T00:00:00Z', reason: 'r' };
      const json = JSON.stringify({ nodeName: 'n1', revision, entries: [entry] });
      return { what: 'quarantine', key: 'n1', json } as const;
    };
    const passes = () => events.filter((event) => event === 'changed').length;
    const { desired, receiver } = begin();
    for (let n = 1; n <= 5; n += 1) receiver.receive(list(n));
    expect(passes()).toBe(5);
    passMs = 1_600;
    for (let n = 6; n <= 20; n += 1) receiver.receive(list(n));
    expect([passes(), desired.snapshotRevision]).toEqual([6, 20]);
    // Those of a tenant, and the last one of a neighbour, which arrived during that pass.
    for (let n = 1; n <= 50; n += 1) receiver.receive(quarantine(n));
    vi.advanceTimersByTime(0);
    expect(passes()).toBe(7);
    receiver.receive(list(21));
    vi.advanceTimersByTime(1_599);
    expect(passes()).toBe(7);
    vi.advanceTimersByTime(1);
    expect(passes()).toBe(8);
    receiver.receive(list(22));
    receiver.receive(quarantine(51));
    receiver.close();
    vi.advanceTimersByTime(60_000);
    expect(passes()).toBe(8);
    receiver.receive(quarantine(52));
    expect(passes(), 'after the pause at once').toBe(9);
    passMs = 0;
    vi.advanceTimersByTime(60_000);
    const before = passes();
    for (let n = 53; n <= 60; n += 1) receiver.receive(quarantine(n));
    expect(passes(), 'control: short passes').toBe(before + 8);
    vi.useRealTimers();
  });
  it('snapshot without the pods of the node - its other pods are in force, but not those of the next process', () => {
    const all = ['a', 'b', 'c', 'd'];
    const first = begin();
    bindings = all.map((uid) => bound(uid, '10.0.0.2'));
    first.receiver.receive(
      pods(
        1,
        all.map((uid) => pod(uid, '10.0.0.2')),
      ),
    );
    first.receiver.receive(pods(2, [pod('e', '10.0.0.2')]));
    expect(events.slice(-2)).toEqual([expect.stringMatching(/^refused pods: .*lacks 4 of 4/), 'changed']);
    expect([...first.desired.pods.keys()].sort()).toEqual([...all, 'e']);
    expect([...begin().desired.pods.keys()].sort()).toEqual(all);
  });
  it('snapshot that the bindings contradict - its addresses are withdrawn, and it leaves the disk', () => {
    const first = begin();
    first.receiver.receive(pods(1, [pod('a', '9.9.9.1'), pod('b', '9.9.9.2')]));
    bindings = [bound('a', '10.0.0.1'), bound('b', '10.0.0.2')];
    first.receiver.recheckPods();
    expect(events.slice(-2)).toEqual([expect.stringMatching(/^refused pods: .*2 of 2/), 'changed']);
    const addresses = [...first.desired.pods.keys()].map((uid) => [uid, ...first.desired.addressesOf(uid)]);
    expect([addresses, readdirSync(path.join(dir, 'bus'))]).toEqual([[['a'], ['b']], []]);
  });
});
