/**
 * Every field of struct sk_buff and struct skb_shared_info: whether the value that a pod gives it
 * is still there behind the veth or netkit pair, and what it can change behind the guard.
 * packet-fields.test.ts compares the names with the kernel's, and the fields that a program can write
 * with a measurement. `npm run reference` renders docs/reference/packet-fields.md from it.
 */

/** kernel: set by the kernel at the crossing or after it; judged: kept, and the guard checks it. */
export type Fate = 'kernel' | 'cleared' | 'kept' | 'judged';

/**
 * Fields, separated by spaces; fate behind veth, netkit, and netkit with `scrub none`; effect; tests.
 * A test is `<file> › <words in it>`, or `no test:` and the reason.
 */
type Row = readonly [fields: string, fates: readonly [Fate, Fate?, Fate?], effect: string, tests: string];

export interface FieldRow {
  readonly fields: readonly string[];
  readonly veth: Fate;
  readonly netkit: Fate;
  /** A netkit pair that was made with `scrub none` for the pod's end. */
  readonly unscrubbed: Fate;
  readonly effect: string;
  readonly tests: readonly string[];
}

const MEASURED = '`packet-fields.test.ts › crossing`';

const ROWS: readonly Row[] = [
  [
    `
      next prev dev dev_scratch rbnode list ll_node headers head data tail end users truesize fclone
      peeked head_frag pp_recycle alloc_cpu slow_gro __cloned_offset __pkt_type_offset __mono_tc_offset
      __pkt_vlan_present_offset kcov_handle
    `,
    ['kernel'],
    'Memory, lists and references. A pod decides only how much of a frame is linear',
    '`changing-pages.test.ts › pages that change`',
  ],
  [
    'cloned nohdr hdr_len dataref',
    ['judged'],
    'Whether another frame shares the linear part. The guard copies it if the headers are shared, so nothing in the pod writes to what it read',
    '`shared-copies.test.ts › fast path`; `shared-copies.test.ts › slow path`',
  ],
  [
    'len data_len nr_frags frags flags',
    ['judged'],
    'Length and pages. The guard reads memory of the kernel only, so the bytes that it read cannot change',
    '`changing-pages.test.ts › pages that change`; `changing-pages.test.ts › fast path`',
  ],
  [
    'gso_size gso_segs gso_type frag_list',
    ['judged'],
    'Segments get the headers that were checked. Packets that were joined by list have headers of their own and are `malformed`. A list of segments stays as it is, because the kernel ends where it cuts one that was changed',
    '`after-judgement.test.ts › gso - every segment`; `joined.test.ts › by list`; `segment-lists.test.ts › sctp`',
  ],
  [
    'ip_summed csum csum_start csum_offset csum_not_inet',
    ['judged'],
    'The kernel or a device writes a checksum into the frame: `checksum-offload`',
    '`checksum-offload.test.ts › attack`',
  ],
  [
    'csum_level csum_valid csum_complete_sw',
    ['kept'],
    'The receiver trusts that checksums were verified. No rule depends on a checksum',
    'no test: changes no byte',
  ],
  [
    'protocol',
    ['kernel', 'judged', 'judged'],
    'The protocol that the receiver handles the frame as. veth takes it from the header; behind netkit a frame that names another one is `malformed`',
    '`netkit.test.ts › protocol of the packet socket`',
  ],
  [
    'vlan_all vlan_proto vlan_tci vlan_present',
    ['judged'],
    'A tag outside the frame: `vlan-tag`',
    '`link.test.ts › vlan-tag`',
  ],
  [
    'mac_header mac_len network_header pkt_type skb_iif queue_mapping',
    ['kernel'],
    'Set when the frame is sent or received. queue_mapping is the queue of the pod that was used, and a hint for the next device',
    `${MEASURED} (pkt_type, queue_mapping)`,
  ],
  [
    'transport_header',
    ['kept'],
    'A hint. Segmentation and protocols find the header again from the network header',
    '`after-judgement.test.ts › gso - every segment`',
  ],
  [
    'encapsulation inner_network_header inner_mac_header',
    ['judged'],
    'Where the packet in a tunnel of the pod begins. Segmentation writes its length and id there: `malformed` unless that is behind what was checked',
    '`tunnel-segments.test.ts › a length over the port of UDP`',
  ],
  [
    `
      encap_hdr_csum remcsum_offload inner_protocol_type inner_protocol inner_ipproto inner_transport_header
    `,
    ['kept'],
    'Which headers a tunnel in the pod has. Segmentation finds them behind the begin that was checked',
    'no test: the begin decides',
  ],
  [
    'mark reserved_tailroom priority',
    ['cleared', 'cleared', 'kept'],
    'Routing, filters and queues of the node select by them. With `scrub none` the operator lets the pod choose them. No rule of Bailiff reads them',
    MEASURED,
  ],
  [
    'tstamp skb_mstamp_ns tstamp_type mono_delivery_time',
    ['cleared'],
    'When a queue of the node sends the frame',
    MEASURED,
  ],
  [
    'hash l4_hash sw_hash',
    ['kept'],
    'Which of several equal paths, bond members and processors is used. The frame stays the same',
    MEASURED,
  ],
  [
    'ooo_okay napi_id sender_cpu',
    ['kept'],
    'Which queue of the next device is used. The frame stays the same',
    'no test: changes no byte',
  ],
  [
    'tc_index cb',
    ['kept'],
    'Programs and classifiers of others may read them as their own values. The guard reads tc_index only of IPv6 frames on the way to a pod, and has written or cleared it in what guarded pods send',
    '`packet-fields.test.ts › crossing`; `packet-fields.test.ts › tc_index of a plain frame`',
  ],
  [
    'sk destructor _sk_redir tcp_tsorted_anchor',
    ['kept'],
    'The sending socket, which samples name. A rule of the node about socket owners may match it on a bridge; IP drops it',
    '`ipv4.test.ts › samples - a packet socket on this kernel`',
  ],
  [
    `
      _skb_refdst _nfct nf_trace ipvs_property offload_fwd_mark offload_l3_fwd_mark ignore_df extensions
      active_extensions
    `,
    ['cleared'],
    'Route, connection, trace, IPVS and bridge state of the pod (`skb_scrub_packet`). With a route at the host side or at the loopback device of the node, a packet of type PACKET_LOOPBACK is a copy of what the node sends: it passes',
    '`own-copies.test.ts › a copy of what a pod sends`; `own-copies.test.ts › route of another link`',
  ],
  [
    'tc_skip_classify tc_at_ingress redirected from_ingress nf_skip_egress tc_depth',
    ['kept'],
    'tc_skip_classify makes the host side skip its programs. tc_depth counts redirections: at 3, mirred of the node drops the frame. The others are set again there',
    '`guard-bypass.test.ts › ipv4-source`',
  ],
  [
    'dst_pending_confirm',
    ['kept'],
    'With MSG_CONFIRM or TCP: the node takes the next hop of the frame for reachable',
    'no test: concerns no identity',
  ],
  [
    'secmark',
    ['kept'],
    'Label for SELinux. Only a task that may relabel packets sets it',
    'no test: no tested kernel has SELinux in use',
  ],
  [
    'no_fcs',
    ['kept'],
    'A device sends the last four bytes as frame check sequence. A socket cannot set it: veth and netkit lack IFF_SUPP_NOFCS',
    'no test: cannot be set',
  ],
  [
    'pfmemalloc',
    ['kept'],
    'Memory of the reserve. The host side drops such a frame behind the programs',
    'no test: cannot be set',
  ],
  [
    'wifi_acked_valid wifi_acked ndisc_nodetype decrypted unreadable scm_io_uring',
    ['kept'],
    'Set by wireless devices, by neighbour discovery of the receiver, and by TLS and memory of devices, which veth and netkit lack. The kernel drops an unreadable frame',
    'no test: cannot be set',
  ],
  [
    'tx_flags tskey hwtstamps xsk_meta destructor_arg',
    ['kept'],
    'Time stamps and completions, which the sending socket gets',
    'no test: changes no byte',
  ],
  [
    'meta_len xdp_frags_size xdp_frags_truesize',
    ['kept'],
    'Metadata of XDP, which later programs may read. Copying the headers removes it',
    'no test: a pod needs CAP_BPF, and the guard does not read it',
  ],
];

export const FIELD_ROWS: readonly FieldRow[] = ROWS.map(([fields, fates, effect, tests]) => ({
  fields: fields.trim().split(/\s+/),
  veth: fates[0],
  netkit: fates[1] ?? fates[0],
  unscrubbed: fates[2] ?? fates[1] ?? fates[0],
  effect,
  tests: tests.split('; '),
}));
