import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Binding } from '../identity/identity.ts';
import { Intake } from './config-receiver.ts';
import { DesiredState } from './desired-state.ts';
import { DocumentStore } from './document-cache.ts';

const pod = (uid: string, address: string) => ({
  ...{ uid, namespace: 'shop', name: uid, labels: {}, serviceAccount: '', owners: [] },
  interfaces: [{ name: 'eth0', addresses: [address], mac: null }],
  ...{ hostNetwork: false, containers: [], allowedPrefixes: ['x'], probePorts: [], revision: 1, createdAt: '' },
});
const pods = (revision: number, list: object[], nodeName = 'n1') =>
  ({ what: 'pods', key: 'n1', json: JSON.stringify({ nodeName, revision, pods: list }) }) as const;
const audit = { what: 'config', key: 'spoof.namespace.shop.default', json: '{"modes":{"tunnel":"audit"}}' } as const;
const bound = (podUid: string, address: string): Binding => ({
  ...{ source: 'cni', podUid, podNamespace: 'shop', podName: podUid, ifName: 'eth0', mac: '', addresses: [address] },
  link: { name: podUid, mac: '', linkNetnsid: 1 },
});

describe('intake', () => {
  let dir: string;
  let bindings: Binding[];
  let told: string[];
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'bailiff-intake-'));
    bindings = [];
    told = [];
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  /** A process: what it desires after taking what the last one left. */
  const begin = () => {
    const desired = new DesiredState('n1');
    const intake = new Intake({
      desired,
      documents: new DocumentStore(dir, { onProblem: ({ reason }) => told.push(reason) }),
      runtime: { restore: () => {}, take: () => {}, synced: () => {} },
      bindings: () => bindings,
      onChanged: () => told.push('changed'),
      onRefused: ({ what }, reason) => told.push(`refused ${what}: ${reason}`),
      onDropped: ({ what }, reason) => told.push(`dropped ${what}: ${reason}`),
    });
    intake.restore();
    return { desired, intake };
  };
  const mode = ({ desired }: ReturnType<typeof begin>) => desired.modesOf(null, 'shop').tunnel;

  it('what was accepted holds in the next process; what was refused or dropped is told and does not', () => {
    const first = begin();
    first.intake.take(pods(3, [pod('a', '10.0.0.2')]));
    first.intake.take(audit);
    first.intake.take(pods(4, [], 'n2'));
    first.intake.take({ ...audit, json: '{' });
    first.intake.take({ what: 'pods', key: 'n1', json: null });
    expect(told).toEqual([
      'dropped pods: pod shop/a: not an IP address: "x"',
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
  it('a key that was deleted while nobody listened is gone when the bus has told all; not when its store was lost', () => {
    begin().intake.take(audit);
    const lost = begin();
    lost.intake.configSynced('spoof', null);
    expect(mode(lost)).toBe('audit');
    const deleted = begin();
    deleted.intake.configSynced('disarm', new Set());
    expect(mode(deleted)).toBe('audit');
    deleted.intake.configSynced('spoof', new Set());
    expect([mode(deleted), mode(begin())]).toEqual(['enforce', 'enforce']);
  });
  it('a snapshot that the pods give the lie to is withdrawn, from disk as well', () => {
    const first = begin();
    first.intake.take(pods(1, [pod('a', '9.9.9.1'), pod('b', '9.9.9.2')]));
    bindings = [bound('a', '10.0.0.1'), bound('b', '10.0.0.2')];
    first.intake.rejudge();
    expect(told.slice(-2)).toEqual([expect.stringMatching(/^refused pods: .*2 of 2/), 'changed']);
    expect([first.desired.pods.size, readdirSync(path.join(dir, 'bus'))]).toEqual([0, []]);
  });
});
