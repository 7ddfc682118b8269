/**
 * Ways from a pod to its interface: devices above and beside it, queues, and actions that mark, redirect
 * or rewrite frames. For way-tests.ts, as commands for the pod's network namespace.
 */
import type { Vector } from '@bailiff/bpf';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { IFB, markedBy, throughIfb } from '../../support/ifb.ts';
import { FORGED } from './ipv4.ts';
import { ATTACKER, FrameSender, type Pod, RECEIVER } from './node.ts';
import { commandIn, xdpHelper } from './processes.ts';

/** In every frame that a way sends. */
export const MARKER = Buffer.from('marked by the pod');
export const TIMES = 3;

/** A datagram of the pod to the receiver. @param mac of the pod */
export const datagramFrom = (source: string, mac: string): Buffer =>
  ethernet(
    { destination: RECEIVER.mac, source: mac, type: ETHERTYPE.ipv4 },
    ipv4({ source, destination: RECEIVER.ipv4, protocol: PROTOCOL.udp }, udp(4000, 9, MARKER)),
  );

/** Sends TIMES frames from a pod. */
type Send = (pod: Pod, frame: Buffer) => Promise<unknown>;

export interface Way {
  readonly setup: readonly string[];
  /** Device that frames are sent to. Default: eth0. */
  readonly device?: string;
  /** Source of the frames. Default: FORGED. */
  readonly source?: string;
  /** The frames pass the host side of a veth unseen (skb->tc_skip_classify). */
  readonly isMarked?: boolean;
  /** What the frames violate if they are judged. Default: ipv4-source. */
  readonly vector?: Vector;
  /** The same on netkit, which keeps the protocol of the metadata. Default: `vector`. */
  readonly onNetkit?: Vector;
  /** Default: a packet socket at the device. */
  readonly send?: Send;
}

const marked = (device: string, ...setup: string[]): Way => ({ device, setup, isMarked: true });
const above = (type: string, ...more: string[]) => [
  `ip link add link eth0 name up0 ${more.join(' ')} type ${type}`,
  'ip link set up0 up',
];
const bridge = ['ip link add up0 type bridge mcast_snooping 0', 'ip link set up0 up', 'ip link set eth0 master up0'];
/** Frames that are sent to `v0` are received at `v1`, once the kernel has activated both. */
const pair = [
  'ip link add v0 type veth peer name v1',
  'ip link set v0 up',
  'ip link set v1 up',
  // Ends with an error if a later test has deleted them: otherwise it would run beside all later ones.
  "for d in v0 v1; do until ip -o link show $d | grep -q 'state UP'; do ip link show $d >/dev/null; done; done",
];
const atEgress = (device: string, action: string) => [
  `tc qdisc add dev ${device} clsact`,
  `tc filter add dev ${device} egress protocol all u32 match u32 0 0 ${action}`,
];
/** The pod's own frames, changed by its kernel when they leave. */
const changed = (vector: Vector, action: string): Way => ({
  setup: atEgress('eth0', `action ${action}`),
  source: ATTACKER.ipv4,
  vector,
});
const action = (text: string): Way => ({ setup: atEgress('eth0', `action ${text}`) });
const queue = (text: string): Way => ({ setup: [`tc qdisc add dev eth0 root ${text}`] });
const netdev = (hook: string, device: string, statement: string) => [
  'nft add table netdev ways',
  `nft add chain netdev ways on { type filter hook ${hook} device ${device} priority 0 ';' }`,
  `nft add rule netdev ways on ${statement}`,
];

const neighbour = `ip neigh replace ${RECEIVER.ipv4} lladdr ${RECEIVER.mac} dev eth0 nud permanent`;
const addressed = [`ip addr replace ${ATTACKER.ipv4}/24 dev eth0`, neighbour];
/** From an ordinary socket, so the pod's kernel makes the frames. */
const bySocket: Send = ({ netns }) => {
  const line = `printf '${MARKER}' > /dev/udp/${RECEIVER.ipv4}/9`;
  return commandIn(netns, 'bash', '-ec', Array.from({ length: TIMES }, () => line).join('\n'));
};
/** From the pod's kernel, which rewrites or forwards. */
const routed = (...setup: string[]): Way => ({ setup: [...addressed, ...setup], send: bySocket });
const bySender =
  (...args: string[]): Send =>
  async ({ netns }, frame) => {
    await using sender = new FrameSender(netns, args);
    await sender.send(frame, TIMES);
  };
