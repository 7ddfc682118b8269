/** docs/reference/kernel-maps.md: the maps of the kernel programs, and the share of a pod in each. */
import { code, page, section, table } from './markdown.ts';
import { type MapShare, PACKET_MAPS, RUNTIME_MAPS } from './shares/kernel-maps.ts';

const rowsOf = (maps: Readonly<Record<string, MapShare>>): string[][] =>
  Object.entries(maps).map(([name, { size, filledBy, share, whenFull }]) => [
    ...[code(name), size.toLocaleString('en-US'), filledBy, share, whenFull],
  ]);

export function kernelMapsPage(): string {
  const about = [
    'For reviewers: what each map of the kernel programs holds, the part that one pod can use, and what happens when the map is full. Names in code are losses: label `loss` of `bailiff_collector_kernel_losses_total`.',
    '',
    'Maps that pods fill are allocated when they are created, in the memory cgroup of the collector. No act of a pod makes them larger, so a pod can neither use up the memory of the collector nor fail the',
    'forks of another pod for lack of memory. `rt_tasks` takes about 200 bytes per entry, 25 MiB in all. On a node whose kernel allows fewer tasks (`kernel.threads-max`) it has as many entries as that.',
    'Sizes that depend on the number of interfaces are those of the default `maxInterfaces`. The size of `samples` is in bytes.',
  ].join('\n');
  const head = ['map', 'size', 'filled by', 'share of a pod', 'when full'];
  return page('Kernel maps', about, [
    section('Packets', table(head, rowsOf(PACKET_MAPS))),
    section('Operations', table(head, rowsOf(RUNTIME_MAPS))),
  ]);
}
