/**
 * Sends generated frames by a packet socket through a guarded veth, with the checksum left to the
 * kernel. Unlike a test run, this shows that the program reads the metadata of real packets as the
 * model does.
 */
import type { Vector } from '@bailiff/bpf';
import { ETHERTYPE } from '@bailiff/lab/frames';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allModes, type Offload, TestNode } from '../kernel/harness/node.ts';
import { anyFrame, anyMetadata } from './generate.ts';
import { ALLOWED, inOrder, NETWORKS, NODES, SERVICES, TUNNEL_PORTS, worldOf } from './kernel.ts';
import { judge } from './model.ts';
import { read } from './packet.ts';

const FRAMES = 4_000;
/** The pods have no addresses, so no stack responds to a frame or forwards it. */
const BATCH = 200;
/** The kernel removes a frame's tags before the hook, and drops a truncated tag. */
const TAGGED: readonly number[] = [ETHERTYPE.vlan, ETHERTYPE.qinq];

describe('fuzz with real frames', () => {
  let node: TestNode;
  beforeAll(async () => {
    node = await TestNode.start();
    await node.open();
    await node.agent.call('object.maps.nodeAddresses.replace', NODES);
    await node.agent.call('object.maps.allowedCidrs.replace', ALLOWED);
    await node.agent.call('object.maps.networks.replace', NETWORKS);
    await node.agent.call('object.maps.tunnelPorts.replace', TUNNEL_PORTS);
    await node.agent.call('object.maps.tunnelServices.replace', SERVICES);
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  it("fuzz - frames from a packet socket are dropped for the model's vector", async () => {
    const given = { hasMac: true, hasIpv4: true, hasIpv6: true, grants: [], quarantine: 'none' } as const;
    const world = worldOf({ ...given, grants: [] });
    const frames = fc
      .sample(fc.tuple(anyFrame, anyMetadata), FRAMES)
      .filter(([frame]) => !TAGGED.includes(frame.readUInt16BE(12)));
    let [sent, partial] = [0, 0];
    for (let from = 0; from < frames.length; from += BATCH) {
      await using guarded = await node.guard(node.pods.attacker, { modes: allModes('enforce') });
      const wanted = new Map<string, number>();
      for (const [frame, { checksum }] of frames.slice(from, from + BATCH)) {
        const offload: Offload =
          checksum === null ? {} : { checksum: { start: checksum.start, offset: checksum.place } };
        // The socket rejects an offset outside the frame, and the harness uses a start of 0 for
        // none.
        if (checksum !== null && checksum.start <= 0) continue;
        const taken = await node.send(frame, 1, offload).then(
          () => true,
          () => false,
        );
        if (!taken) continue;
        sent += 1;
        if (checksum !== null) partial += 1;
        const [first] = inOrder(judge(world, read(frame, { checksum, gsoSize: 0, joined: false, inner: 0 })));
        if (first !== undefined) wanted.set(dropOf(first), (wanted.get(dropOf(first)) ?? 0) + 1);
      }
      await node.fence();
      await guarded.counted(Object.fromEntries(wanted));
    }
    expect(sent).toBeGreaterThan(FRAMES / 2);
    expect(partial).toBeGreaterThan(FRAMES / 10);
  });
});

const dropOf = (vector: Vector): string => `${vector} drop`;
