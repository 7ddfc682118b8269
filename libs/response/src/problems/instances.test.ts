import type { InstanceStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { refusalProblems, rightsProblems } from './instances.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const KEY = 'correlation.cluster._.mine';
const instance = (part: Partial<InstanceStatus> = {}): InstanceStatus => ({
  service: 'correlator',
  instance: 'a',
  version: '0.1.0',
  startedAt: '2026-11-25T11:00:00Z',
  updatedAt: '2026-11-25T11:59:55Z',
  configRevision: 7,
  configRefused: [{ key: KEY, reason: `${KEY}: refused\ntimespan: "1w" is not a duration` }],
  ...part,
});

it('rights that a service lacks - are reported once, and end with it; control: none are missing', () => {
  const lacking = (missingRights: string[], part = {}) => instance({ service: 'responder', missingRights, ...part });
  const replicas = [lacking(['delete pods', 'patch pods']), lacking(['delete pods'])];
  expect(rightsProblems(replicas, NOW)).toMatchObject([
    {
      node: 'responder',
      severity: 'shout',
      exitCode: 6,
      text: expect.stringMatching(/^may not delete pods, patch pods at/),
    },
  ]);
  expect(rightsProblems([instance({ service: 'responder' })], NOW)).toEqual([]);
  expect(rightsProblems([lacking(['delete pods'], { stoppedAt: '2026-11-25T11:59:56Z' })], NOW)).toEqual([]);
});

describe('refused configuration of services', () => {
  it('two replicas that refuse the same value - reported once, with the reason and what to do', () => {
    expect(refusalProblems([instance(), instance({ instance: 'b' })], NOW)).toEqual([
      {
        severity: 'shout',
        area: 'configuration',
        node: 'correlator',
        text: `refuses ${KEY}, the last good value stays in force: timespan: "1w" is not a duration`,
        remedy: `bailiff config get ${KEY}; bailiff config rollback ${KEY}`,
        exitCode: 6,
      },
    ]);
  });
  it('one of two - the line says so; another service has its own line', () => {
    const problems = refusalProblems(
      [instance(), instance({ instance: 'b', configRefused: [] }), instance({ service: 'responder' })],
      NOW,
    );
    const texts = problems.map(({ node, text }) => `${node} ${text}`);
    expect(texts).toEqual([
      expect.stringContaining('correlator refuses correlation.cluster._.mine (1 of 2 instances), '),
      expect.stringContaining('responder refuses correlation.cluster._.mine, '),
    ]);
    expect(problems.map(({ remedy }) => remedy)).toEqual([
      expect.stringMatching(/^others accept this value, and a rollback would take it from them too/),
      `bailiff config get ${KEY}; bailiff config rollback ${KEY}`,
    ]);
  });
  it('two of different versions that refuse it for different reasons - none accepts it, and the way back is proposed', () => {
    const other = instance({ instance: 'b', configRefused: [{ key: KEY, reason: 'unknown field "window"' }] });
    const problems = refusalProblems([instance(), other], NOW);
    expect(problems.map(({ text }) => text)).toEqual([
      expect.stringMatching(/\(1 of 2 instances\).*not a duration$/),
      expect.stringMatching(/\(1 of 2 instances\).*unknown field "window"$/),
    ]);
    for (const { remedy } of problems) expect(remedy).toBe(`bailiff config get ${KEY}; bailiff config rollback ${KEY}`);
    // Control: a third one accepts it.
    const third = refusalProblems([instance(), other, instance({ instance: 'c', configRefused: [] })], NOW);
    for (const { remedy } of third) expect(remedy).toMatch(/^others accept this value/);
  });
  it('custom resources that the leader does not accept - are named with the command that shows them', () => {
    const configRefused = [
      { key: 'RuntimePolicy/no.shell', reason: 'spec.rules: too few' },
      { key: 'SpoofPolicy', reason: 'not permitted' },
    ];
    const replicas = [
      instance({ service: 'ipam-sync', configRefused }),
      instance({ service: 'ipam-sync', configRefused: [] }),
    ];
    expect(refusalProblems(replicas, NOW)).toMatchObject([
      {
        text: 'does not accept RuntimePolicy/no.shell, what was in force before stays: spec.rules: too few',
        remedy: 'kubectl describe runtimepolicy no.shell',
        exitCode: 6,
      },
      { text: expect.stringMatching(/does not accept SpoofPolicy,/), remedy: expect.stringMatching(/list and watch/) },
    ]);
  });
  it('none - nothing; and of an instance that is silent nothing is known', () => {
    expect(refusalProblems([instance({ configRefused: [] })], NOW)).toEqual([]);
    expect(refusalProblems([instance({ updatedAt: '2026-11-25T11:58:00Z' })], NOW)).toEqual([]);
  });
});
