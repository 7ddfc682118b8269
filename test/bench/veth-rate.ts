/** Packet rate and CPU through a veth with nothing, an empty program, Bailiff, or equal nftables rules. */
import path from 'node:path';
import { ensureLabtool, exec, labtoolArgs, netnsPath } from '@bailiff/lab/node';
import { udpFrame } from '../support/udp-frame.ts';
import { inNetns, POD } from './in-netns.ts';
import { makePlace, NODE_ADDRESS, type Place } from './place.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const VARIANTS = ['nothing', 'empty', 'bailiff', 'nftables'] as const;
type Variant = (typeof VARIANTS)[number];
/** About 5 ms: long compared with the clock's resolution, short compared with drift of the machine. */
const SLICE_PACKETS = 2_000;
/** Rounds of each rotation. */
const ROUNDS = 100;
/** Discarded rounds at the start, until caches are warm. */
const WARM_UP_ROUNDS = 20;
/** Veths differ by up to 2 % with the place of their memory, so each variant uses each veth once. */
const VETHS = VARIANTS.map((_, i) => `veth${i}`);

/** Rules for one pod as an operator would write them: MAC, IPv4, IPv6, ARP sender, no other ethertype. */
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

/** Attaches a program in the namespace; the returned function detaches it. */
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

/** Nanoseconds per packet of each slice, by variant. */
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
  /** Rate of a variant relative to another: per rotation the median of paired slices. */
  const ratio = (variant: Variant, floor: Variant) =>
    geometricMean(
      turns.map((slices) => median(slices[variant].map((time, round) => (slices[floor][round] as number) / time))),
    );
  const toEmpty = ratio('bailiff', 'empty');
  const toNft = ratio('bailiff', 'nftables');
  return {
    title: 'Packet rate and CPU through a veth',
    method: `One CPU sends slices of ${thousands(SLICE_PACKETS)} UDP packets of a pod to four veths in turn, ${ROUNDS} rounds. The CPU time covers sending, hook and reception. The variants rotate over the veths, which differ by up to 2 %. Bailiff includes the program at the pod's end. nftables has the same rules for the pod in a netdev ingress chain.`,
    header: ['on the veth', 'packets/s', 'ns of CPU per packet', 'rate relative to nothing'],
    rows: VARIANTS.map((v) => [v, thousands(1e9 / ns(v)), fixed(ns(v), 0), fixed(ratio(v, 'nothing'), 3)]),
    budgets: [
      { budget: 'at least 0.96 of the empty program’s rate', measured: fixed(toEmpty, 3), met: toEmpty >= 0.96 },
      {
        budget: 'at least 1.08 of the rate of the same rules in nftables',
        measured: fixed(toNft, 3),
        met: toNft >= 1.08,
      },
    ],
  };
}
