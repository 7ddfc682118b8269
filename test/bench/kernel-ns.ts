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
  const least = (name: string) => quantile(runs[name] ?? [], 0);
  const rows = Object.entries(runs).map(([name, ns]) => [
    name,
    fixed(median(ns)),
    fixed(quantile(ns, 0)),
    fixed(quantile(ns, 1)),
  ]);
  const within = (what: string, most: number, ...names: string[]) => {
    const ratio = Math.max(...names.map(least)) / least('empty');
    return {
      budget: `${what} at most ${most} × the empty program, by the minimum`,
      measured: ratio.toFixed(2),
      met: ratio <= most,
    };
  };
  return {
    title: 'Cost of a packet in the kernel',
    method:
      'BPF_PROG_TEST_RUN of a UDP frame, 300 alternating rounds of 20,000: the minimum is the cost without other load. Packets from the pod’s first address take the fast path, others the slow path. A drop also counts and samples. On a netkit pair, a packet that passed meets the third program too.',
    header: ['program', 'median ns', 'minimum', 'maximum'],
    rows,
    budgets: [
      within('first address', 1.4, 'pass IPv4', 'pass IPv6'),
      within('another address of the pod', 1.6, 'pass a further IPv4'),
      within('drop', 6, 'drop IPv4'),
    ],
  };
}
