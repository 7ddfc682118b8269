import { expect, it } from 'vitest';
import type { LabInfo } from '../state/state.ts';
import { USAGE } from './args.ts';
import { attackReport, upReport } from './report.ts';

const TERMINAL = 80;
const widest = (text: string) => Math.max(...text.split('\n').map((line) => line.length));

const pod = (node: string, n: number) => ({
  namespace: 'default',
  name: `web-5d4f8c7b9-${n}z6lc`,
  uid: `uid-${n}`,
  node,
  mac: '',
  hostInterface: 'veth1',
  netns: `bl-ufqwmkzr-p-f63208dd-79b${n}`,
  ips: [`10.244.1.${n}`, `fd00:10:244:1::${n}`],
});
const info: LabInfo = {
  id: 'ufqwmkzr',
  dir: '/run/bailiff-lab/ufqwmkzr',
  natsUrl: 'nats://127.0.0.1:43699',
  redisUrl: '',
  kubeconfig: '/run/bailiff-lab/ufqwmkzr/kubernetes/admin.kubeconfig',
  nodes: [{ name: 'node-0', netns: 'bl-ufqwmkzr-n0' }],
  pods: [pod('node-0', 1), pod('node-1.lab.internal', 2)],
  credentials: {
    cli: { user: 'cli', passwordFile: '/run/bailiff-lab/ufqwmkzr/secrets/cli.password' },
    admin: { user: 'admin', passwordFile: '' },
  },
};
const options = { nodes: 2, podsPerNode: 1, cni: 'bridge', unguarded: false, enforce: true } as Parameters<
  typeof upReport
>[1];

it('lab - the report fits into 80 columns, with namespaces of pods if they fit', () => {
  const narrow = upReport(info, options, true, TERMINAL);
  const attacked = attackReport({
    attacker: info.pods[1]!,
    victim: info.pods[0]!,
    vectors: ['ipv4-source'] as const,
    descriptions: ['from 10.244.1.1'],
    sent: 1_000_000,
    landed: 1_000_000,
    cutOff: true,
  });
  for (const text of [USAGE, narrow, attacked]) expect([widest(text) <= TERMINAL, text]).toEqual([true, text]);
  expect(narrow).not.toContain('NETNS');
  expect(narrow).toContain('web-5d4f8c7b9-2z6lc');
  for (const width of [120, Number.POSITIVE_INFINITY]) {
    expect(upReport(info, options, true, width)).toContain('bl-ufqwmkzr-p-f63208dd-79b2');
  }
});
