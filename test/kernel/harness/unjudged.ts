/** Frames that an interface received and no program judged, as the collector compares them. */
import type { LinkRecord } from '@bailiff/bpf';
import type { Guarded } from './node.ts';

export async function unjudgedOf(guarded: Guarded): Promise<number> {
  const { node, pod } = guarded;
  const judged = Number(await node.agent.call<bigint>('object.maps.seen', pod.slot));
  const link = await node.agent.call<LinkRecord>('bpf.getLink', pod.ifindex);
  const received = link.rxPackets ?? 0;
  if (link.kind !== 'netkit') return received - judged;
  const dropped = Object.entries(await guarded.counts()).filter(
    ([name]) => name.endsWith(' drop') && !/^(guard-bypass|quarantine-egress|provocation) /.test(name),
  );
  return dropped.reduce((sum, [, frames]) => sum + frames, received) - judged;
}
