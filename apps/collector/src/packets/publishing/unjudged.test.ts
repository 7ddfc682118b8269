import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { waitingIn, whyNotCompared } from './unjudged.ts';

it('GRO of the host side and XDP keep a veth from being compared; netkit, whose frames never pass GRO, only XDP', () => {
  // The loopback device of every machine has GRO on.
  const name = 'lo';
  expect(whyNotCompared({ kind: 'veth', name, xdp: false })).toMatch(/^GRO /);
  expect(whyNotCompared({ kind: 'netkit', name, xdp: false })).toBe('');
  for (const kind of ['veth', 'netkit']) expect(whyNotCompared({ kind, name, xdp: true })).toMatch(/^an XDP program /);
});

it('frames that wait in the receive queues of all processors', () => {
  const line = (waiting: string, cpu: string) =>
    `005d4522 00000000 00000004 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 ${waiting} ${cpu} ${waiting} 00000000`;
  expect(waitingIn(`${line('0000000a', '00000000')}\n${line('00000100', '00000001')}\n`)).toBe(0x10a);
  // Every column but the last ones is of the same meaning in all kernels.
  const [first = ''] = readFileSync('/proc/net/softnet_stat', 'utf8').split('\n');
  expect(first.split(' ').length).toBeGreaterThanOrEqual(13);
});
