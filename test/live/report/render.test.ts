import { expect, it } from 'vitest';
import type { Facts } from '../cluster/facts.ts';
import { renderFacts, renderJson, renderJunit, renderTable } from './render.ts';
import type { Result } from './result.ts';

const facts: Facts = {
  date: '2026-11-28T08:00:00.000Z',
  commit: 'abc1234',
  server: 'F',
  kubernetes: 'v1.34.9',
  nodes: 1,
  node: 'n1',
  kernel: '6.18',
  runtime: 'containerd://1.7',
  os: 'Debian "13"',
  cni: 'bridge+portmap',
  ipFamilies: ['IPv4', 'IPv6'],
  nodeJs: 'v24.1.0',
  images: [],
};
const results: Result[] = [
  {
    scenario: 'spoof-ipv4-source',
    status: 'passed',
    detail: '200 forged packets: 0 landed, 200 counted on the bus',
    counts: [
      {
        vector: 'ipv4-source',
        control: { sent: 200, landed: 200 },
        guarded: { sent: 200, landed: 0, counted: 200 },
      },
    ],
    measured: {},
    seconds: 1.25,
  },
  {
    scenario: 'verdict-delete',
    status: 'failed',
    detail: 'pod "a" <b> & c\n\u001b[31m',
    counts: [],
    measured: {},
    seconds: 2,
  },
  { scenario: 'lsm-exec', status: 'skipped', detail: 'no BPF-LSM', counts: [], measured: {}, seconds: 0 },
];

it('renderTable shows each scenario with its reason, then the counts', () => {
  expect(renderTable(results).split('\n')).toEqual([
    'ok       spoof-ipv4-source  1.3 s  200 forged packets: 0 landed, 200 counted on the bus',
    'FAILED   verdict-delete     2.0 s  pod "a" <b> & c [31m',
    'skipped  lsm-exec           0.0 s  no BPF-LSM',
    '',
    'ATTACK             LANDED UNGUARDED  LANDED GUARDED  COUNTED',
    'spoof-ipv4-source',
    '  ipv4-source      200/200           0/200           200',
    '',
    '1 passed, 1 failed, 1 skipped',
    '',
  ]);
});

it('renderJunit is well-formed for hostile text', () => {
  const lines = renderJunit(results, facts).split('\n');
  expect(lines[2]).toBe('  <testsuite name="live" tests="3" failures="1" skipped="1" time="3.250">');
  expect(lines).toContain('      <property name="os" value="Debian &quot;13&quot;"/>');
  expect(lines).toContain('      <failure message="pod &quot;a&quot; &lt;b&gt; &amp; c [31m"/>');
  expect(lines).toContain('    <testcase classname="bailiff.live" name="spoof-ipv4-source" time="1.250"/>');
  expect(lines).toContain('      <skipped message="no BPF-LSM"/>');
});

it('renderJson keeps facts, summary and counts', () => {
  const report = JSON.parse(renderJson(results, facts));
  expect(report.summary).toEqual({ passed: 1, failed: 1, skipped: 1 });
  expect(report.results[0].counts[0].guarded).toEqual({ sent: 200, landed: 0, counted: 200 });
  expect(report.facts.kernel).toBe('6.18');
});

it('renderFacts joins lists', () => {
  expect(renderFacts(facts)).toContain('ipFamilies  IPv4, IPv6\n');
});
