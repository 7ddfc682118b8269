// Further ways to send marked frames (guard-bypass.test.ts): through queues and devices above or beside
// the pod's interface. All of them end in its egress, where the program of the pod's end is. Guards at
// the host side alone are the control of each row.
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IFB, markedBy, throughIfb } from '../support/ifb.ts';
import { FORGED } from './harness/ipv4.ts';
import { ATTACKER, FrameSender, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';

const TIMES = 3;
const marker = Buffer.from('marked by the pod');
const frame = ethernet(
  { destination: RECEIVER.mac, source: ATTACKER.mac, type: ETHERTYPE.ipv4 },
  ipv4({ source: FORGED, destination: RECEIVER.ipv4, protocol: PROTOCOL.udp }, udp(4000, 9, marker)),
);
const above = (type: string, ...more: string[]) => [
  `ip link add link eth0 name up0 ${more.join(' ')} type ${type}`,
  'ip link set up0 up',
];
const bridge = ['ip link add up0 type bridge mcast_snooping 0', 'ip link set up0 up', 'ip link set eth0 master up0'];

/** Commands in the pod, and the device that frames are sent to. */
const WAYS: Record<string, readonly [device: string, ...setup: string[]]> = {
  'a filter of a class of htb': [
    'eth0',
    ...IFB,
    'tc qdisc add dev eth0 root handle 1: htb default 1',
    'tc class add dev eth0 parent 1: classid 1:1 htb rate 1gbit',
    markedBy('dev eth0 parent 1:', 'flowid 1:1'),
  ],
  'a bridge above': ['up0', ...bridge, ...throughIfb('up0')],
  'a bridge beside': ['up0', ...bridge, ...throughIfb('eth0')],
  'a macvlan': ['up0', ...above('macvlan mode passthru'), ...throughIfb('up0')],
  'an ipvlan': ['up0', ...above('ipvlan mode l2'), ...throughIfb('up0')],
  'a VLAN': ['up0', ...above('vlan id 5'), ...throughIfb('up0')],
  'a bond': [
    'up0',
    'ip link add up0 type bond mode active-backup',
    'ip link set eth0 down',
    'ip link set eth0 master up0',
    `ip link set up0 address ${ATTACKER.mac} up`,
    ...throughIfb('up0'),
  ],
};

describe.each(Object.entries(WAYS))('%s', (_name, [device, ...setup]) => {
  let node: TestNode;
  let lacks = '';
  beforeAll(async () => {
    node = await TestNode.start();
    const { podEnd } = await node.open();
    if (!podEnd.available) lacks = `the feature guard-bypass: ${podEnd.hint}`;
    else
      await commandIn(node.pods.attacker.netns, 'sh', '-ec', setup.join('\n')).catch((error: Error) => {
        lacks = error.message;
      });
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  it("is dropped at the pod's end and counted, and lands without the program there", async (context) => {
    if (lacks !== '') context.skip(`optional: this kernel lacks ${lacks}`);
    await using guarded = await node.guard(node.pods.attacker);
    await using sender = new FrameSender(node.pods.attacker.netns, ['send', device]);
    await sender.send(frame, TIMES);
    await waitFor(() => node.landedWith(marker), { what: 'control: frames', until: (landed) => landed === TIMES });
    expect(await guarded.counts()).toEqual({});
    await node.guardPodEnds();
    await sender.send(frame, TIMES);
    await guarded.counted({ 'guard-bypass drop': TIMES });
    expect(node.landedWith(marker)).toBe(TIMES);
  });
});
