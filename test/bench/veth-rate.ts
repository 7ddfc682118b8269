/** Packet rate and CPU through a veth: nothing attached, an empty program, Bailiff, and the same rules in nftables, side by side. */
import path from 'node:path';
import { udpFrame } from '../cluster/collector/frames.ts';
import { netnsPath } from '../lab/src/names.ts';
import { ensureLabtool, labtoolArgs } from '../lab/src/native-tool.ts';
import { exec } from '../lab/src/process/exec.ts';
import { inNetns, POD } from './in-netns.ts';
import { makePlace, NODE_ADDRESS } from './place.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const VARIANTS = ['nothing', 'empty', 'bailiff', 'nftables'] as const;
type Variant = (typeof VARIANTS)[number];
/** Some 5 ms a slice: long against the clock, short against the drift of a machine. */
const SLICE_PACKETS = 2_000;
const ROUNDS = 400;
/** As many of the first are left out: caches and the JIT of the programs are warm after them. */
const WARM_UP_ROUNDS = 20;

/** What an operator would write by hand for one pod: MAC, IPv4, IPv6, ARP sender, and no other ethertype. */
const RULES = `table netdev guard {
  chain pod {
    type filter hook ingress device "nftables" priority 0; policy accept;
    ether saddr != ${POD.mac} drop
    ether type ip ip saddr != ${POD.ipv4} drop
    ether type ip6 ip6 saddr != { ${POD.ipv6}, fe80::858:aff:fef4:1 } drop
    ether type arp arp saddr ip != ${POD.ipv4} drop
    ether type != { ip, ip6, arp } drop
  }
}
`;

/** Attaches a program in the namespace; the returned function lets it go. */
async function attach(netns: string, dir: string, variant: Variant): Promise<() => Promise<void>> {
  const child = inNetns(netnsPath(netns), ['attach', dir, variant, variant]);
  const ended = new Promise((resolve) => child.once('close', resolve));
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    void ended.then((status) => reject(new Error(`attach ended with ${status}`)));
  });
  return async () => {
    child.stdin.end();
    await ended;
  };
}

async function sendSlices(dir: string, netns: string): Promise<Record<Variant, number[]>> {
  const sender = path.join(dir, 'veth-sender');
  await exec('gcc', ['-O2', '-Wall', '-Werror', '-o', sender, path.join(import.meta.dirname, 'veth-sender.c')]);
  const frame = udpFrame({ sourceMac: POD.mac, source: POD.ipv4, destination: NODE_ADDRESS }).toString('hex');
  const rounds = String(WARM_UP_ROUNDS + ROUNDS);
  const args = [sender, rounds, String(SLICE_PACKETS), frame, ...VARIANTS.map((v) => `pod-${v}`)];
  const out = await exec(await ensureLabtool(), labtoolArgs({ netns }, ['run', '--', ...args]), { timeoutMs: 180_000 });
  const lines = out.trim().split('\n').slice(WARM_UP_ROUNDS);
  return Object.fromEntries(VARIANTS.map((v, i) => [v, lines.map((line) => Number(line.split(' ')[i]))])) as Record<
    Variant,
    number[]
  >;
}

export async function bench(): Promise<Section> {
  await using place = await makePlace(VARIANTS);
  const letGo = [await attach(place.node, place.dir, 'empty'), await attach(place.node, place.dir, 'bailiff')];
  await exec('nsenter', [`--net=${netnsPath(place.node)}`, 'nft', '-f', '-'], { input: RULES });
  const ns = await sendSlices(place.dir, place.pod);
  for (const release of letGo) await release();
  /** Rate of a variant over that of another, as the median of paired slices. */
  const ratio = (variant: Variant, floor: Variant) =>
    median(ns[variant].map((time, round) => (ns[floor][round] as number) / time));
  const toEmpty = ratio('bailiff', 'empty');
  const toNft = ratio('bailiff', 'nftables');
  return {
    title: 'Packet rate and CPU through a veth',
    method: `A sender on one CPU sends slices of ${thousands(SLICE_PACKETS)} UDP packets of a pod to four veths in turn, ${ROUNDS} rounds. A veth delivers within the sender’s system call, so a packet’s time is the CPU that sending, hook and reception take together. Ratios are medians of the slices of one round. nftables holds the same rules for the one pod in a netdev ingress chain.`,
    header: ['on the host side', 'packets a second', 'ns of CPU a packet', 'rate, of nothing'],
    rows: VARIANTS.map((v) => [
      v,
      thousands(1e9 / median(ns[v])),
      fixed(median(ns[v]), 0),
      fixed(ratio(v, 'nothing'), 3),
    ]),
    budgets: [
      { budget: 'at least 0.97 of the empty program’s rate', measured: fixed(toEmpty, 3), met: toEmpty >= 0.97 },
      { budget: 'above the same rules in nftables', measured: `${fixed(toNft, 3)} of theirs`, met: toNft > 1 },
    ],
  };
}
