/** docs/reference/packet-fields.md: what of a packet's metadata crosses from a pod to its node. */
import { FIELD_ROWS } from '../../test/kernel/packet-fields.ts';
import { page, section, table } from './markdown.ts';

export function packetFieldsPage(): string {
  const about = [
    'For reviewers of [packet rules](../../libs/bpf/bpf/spoof/rules.md): every field of `struct sk_buff` and `struct skb_shared_info`, and its fate between the pod and the',
    'programs on the host side. Tests are in `test/kernel`; one compares the names with those of the running kernel.',
  ].join('\n');
  const fates = [
    '- kernel: set by the kernel at the crossing or after it, whatever the pod wrote',
    '- cleared: lost when the packet enters the other network namespace',
    '- judged: kept, and the guard checks it',
    '- kept: the node sees what the pod wrote',
  ].join('\n');
  const rows = FIELD_ROWS.map(({ fields, veth, netkit, unscrubbed, effect, tests }) => [
    fields.join(', '),
    veth,
    netkit === unscrubbed ? netkit : `${netkit}; with \`scrub none\` ${unscrubbed}`,
    effect,
    tests.join('; '),
  ]);
  return page('Packet fields', about, [
    section('Fates', fates),
    section('Fields', table(['fields', 'veth', 'netkit', 'what it changes behind the guard', 'test'], rows)),
  ]);
}
