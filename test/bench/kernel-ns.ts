/** Nanoseconds per packet by test run: an empty tcx program, and spoof_ingress passing and dropping. */
import { netnsPath } from '@bailiff/lab/node';

import { inNetns } from './in-netns.ts';
import { makePlace } from './place.ts';
import { fixed, median, quantile, type Section } from './report.ts';

export async function bench(): Promise<Section> {
  await using place = await makePlace();
  const child = inNetns(netnsPath(place.node), ['test-runs', place.dir]);
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  if (status !== 0) throw new Error(`test runs ended with ${status}`);
  const runs = JSON.parse(out) as Record<string, number[]>;
  const empty = median(runs['empty'] ?? []);
  const rows = Object.entries(runs).map(([name, ns]) => [
    name,
    fixed(median(ns)),
    fixed(quantile(ns, 0)),
    fixed(quantile(ns, 1)),
  ]);
  const above = Math.max(median(runs['pass IPv4'] ?? []), median(runs['pass IPv6'] ?? [])) - empty;
  return {
    title: 'Cost of a packet in the kernel',
    method:
      'BPF_PROG_TEST_RUN of a UDP frame, 15 alternating rounds of a million. Packets from the pod’s first address take the fast path, others the slow path. A drop also counts and samples. On a netkit pair, a packet that passed meets the third program too.',
    header: ['program', 'median ns', 'minimum', 'maximum'],
    rows,
    budgets: [
      {
        budget: 'fast path at most 50 ns above an empty tcx program',
        measured: `${fixed(above)} ns`,
        met: above <= 50,
      },
    ],
  };
}
