import { expect, it } from 'vitest';
import { whyNotCompared } from './unjudged.ts';

it('GRO of the host side and XDP keep a veth from being compared; netkit, whose frames never pass GRO, only XDP', () => {
  // The loopback device of every machine has GRO on.
  const name = 'lo';
  expect(whyNotCompared({ kind: 'veth', name, xdp: false })).toMatch(/^GRO /);
  expect(whyNotCompared({ kind: 'netkit', name, xdp: false })).toBe('');
  for (const kind of ['veth', 'netkit']) expect(whyNotCompared({ kind, name, xdp: true })).toMatch(/^an XDP program /);
});