/** By AF_XDP. The kernel frees the queue of a former socket some time later. */
const byXdp =
  (...args: string[]): Send =>
  ({ netns }, frame) =>
    waitFor(
      () =>
        commandIn(netns, xdpHelper(), 'eth0', String(TIMES), ...args, frame.toString('hex')).then(
          () => true,
          (error: Error) => {
            if (/busy/.test(error.message)) return false;
            throw error;
          },
        ),
      { what: 'the queue of the interface' },
    );
/** Outer source forged, inner packet in clear. The kernel builds it from an address of the pod alone. */
const ESP = [
  `ip addr replace ${FORGED}/32 dev eth0`,
  `ip xfrm state add src ${FORGED} dst ${RECEIVER.ipv4} proto esp spi 9 mode tunnel enc 'ecb(cipher_null)' '' auth-trunc digest_null '' 0`,
  `ip xfrm policy add src ${ATTACKER.ipv4} dst ${RECEIVER.ipv4} proto udp dir out tmpl src ${FORGED} dst ${RECEIVER.ipv4} proto esp mode tunnel`,
];

export const WAYS: Readonly<Record<string, Way>> = {
  'an ifb device': marked('eth0', ...throughIfb('eth0')),
  'an ifb device with a queue': marked('eth0', ...throughIfb('eth0'), 'tc qdisc add dev ifb9 root netem delay 1ms'),
  'a filter of a class of htb': marked(
    'eth0',
    ...IFB,
    'tc qdisc add dev eth0 root handle 1: htb default 1',
    'tc class add dev eth0 parent 1: classid 1:1 htb rate 1gbit',
    markedBy('dev eth0 parent 1:', 'flowid 1:1'),
  ),
  'a bridge above': marked('up0', ...bridge, ...throughIfb('up0')),
  'a bridge beside': marked('up0', ...bridge, ...throughIfb('eth0')),
  'a macvlan': marked('up0', ...above('macvlan mode passthru'), ...throughIfb('up0')),
  'an ipvlan': marked('up0', ...above('ipvlan mode l2'), ...throughIfb('up0')),
  'a VLAN': { ...marked('up0', ...above('vlan id 5'), ...throughIfb('up0')) },
  'a bond': marked(
    'up0',
    'ip link add up0 type bond mode active-backup',
    'ip link set eth0 down',
    'ip link set eth0 master up0',
    `ip link set up0 address ${ATTACKER.mac} up`,
    ...throughIfb('up0'),
  ),
  'an ifb device, from ingress through a bridge': {
    device: 'v0',
    setup: [
      ...pair,
      ...bridge,
      'ip link set v1 master up0',
      ...IFB,
      'tc qdisc add dev v1 clsact',
      markedBy('dev v1 ingress'),
    ],
  },

  'mirred from ingress of another device': {
    device: 'v0',
    setup: [
      ...pair,
      'tc qdisc add dev v1 clsact',
      'tc filter add dev v1 ingress protocol all u32 match u32 0 0 action mirred egress redirect dev eth0',
    ],
  },
  'a copy by mirred': {
    device: 'd0',
    setup: [
      'ip link add d0 type dummy',
      'ip link set d0 up',
      ...atEgress('d0', 'action mirred egress mirror dev eth0'),
    ],
  },
  'nftables, forwarded at ingress': { device: 'v0', setup: [...pair, ...netdev('ingress', 'v1', 'fwd to eth0')] },
  'nftables, duplicated at ingress': { device: 'v0', setup: [...pair, ...netdev('ingress', 'v1', 'dup to eth0')] },
  'nftables, duplicated at egress': {
    device: 'd0',
    setup: ['ip link add d0 type dummy', 'ip link set d0 up', ...netdev('egress', 'd0', 'dup to eth0')],
  },
  'a bridge without a mark': { device: 'up0', setup: bridge },
  'a macvlan without a mark': { device: 'up0', setup: above('macvlan mode bridge') },
  'an ipvlan without a mark': { device: 'up0', setup: above('ipvlan mode l2') },
  MACsec: {
    device: 'up0',
    setup: [
      ...above('macsec encrypt off'),
      'ip macsec add up0 tx sa 0 pn 1 on key 01 00112233445566778899aabbccddeeff',
    ],
    vector: 'ethertype',
  },

  pedit: changed('ipv4-source', `pedit ex munge ip src set ${FORGED}`),
  nat: changed('ipv4-source', `nat egress ${ATTACKER.ipv4}/32 ${FORGED}`),
  skbmod: changed('source-mac', 'skbmod set smac 02:00:00:00:77:99'),
  'vlan push': changed('vlan-tag', 'vlan push id 5'),
  'vlan push, twice': changed('vlan-tag', 'vlan push id 5 pipe action vlan push id 6 protocol 802.1ad'),
  'mpls push': changed('ethertype', 'mpls push label 5 protocol mpls_uc'),
  'mpls push, before the MACs': changed('source-mac', 'mpls mac_push label 5 protocol mpls_uc'),
  // Without metadata it changes nothing.
  ife: {
    ...changed('ethertype', 'skbedit mark 7 pipe action ife encode type 0x88b6 allow mark'),
    onNetkit: 'malformed',
  },
  ct: action('ct pipe action ct commit zone 5'),
  skbedit: action('skbedit mark 7 priority 1:1 queue_mapping 0 ptype host'),
  tunnel_key: action(`tunnel_key set src_ip ${ATTACKER.ipv4} dst_ip ${RECEIVER.ipv4} id 5 dst_port 4789`),
  csum: action('csum ip4h and udp'),

  tbf: queue('tbf rate 100mbit burst 32kb latency 100ms'),
  netem: queue('netem delay 1ms'),
  'netem that duplicates and reorders': queue('netem delay 1ms reorder 50% gap 2'),
  fq: queue('fq'),
  fq_codel: queue('fq_codel'),
  prio: queue('prio'),
  sfq: queue('sfq'),
  cake: queue('cake bandwidth 1gbit'),
  hfsc: {
    setup: [
      'tc qdisc add dev eth0 root handle 1: hfsc default 1',
      'tc class add dev eth0 parent 1: classid 1:1 hfsc sc rate 1gbit ul rate 1gbit',
    ],
  },

  'a packet socket past the queue': { setup: [], send: bySender('bypass', 'eth0') },
  AF_XDP: { setup: [], send: byXdp('0', '0') },
  'AF_XDP, in several buffers': { setup: [], send: byXdp('split', '14') },
  'source NAT of the pod': routed(
    'nft add table ip ways',
    "nft add chain ip ways out { type nat hook postrouting priority 100 ';' }",
    `nft add rule ip ways out oifname eth0 snat to ${FORGED}`,
  ),
  'an outer source of ESP': routed(...ESP),
  'a forwarded packet': {
    device: 'v0',
    setup: [
      ...pair,
      ...addressed,
      `ip link set v1 address ${RECEIVER.mac}`,
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.v1.rp_filter=0',
    ],
  },
};

