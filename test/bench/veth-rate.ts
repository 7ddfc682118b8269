/** Packet rate through a veth: nothing attached, an empty program, Bailiff, and the same rules in nftables, in paired rounds. */

import { udpFrame } from '../cluster/collector/frames.ts';
import { netnsPath } from '../lab/src/names.ts';
import { ensureLabtool, labtoolArgs } from '../lab/src/native-tool.ts';
import { exec } from '../lab/src/process/exec.ts';
import { startLines } from '../lab/src/process/lines.ts';
import { inNetns, POD } from './in-netns.ts';
import { makePlace, type Place } from './place.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const ROUNDS = 8;
const PACKETS = 1_000_000;
type Variant = 'nothing' | 'empty' | 'bailiff' | 'nftables';
const VARIANTS: Variant[] = ['nothing', 'empty', 'bailiff', 'nftables'];

/** What an operator would write by hand for one pod: MAC, IPv4, IPv6, ARP sender, and no other ethertype. */
const RULES = `table netdev guard {
  chain pod {
    type filter hook ingress device "veth1" priority 0; policy accept;
    ether saddr != ${POD.mac} drop
    ether type ip ip saddr != ${POD.ipv4} drop
    ether type ip6 ip6 saddr != { ${POD.ipv6}, fe80::858:aff:fef4:1 } drop
    ether type arp arp saddr ip != ${POD.ipv4} drop
    ether type != { ip, ip6, arp } drop
  }
}
`;

async function withVariant(place: Place, variant: Variant, run: () => Promise<number>): Promise<number> {
  if (variant === 'nothing') return run();
  if (variant === 'nftables') {
    await exec('nsenter', [`--net=${netnsPath(place.node)}`, 'nft', '-f', '-'], { input: RULES });
    const rate = await run();
    await exec('nsenter', [`--net=${netnsPath(place.node)}`, 'nft', 'delete', 'table', 'netdev', 'guard']);
    return rate;
  }
  const child = inNetns(netnsPath(place.node), ['attach', place.dir, variant, 'veth1']);
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('close', (status) => reject(new Error(`attach ended with ${status}`)));
  });
  const rate = await run();
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.stdin.end();
  await ended;
  await exec('sh', ['-c', `rm -rf ${place.dir}/bpf/bailiff`]);
  return rate;
}

async function sendRate(labtool: string, place: Place): Promise<number> {
  let first = 0;
  let done = { sent: 0, atMicros: 0 };
  const frame = udpFrame({ sourceMac: POD.mac, source: POD.ipv4, destination: '10.244.0.1' });
  const lines = await startLines(labtool, labtoolArgs({ netns: place.pod }, ['send', 'eth0', '0', String(PACKETS)]), {
    onLine: (line) => {
      const told = JSON.parse(line) as { event: string; atMicros: number; sent: number };
      if (told.event === 'first') first = told.atMicros;
      if (told.event === 'done') done = told;
    },
  });
  const head = Buffer.alloc(2);
  head.writeUInt16BE(frame.length);
  lines.closeInput(Buffer.concat([head, frame]));
  if ((await lines.ended) !== 0) throw new Error(lines.stderrTail());
  return (done.sent / (done.atMicros - first)) * 1e6;
}

export async function bench(): Promise<Section> {
  await using place = await makePlace();
  const labtool = await ensureLabtool();
  const rates = Object.fromEntries(VARIANTS.map((v) => [v, [] as number[]])) as Record<Variant, number[]>;
  for (let round = 0; round < ROUNDS; round += 1) {
    // Each round begins with another variant, so that a drift of the machine favours none.
    for (let i = 0; i < VARIANTS.length; i += 1) {
      const variant = VARIANTS[(i + round) % VARIANTS.length] as Variant;
      rates[variant].push(await withVariant(place, variant, () => sendRate(labtool, place)));
    }
  }
  const ratio = (variant: Variant, floor: Variant) =>
    median(rates[variant].map((rate, round) => rate / (rates[floor][round] as number)));
  const toEmpty = ratio('bailiff', 'empty');
  const toNft = ratio('bailiff', 'nftables');
  return {
    title: 'Packet rate through a veth',
    method: `${thousands(PACKETS)} UDP packets of a pod, as fast as one sender sends, ${ROUNDS} rounds; each ratio is the median of paired rounds. nftables holds the same rules for the one pod in a netdev ingress chain.`,
    header: ['on the host side', 'packets a second', 'of nothing'],
    rows: VARIANTS.map((v) => [v, thousands(median(rates[v])), fixed(ratio(v, 'nothing'), 3)]),
    budgets: [
      { budget: 'at least 0.97 of the empty program’s rate', measured: fixed(toEmpty, 3), met: toEmpty >= 0.97 },
      { budget: 'above the same rules in nftables', measured: `${fixed(toNft, 3)} of them`, met: toNft > 1 },
    ],
  };
}
