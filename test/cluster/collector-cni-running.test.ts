// Networks that Multus attaches to a pod that runs. Its processes can change its interfaces between the plugins of the
// chain, so what the plugin of the collector reads there may be the pod's choice.
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cgroup2Mount, exec, netnsPath } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { podSide } from '../lab/src/cni/cache.ts';
import { cniAdd } from '../lab/src/cni/plugin.ts';
import { CniNode, OWN, own, type Sandbox } from '../support/cni-node.ts';
import { throughIfb } from '../support/ifb.ts';
import type { TestPod } from '../support/node.ts';

const FRAMES = 20;
/** Nothing may be sent from it. */
const NOT_OWN_MAC = '01:00:00:00:00:00';
/** Plugin between the primary and that of the collector: lets the pod act. */
const MOMENT = 'moment-of-the-pod';
/** The result, with another MAC of the pod's side if one is given, as if the primary plugin had read that. */
const PRINT_RESULT = `
const { prevResult } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const [mac] = process.argv.slice(1);
if (mac) prevResult.interfaces.find(({ name }) => name === "net1").mac = mac;
console.log(JSON.stringify(prevResult));`;

const exchanged = (link: readonly string[]) => [
  'ip link set net1 down',
  'ip link set net1 name real1',
  'ip link set real1 up',
  ...link,
];

describe('collector with the CNI plugin - a network that joins a pod that runs', () => {
  let cni: CniNode;
  beforeAll(async () => {
    cni = await CniNode.create();
    cni.writePrimary('bridge');
    const root = path.join(cgroup2Mount(), cni.node.netns);
    await cni.start('closed', ['--sweep-interval-ms', '250', '--cgroup-root', root]);
  });
  afterAll(() => cni?.[Symbol.asyncDispose]());

  const inPod = (pod: TestPod, lines: readonly string[]) =>
    exec('nsenter', [`--net=${netnsPath(pod.netns)}`, 'sh', '-ec', lines.join('\n')]);

  /** Attaches `net1`. The pod acts after the primary plugin, and before that of the collector. @param mac in the result */
  const join = async ({ pod, attachment }: Sandbox, acts: readonly string[], mac = '', name = OWN) => {
    const script = [
      '#!/bin/sh -e',
      'input=$(cat)',
      `nsenter --net="$CNI_NETNS" sh -ec '${acts.join('\n')}' >&2`,
      `printf %s "$input" | ${process.execPath} -e '${PRINT_RESULT}' ${mac}`,
    ];
    writeFileSync(cni.at('bin', MOMENT), `${script.join('\n')}\n`);
    chmodSync(cni.at('bin', MOMENT), 0o755);
    const list = cni.list(name);
    const plugins = list.plugins.toSpliced(1, 0, { type: MOMENT } as (typeof list.plugins)[number]);
    const second = { ...attachment, ifName: 'net1', conf: { ...list, name: 'storage', plugins } };
    return podSide(await cniAdd(cni.host, second, pod.netns));
  };
  /** Sends frames with this MAC and the address of `net1` through a device, and waits until they are counted. */
  const counted = async (pod: TestPod, side: ReturnType<typeof podSide>, device: string, mac: string) => {
    const [ipv4 = ''] = side.addresses;
    await cni.node.startSending(pod, [own({ ...pod, mac, ipv4 })], FRAMES, 0, device);
    const counts = () => {
      const packets: Record<string, number> = {};
      for (const { cumulativePackets, interfaceName, vector } of cni.node.ledger.epochs.values()) {
        if (interfaceName !== side.hostInterface) continue;
        packets[vector] = (packets[vector] ?? 0) + cumulativePackets;
      }
      return packets;
    };
    return waitFor(counts, {
      what: 'the frames to be counted',
      until: (packets) => Object.values(packets).some((count) => count >= FRAMES),
      timeoutMs: 30_000,
      state: () => ({ counts: counts(), log: cni.node.log.slice(-3_000) }),
    });
  };

  it.each([
    ['control: the pod does nothing', 'net1', ['true']],
    ['a link that has no other end has its name', 'real1', exchanged(['ip link add net1 type bridge'])],
    [
      'the first interface of the pod has its name',
      'real1',
      exchanged(['ip link set eth0 down', 'ip link set eth0 name net1', 'ip link set net1 up']),
    ],
    ['no link has its name', 'real1', exchanged([])],
  ])('%s - the frames that the pod marks on it are dropped', async (_name, device, acts) => {
    const sandbox = await cni.add();
    const side = await join(sandbox, acts);
    const rows = (await cni.node.offlineStatus()).interfaces;
    expect(rows.find((one) => one.interfaceName === side.hostInterface)).toMatchObject({
      state: 'programmed',
      addresses: expect.arrayContaining(side.addresses),
    });
    await inPod(sandbox.pod, throughIfb(device));
    const counts = await counted(sandbox.pod, side, device, side.mac);
    expect(counts).toMatchObject({ 'guard-bypass': expect.any(Number) });
    expect(counts).not.toHaveProperty('unjudged');
  });

  it.each([
    ['control: after the call', false],
    ['during the call', true],
  ])('the pod takes the MAC of a neighbour, %s - what it sends from there is dropped', async (_name, isDuring) => {
    const { pod: neighbour } = await cni.add();
    const sandbox = await cni.add();
    const acts = ['ip link set net1 down', `ip link set net1 address ${neighbour.mac}`, 'ip link set net1 up'];
    const side = await join(sandbox, isDuring ? acts : ['true']);
    if (!isDuring) await inPod(sandbox.pod, acts);
    const { interfaces } = await cni.node.offlineStatus();
    expect(interfaces.find((one) => one.interfaceName === side.hostInterface)?.mac).toBe(side.mac);
    const counts = await counted(sandbox.pod, side, 'net1', neighbour.mac);
    expect(counts['source-mac']).toBeGreaterThanOrEqual(FRAMES);
  });

  it.each([
    ['by the call', OWN, '02:00:00:00:55:01'],
    ['by its record', '10-lab.conflist', '02:00:00:00:55:02'],
  ])(
    'the network plugin reads a MAC that a process of the pod asked for, bound %s - that of a neighbour is not its own; control: a free one',
    async (_how, list, free) => {
      const joined = async (mac: (neighbour: TestPod) => string, expected: string) => {
        const sandbox = await cni.add();
        await using _process = await cni.node.runInPod(sandbox.pod);
        const { pod: neighbour } = await cni.add();
        const taken = mac(neighbour);
        const acts = ['ip link set net1 down', `ip link set net1 address ${taken}`, 'ip link set net1 up'];
        const side = await join(sandbox, acts, taken, list);
        const macs = async () => {
          const { interfaces } = await cni.node.offlineStatus();
          return [side, neighbour].map((end) => interfaces.find((one) => one.interfaceName === end.hostInterface)?.mac);
        };
        const until = (found: unknown[]) => found.join() === `${expected},${neighbour.mac}`;
        await waitFor(macs, { what: 'the MACs that are judged by', until, state: macs });
        return { pod: sandbox.pod, side, neighbour };
      };
      await joined(() => free, free);
      const { pod, side, neighbour } = await joined(({ mac }) => mac, NOT_OWN_MAC);
      const counts = await counted(pod, side, 'net1', neighbour.mac);
      expect(counts['source-mac']).toBeGreaterThanOrEqual(FRAMES);
    },
  );
});
