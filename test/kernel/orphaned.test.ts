// An orphaned interface: its pod has ended, and another process still sends from its namespace. Under the
// identity of the former pod every kind of frame is dropped and counted; the same frames before are the control.
import { arp, ETHERTYPE, ethernet, ipv6, PROTOCOL, udp } from '@bailiff/lab/frames';
import { describe, expect, it } from 'vitest';
import { directly, throughIfb } from '../support/ifb.ts';
import { datagram, FORGED, option, packet, ping, plain, plainTcp } from './harness/ipv4.ts';
import { advertise, solicit } from './harness/nd.ts';
import { ATTACKER, allModes, type Guarded, RECEIVER } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { useNode } from './harness/use-node.ts';

const TIMES = 3;
const to = { destination: RECEIVER.mac, source: ATTACKER.mac };
const ipv6Source = { source: ATTACKER.ipv6, destination: RECEIVER.ipv6, next: PROTOCOL.udp };

/** Frames that the former pod was allowed to send, by the fast path and by the other. */
const OWN: Record<string, Buffer> = {
  'IPv4 UDP': plain,
  'IPv4 TCP': plainTcp,
  ping,
  'IPv4 with an option': packet({ options: option(1, 1, 1, 0) }),
  'IPv6 UDP': ethernet({ ...to, type: ETHERTYPE.ipv6 }, ipv6(ipv6Source, udp(4000, 9, undefined, ipv6Source))),
  ARP: ethernet(
    { ...to, type: ETHERTYPE.arp },
    arp({ operation: 1, senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target: RECEIVER.ipv4 }),
  ),
  'neighbour solicitation': solicit(),
  'neighbour advertisement': advertise(ATTACKER.ipv6),
};

describe('orphaned interface', () => {
  const node = useNode();

  const frames = Object.values(OWN);
  const landed = () => frames.map((frame) => node.landed(frame));
  const each = (count: number) => frames.map(() => count);
  const sendAll = async () => {
    node.forgetLanded();
    for (const frame of frames) await node.send(frame, TIMES);
  };
  const sendForged = async (guarded: Guarded, counts: Record<string, number>) => {
    node.forgetLanded();
    await node.send(datagram(FORGED), TIMES);
    await guarded.counted(counts);
    return node.landed(datagram(FORGED));
  };

  it('every kind of frame - dropped and counted, at once, also those of the fast path; until it ends', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await sendAll();
    await node.fence();
    expect([landed(), await guarded.counts()], 'control: its pod lives').toEqual([each(TIMES), {}]);
    await guarded.update({ orphaned: true });
    await sendAll();
    const dropped = { 'orphaned drop': frames.length * TIMES };
    await guarded.counted(dropped);
    expect(landed()).toEqual(each(0));
    const samples = await guarded.samples();
    expect(samples[0]).toMatchObject({ vector: 'orphaned', action: 'drop', state: 'programmed', egress: false });

    await guarded.update({});
    await sendAll();
    await node.fence();
    expect([landed(), await guarded.counts()]).toEqual([each(TIMES), dropped]);
  });

  it('a forged frame - counted under the vector that it violates first', async () => {
    await using guarded = await node.guard(node.pods.attacker, { orphaned: true });
    expect(await sendForged(guarded, { 'ipv4-source drop': TIMES })).toBe(0);
    await guarded.update({ orphaned: true, modes: allModes('enforce', { 'ipv4-source': 'off' }) });
    expect(await sendForged(guarded, { 'ipv4-source drop': TIMES, 'orphaned drop': TIMES })).toBe(0);
  });

  it('unknown and quarantined - dropped in their modes too', async () => {
    await using guarded = await node.guard(node.pods.attacker, { orphaned: true, state: 'unknown' });
    const settings = await node.agent.call<object>('object.maps.settings');
    await node.agent.call('object.maps.setSettings', { ...settings, unknownMode: 'off' });
    await sendAll();
    await guarded.counted({ 'orphaned drop': frames.length * TIMES });
    expect(landed()).toEqual(each(0));
    await guarded.update({ state: 'programmed', quarantineUntilNs: 2n ** 64n - 1n });
    // What quarantine would let pass: a minimal ARP frame.
    await node.send(OWN['ARP'] as Buffer, TIMES);
    await guarded.counted({ 'orphaned drop': frames.length * TIMES, 'quarantine-ingress drop': TIMES });
    expect(landed()).toEqual(each(0));
  });

  it('mode audit - counted, and passes; break-glass likewise', async () => {
    const audited = { orphaned: true, modes: allModes('enforce', { orphaned: 'audit' }) };
    await using guarded = await node.guard(node.pods.attacker, audited);
    await sendAll();
    await guarded.counted({ 'orphaned audit': frames.length * TIMES });
    await node.fence();
    expect(landed()).toEqual(each(TIMES));
    await guarded.update({ orphaned: true, auditUntilNs: 2n ** 63n });
    await sendAll();
    await node.fence();
    expect([landed(), await guarded.counts()]).toEqual([
      each(TIMES),
      { 'orphaned audit': 2 * frames.length * TIMES + 2 },
    ]);
  });

  it("frames that are marked to skip the host side - dropped at the pod's end, also with guard-bypass off", async (context) => {
    const { podEnd } = await node.open();
    if (!podEnd.available) context.skip(`optional: this kernel lacks the feature guard-bypass: ${podEnd.hint}`);
    const modes = allModes('enforce', { 'guard-bypass': 'off' });
    await using guarded = await node.guard(node.pods.attacker, { modes });
    await node.guardPodEnds();
    const inPod = (lines: readonly string[]) => commandIn(node.pods.attacker.netns, 'sh', '-ec', lines.join('\n'));
    await inPod(throughIfb('eth0'));
    try {
      await node.fence();
      await guarded.update({ modes, orphaned: true });
      await sendAll();
      await guarded.counted({ 'orphaned drop': frames.length * TIMES });
      expect(landed()).toEqual(each(0));
    } finally {
      await inPod(directly('eth0'));
    }
  });
});
