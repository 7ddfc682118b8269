/** Packet rate and CPU through a veth: nothing attached, an empty program, Bailiff, and the same rules in nftables, side by side. */
import path from 'node:path';
import { ensureLabtool, exec, labtoolArgs, netnsPath } from '@bailiff/lab/node';
import { udpFrame } from '../support/udp-frame.ts';
import { inNetns, POD } from './in-netns.ts';
import { makePlace, NODE_ADDRESS, type Place } from './place.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const VARIANTS = ['nothing', 'empty', 'bailiff', 'nftables'] as const;
type Variant = (typeof VARIANTS)[number];
/** Some 5 ms a slice: long against the clock, short against the drift of a machine. */
const SLICE_PACKETS = 2_000;
/** Of each turn. */
const ROUNDS = 100;
/** As many of the first are left out: caches are warm after them. */
const WARM_UP_ROUNDS = 20;
/** Where the kernel put the memory of a veth makes it faster or slower than the next by up to two per cent: each variant has each of them once. */
const VETHS = VARIANTS.map((_, i) => `veth${i}`);

/** What an operator would write by hand for one pod: MAC, IPv4, IPv6, ARP sender, and no other ethertype. */
const rulesFor = (veth: string) => `table netdev guard {
  chain pod {
    type filter hook ingress device "${veth}" priority 0; policy accept;
    ether saddr != ${POD.mac} drop
    ether type ip ip saddr != ${POD.ipv4} drop
    ether type ip6 ip6 saddr != { ${POD.ipv6}, fe80::858:aff:fef4:1 } drop
    ether type arp arp saddr ip != ${POD.ipv4} drop
    ether type != { ip, ip6, arp } drop
  }
}
`;

/** Attaches a program in the namespace; the returned function takes it off. */
async function attach(place: Place, what: 'empty' | 'bailiff', veth: string): Promise<() => Promise<void>> {
  const child = inNetns(netnsPath(place.node), ['attach', place.dir, what, veth]);
  const ended = new Promise((resolve) => child.once('close', resolve));
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    void ended.then((status) => reject(new Error(`attach ended with ${status}`)));
  });
  return async () => {
    child.stdin.end();
    const status = await ended;
    if (status !== 0) throw new Error(`detach ended with ${status}`);
  };
}

const nft = (place: Place, input: string) =>
  exec('nsenter', [`--net=${netnsPath(place.node)}`, 'nft', '-f', '-'], { input });

/** ns a packet of each slice, by variant. */
type Slices = Record<Variant, number[]>;

async function sendSlices(place: Place, sender: string, vethOf: (variant: Variant) => string): Promise<Slices> {
  const frame = udpFrame({ sourceMac: POD.mac, source: POD.ipv4, destination: NODE_ADDRESS }).toString('hex');
  const rounds = String(WARM_UP_ROUNDS + ROUNDS);
  const args = [sender, rounds, String(SLICE_PACKETS), frame, ...VARIANTS.map((v) => `pod-${vethOf(v)}`)];
  const run = labtoolArgs({ netns: place.pod }, ['run', '--', ...args]);
  const out = await exec(await ensureLabtool(), run, { timeoutMs: 180_000 });
  const lines = out.trim().split('\n').slice(WARM_UP_ROUNDS);
  return Object.fromEntries(VARIANTS.map((v, i) => [v, lines.map((line) => Number(line.split(' ')[i]))])) as Slices;
}

async function turn(place: Place, sender: string, vethOf: (variant: Variant) => string): Promise<Slices> {
  const letGo = [await attach(place, 'empty', vethOf('empty')), await attach(place, 'bailiff', vethOf('bailiff'))];
  await nft(place, rulesFor(vethOf('nftables')));
  const slices = await sendSlices(place, sender, vethOf);
  await nft(place, 'delete table netdev guard\n');
  for (const release of letGo) await release();
  return slices;
}

const geometricMean = (values: readonly number[]) =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

export async function bench(): Promise<Section> {
  await using place = await makePlace(VETHS);
  const sender = path.join(place.dir, 'veth-sender');
  await exec('gcc', ['-O2', '-Wall', '-Werror', '-o', sender, path.join(import.meta.dirname, 'veth-sender.c')]);
  const turns: Slices[] = [];
  for (const shift of VETHS.keys()) {
    const vethOf = (variant: Variant) => VETHS[(VARIANTS.indexOf(variant) + shift) % VETHS.length] as string;
    turns.push(await turn(place, sender, vethOf));
  }
  const ns = (variant: Variant) => geometricMean(turns.map((slices) => median(slices[variant])));
  /** Rate of a variant over that of another: of each turn the median of paired slices. */
  const ratio = (variant: Variant, floor: Variant) =>
    geometricMean(
      turns.map((slices) => median(slices[variant].map((time, round) => (slices[floor][round] as number) / time))),
    );
  const toEmpty = ratio('bailiff', 'empty');
  const toNft = ratio('bailiff', 'nftables');
  return {
    title: 'Packet rate and CPU through a veth',
    method: `A sender on one CPU sends slices of ${thousands(SLICE_PACKETS)} UDP packets of a pod to four veths in turn, ${ROUNDS} rounds. A veth delivers within the sender’s system call, so a packet’s time is the CPU that sending, hook and reception take together. Then all move on by one veth, four times, since two veths with the same on them differ by up to two per cent. Ratios are medians of the slices of one round, and of the four turns the geometric mean, in which each veth’s own pace cancels. nftables holds the same rules for the one pod in a netdev ingress chain.`,
    header: ['on the host side', 'packets a second', 'ns of CPU a packet', 'rate, of nothing'],
    rows: VARIANTS.map((v) => [v, thousands(1e9 / ns(v)), fixed(ns(v), 0), fixed(ratio(v, 'nothing'), 3)]),
    budgets: [
      { budget: 'at least 0.97 of the empty program’s rate', measured: fixed(toEmpty, 3), met: toEmpty >= 0.97 },
      { budget: 'above the same rules in nftables', measured: `${fixed(toNft, 3)} of theirs`, met: toNft > 1 },
    ],
  };
}