/** One way of each kind. Emulated kernels are slow, so they run these, and the others when asked. */
export const PRINCIPAL: readonly string[] = [
  'an ifb device',
  'a filter of a class of htb',
  'a bridge above',
  'a bridge beside',
  'a macvlan',
  'an ipvlan',
  'a VLAN',
  'a bond',
  'mirred from ingress of another device',
  'nftables, forwarded at ingress',
  'pedit',
  'a packet socket past the queue',
  'AF_XDP',
  'AF_XDP, in several buffers',
  'source NAT of the pod',
  'a forwarded packet',
];

const batch = (program: string, lines: readonly string[]) =>
  `printf '%s\\n' ${lines.map((line) => `'${line}'`).join(' ')} | ${program} -force -batch - 2>/dev/null || true`;

/** Undoes the setup of any way: in few processes, which are slow under emulation. @param mac of eth0; null: it has none */
export const cleanup = (mac: string | null): string[] => [
  'nft flush ruleset 2>/dev/null || true',
  batch('ip', [
    'link set eth0 nomaster',
    ...['up0', 'ifb9', 'v0', 'd0'].map((device) => `link del ${device}`),
    'addr flush dev eth0',
    'xfrm policy flush',
    'xfrm state flush',
    ...(mac === null ? [] : [`link set eth0 address ${mac}`]),
    'link set eth0 up',
  ]),
  batch('tc', ['qdisc del dev eth0 clsact', 'qdisc del dev eth0 root']),
];
