// The table of packet-fields.ts: complete on this kernel, its tests exist, and what crosses the veth
// and netkit pairs is as it says.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { PROTOCOL, udp } from '@bailiff/lab/frames';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KernelTypes } from './harness/btf.ts';
import { own, packet } from './harness/ipv4.ts';
import { noNetkit, TestNode, ZERO_MAC } from './harness/node.ts';
import { commandIn, crossingObject } from './harness/processes.ts';
import { type Fate, FIELD_ROWS } from './packet-fields.ts';

/** In the order of enum field of crossing.bpf.c, with the values that a pod writes. */
const WRITTEN = {
  mark: 0x51n,
  priority: 0x52n,
  queue_mapping: 0x53n,
  tstamp: 0x54n,
  hash: 0x55n,
  tc_index: 0x56n,
  cb: 0x57n,
  pkt_type: 2n,
};
type Field = keyof typeof WRITTEN;
const FIELDS = Object.keys(WRITTEN) as Field[];
const MARKED_BYTES = 777;
const named = FIELD_ROWS.flatMap(({ fields }) => fields);

describe('table of packet fields', () => {
  it.each(['sk_buff', 'skb_shared_info'])('every field of struct %s of this kernel has one row', (struct) => {
    const members = new KernelTypes().members(struct);
    expect(members.length).toBeGreaterThan(10);
    expect(
      members.filter((name) => !named.includes(name)),
      'fields without a row in packet-fields.ts: find out whether a pod can set them so that they cross, what they change then, and name a test',
    ).toEqual([]);
  });

  it('no field has two rows', () => {
    expect(named.filter((name, at) => named.indexOf(name) !== at)).toEqual([]);
  });

  it('every named test exists', () => {
    const missing = FIELD_ROWS.flatMap(({ tests }) => tests).filter((one) => {
      const [, file = '', words = ''] = /^`(\S+\.test\.ts) › (.+)`(?: \(.+\))?$/.exec(one) ?? [];
      if (file === '') return !/^no test: \w/.test(one);
      return !readFileSync(path.join(import.meta.dirname, file), 'utf8').includes(words);
    });
    expect(missing).toEqual([]);
  });
});

const why = noNetkit();

describe.each([
  ['veth', null],
  ['netkit', 'l2'],
  ['netkit', 'l3'],
  ['unscrubbed', 'l2'],
] as const)('crossing of %s (%s)', (device, mode) => {
  const skips = device === 'veth' ? '' : why;
  let node: TestNode;
  let index: number;
  let behindGuard: readonly [hook: string, place: string];
  beforeAll(async () => {
    if (skips !== '') return;
    node = await TestNode.start({ stacks: mode !== null });
    if (mode !== null) await node.useNetkit(mode, { scrub: device === 'unscrubbed' ? 'none' : 'default' });
    const { attacker } = node.pods;
    const write = `tc filter add dev eth0 egress bpf direct-action object-file ${crossingObject()} section tc`;
    await commandIn(attacker.netns, 'sh', '-ec', `tc qdisc add dev eth0 clsact\n${write}`);
    const opened = await node.open();
    const hook = device === 'veth' ? 'ingress' : 'netkit-peer';
    const isClsact = device === 'veth' && opened.mode === 'clsact';
    behindGuard = [hook, isClsact ? 'clsact' : 'tail'];
    index = await attach(hook, isClsact ? 'clsact' : 'head');
  });
  beforeEach((context) => {
    if (skips !== '') context.skip(skips);
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const attach = (hook: string, place: string): Promise<number> =>
    node.agent.call('own.attachForeign', crossingObject(), node.pods.attacker.ifindex, hook, place, 'read_fields');
  /** Sends a plain frame whose fields a program of the pod writes. @returns those that a program has read */
  const cross = async (reader: number): Promise<bigint[]> => {
    const payload = Buffer.alloc(MARKED_BYTES - 14 - 20 - 8);
    const frame = packet({ protocol: PROTOCOL.udp }, udp(4000, 4001, payload, own));
    if (mode === 'l3') Buffer.from(ZERO_MAC.replaceAll(':', ''), 'hex').copy(frame, 6);
    await node.send(frame);
    await node.fence();
    return node.agent.call('own.recorded', reader, FIELDS.length);
  };

  it('crossing - each field that a program can write has the fate of the table', async () => {
    const read = await cross(index);
    const found = Object.fromEntries(
      FIELDS.map((field, at) => [field, read[at] === WRITTEN[field] ? 'kept' : 'other']),
    );
    const said = (fate: Fate) => (fate === 'kept' || fate === 'judged' ? 'kept' : 'other');
    const wanted = FIELDS.map((field) => [
      field,
      said((FIELD_ROWS.find(({ fields }) => fields.includes(field)) as (typeof FIELD_ROWS)[number])[device]),
    ]);
    expect(found).toEqual(Object.fromEntries(wanted));
  });

  // A frame that a program redirects from netkit has no index of its interface: spoof_egress reads this one.
  it('tc_index of a plain frame - none behind the guard', async () => {
    const fieldOf = (read: readonly bigint[], name: Field) => read[FIELDS.indexOf(name)];
    const behind = await attach(...behindGuard);
    const before = await cross(behind);
    expect(fieldOf(before, 'tc_index'), 'control: kept without the guard').toBe(WRITTEN.tc_index);
    await using guarded = await node.guard(node.pods.attacker);
    const read = await cross(behind);
    expect([fieldOf(read, 'tc_index'), fieldOf(read, 'cb')]).toEqual([0n, WRITTEN.cb]);
    expect(await guarded.counts()).toEqual({});
  });
});
