/**
 * A pod that sends past the guard, as commands for its network namespace: an ifb device sends what is
 * redirected to it again with skb->tc_skip_classify, and the host side does not judge such frames.
 */

export const IFB: readonly string[] = ['ip link add ifb9 numtxqueues 2 type ifb', 'ip link set ifb9 up'];

/**
 * A filter that redirects to the ifb device. The classic BPF program matches frames without a hash
 * (SKF_AD_RXHASH). The ifb device chooses one of its two queues by a hash, so the second pass matches
 * nothing, and no action clears the mark.
 */
export const markedBy = (place: string, result = ''): string =>
  `tc filter add ${place} protocol all bpf bytecode "4,32 0 0 4294963232,21 0 1 0,6 0 0 4294967295,6 0 0 0" ${result} action mirred egress redirect dev ifb9`;

/** Redirects what leaves `device` to an ifb device, which sends it again there. */
export const throughIfb = (device: string): string[] => [
  ...IFB,
  `tc qdisc add dev ${device} clsact`,
  markedBy(`dev ${device} egress`),
];

/** Sends directly again. */
export const directly = (device: string): string[] => [`tc qdisc del dev ${device} clsact`, 'ip link del ifb9'];
