/**
 * The attack graph: which workloads forged packets, which identities they claimed, and where the packets
 * went. Pure fold over violations, and the view of it.
 *
 * Counts of attackers are exact. Identities and destinations are those of the sampled packets.
 * Bounds: MAX_GROUPS and MAX_LINKS while reading, of which a node gets a further one only while more are
 * free than it has; MAX_SHOWN of each column and MAX_LINES in the view, which says what it omits.
 */
import type { GraphLinkView, GraphNodeView, GraphView, MaySee } from '@bailiff/console';
import { claimOf, destinationOf, type PlacedPod } from '@bailiff/insight';
import { podName } from '@bailiff/response';
import type { PodRef, Violation } from '@bailiff/schemas';
import { FairCounts } from '@bailiff/service/fair-counts';
import { podLink } from './tables.ts';

const MAX_GROUPS = 4_000;
const MAX_LINKS = 20_000;
const MAX_SHOWN = 24;
const MAX_LINES = 200;
/** Pods of one attacker. */
const MAX_PODS = 64;
const MAX_NAMED = 6;

interface Attacker {
  namespace: string | null;
  label: string;
  pods: Map<string, { namespace: string; name: string }>;
  /** Beyond MAX_PODS. */
  hasMore: boolean;
  nodes: Set<string>;
  vectors: Set<string>;
  packets: number;
  dropped: number;
}

interface Link {
  attacker: string;
  claim: string;
  target: string;
  samples: number;
}

/** `10.1.0.7:53 udp` → `10.1.0.7`; `[fd00::1]:53 udp` → `fd00::1`. */
export const addressIn = (text: string): string => {
  const [first = ''] = text.split(' ');
  const bracketed = /^\[([0-9a-fA-F:.]+)\]/.exec(first)?.[1];
  return bracketed ?? (first.includes('.') ? first.replace(/:\d+$/, '') : first);
};

export class AttackGraph {
  readonly #attackers = new Map<string, Attacker>();
  readonly #links = new Map<string, Link>();
  readonly #groupShares = new FairCounts(MAX_GROUPS);
  readonly #linkShares = new FairCounts(MAX_LINKS);
  /** Packets of attackers and samples of links beyond the bounds. */
  #beyond = 0;
  /** Operations of programs: they claim no identity. */
  #operations = 0;
  packets = 0;

  /** @param grown packets that it adds to those before it */
  add(violation: Violation, node: string, grown: number): void {
    if (violation.kind === 'lsm') {
      this.#operations += grown;
      return;
    }
    this.packets += grown;
    const attacker = this.#attacker(violation, node);
    if (!attacker) {
      this.#beyond += grown;
      return;
    }
    const [key, of] = attacker;
    of.packets += grown;
    if (violation.action === 'drop') of.dropped += grown;
    of.nodes.add(node);
    if (of.vectors.size < MAX_NAMED) of.vectors.add(`${violation.vector} ${violation.action}`);
    if (violation.sample) this.#link(key, violation, node);
  }

  #attacker({ pod, interfaceName }: Violation, node: string): [string, Attacker] | null {
    const key = pod ? `${pod.namespace}/${pod.ownerUid || pod.uid}` : `${node} ${interfaceName}`;
    let found = this.#attackers.get(key);
    if (!found) {
      if (!this.#groupShares.hasRoom(node)) return null;
      this.#groupShares.add(node);
      found = {
        namespace: pod?.namespace ?? null,
        label: pod ? ownerText(pod) : `interface ${interfaceName} on ${node}`,
        hasMore: false,
        pods: new Map(),
        nodes: new Set(),
        vectors: new Set(),
        packets: 0,
        dropped: 0,
      };
      this.#attackers.set(key, found);
    }
    if (pod && !found.pods.has(pod.uid)) {
      if (found.pods.size < MAX_PODS) found.pods.set(pod.uid, pod);
      else found.hasMore = true;
    }
    return [key, found];
  }

  #link(attacker: string, violation: Violation, node: string): void {
    const [claim, target] = [claimOf(violation), destinationOf(violation)];
    const key = JSON.stringify([attacker, claim, target]);
    const found = this.#links.get(key);
    if (found) found.samples += 1;
    else if (this.#linkShares.hasRoom(node)) {
      this.#linkShares.add(node);
      this.#links.set(key, { attacker, claim, target, samples: 1 });
    } else this.#beyond += 1;
  }

  view(
    pods: readonly PlacedPod[],
    maySee: MaySee,
  ): Omit<GraphView, 'since' | 'command' | 'notes'> & { notes: string[] } {
    const owners = new Map(
      pods.flatMap((pod) =>
        pod.interfaces.flatMap(({ addresses }) => addresses.map((ip): [string, PlacedPod] => [ip, pod])),
      ),
    );
    const place = (text: string, kind: 'claim' | 'target') => placeOf(text, owners.get(addressIn(text)), kind, maySee);
    const attackers = [...this.#attackers].sort(([, a], [, b]) => b.packets - a.packets);
    const shown = new Map(attackers.slice(0, MAX_SHOWN));
    const nodes = new Map<string, GraphNodeView>(
      [...shown].map(([key, one]) => [`from ${key}`, attackerNode(key, one)]),
    );
    const links = new Map<string, GraphLinkView>();
    const columns = { claim: new Set<string>(), target: new Set<string>() };
    let omitted = Math.max(0, attackers.length - MAX_SHOWN);
    const ordered = [...this.#links.values()]
      .filter((link) => shown.has(link.attacker))
      .sort((a, b) => b.samples - a.samples);
    for (const { attacker, claim, target, samples } of ordered) {
      const [claimed, reached] = [place(claim, 'claim'), place(target, 'target')];
      const isNew = (one: GraphNodeView, kind: 'claim' | 'target') =>
        !nodes.has(one.id) && columns[kind].size >= MAX_SHOWN;
      if (isNew(claimed, 'claim') || isNew(reached, 'target')) {
        omitted += 1;
        continue;
      }
      for (const [one, kind] of [
        [claimed, 'claim'],
        [reached, 'target'],
      ] as const) {
        const known = nodes.get(one.id);
        if (known) known.details = [...new Set([...known.details, ...one.details])].slice(0, MAX_NAMED);
        else nodes.set(one.id, one);
        columns[kind].add(one.id);
      }
      const key = `${attacker} ${claimed.id} ${reached.id}`;
      const link = links.get(key) ?? { from: `from ${attacker}`, claim: claimed.id, target: reached.id, samples: 0 };
      link.samples += samples;
      links.set(key, link);
    }
    const lines = [...links.values()];
    return {
      nodes: [...nodes.values()],
      links: lines.slice(0, MAX_LINES),
      packets: this.packets,
      omitted: omitted + Math.max(0, lines.length - MAX_LINES),
      notes: [
        ...(this.#beyond > 0
          ? [`A count of ${this.#beyond} is not in the graph: there are too many attackers or claims.`]
          : []),
        ...(this.#operations > 0
          ? [
              `${this.#operations} operations of programs are not shown here: they claim no identity. The page Now has them.`,
            ]
          : []),
      ],
    };
  }
}

const ownerText = ({ namespace, name, ownerKind, ownerName }: PodRef): string =>
  ownerName === '' ? `${namespace}/${name}` : `${namespace}/${ownerName} (${ownerKind})`;

function attackerNode(
  key: string,
  { namespace, label, pods, hasMore, nodes, vectors, packets, dropped }: Attacker,
): GraphNodeView {
  const listed = [...pods.values()];
  const [one] = listed;
  const through = packets - dropped;
  return {
    id: `from ${key}`,
    column: 'attacker',
    namespace,
    label,
    link: listed.length === 1 && one ? podLink(one) : '',
    details: [
      ...listed.slice(0, MAX_NAMED).map(podName),
      ...(listed.length > MAX_NAMED ? [`and ${listed.length - MAX_NAMED}${hasMore ? '+' : ''} more pods`] : []),
      `on ${[...nodes].sort().slice(0, MAX_NAMED).join(', ')}`,
      ...[...vectors].sort(),
    ],
    packets,
    passed: through,
  };
}

/** An address with the workload that has it, as far as the reader may see that workload. */
function placeOf(text: string, pod: PlacedPod | undefined, column: 'claim' | 'target', maySee: MaySee): GraphNodeView {
  const base = { column, packets: null, passed: null } as const;
  if (text === '') return { ...base, id: `${column} ?`, namespace: null, label: 'not recorded', link: '', details: [] };
  if (!pod || !maySee(pod.namespace)) {
    // Whether a namespace that one may not see has this address, is not said.
    const details = [maySee(null) ? 'no pod has this address now' : 'no pod that you may see has this address now'];
    return { ...base, id: `${column} ${text}`, namespace: null, label: text, link: '', details };
  }
  const top = pod.owners.at(-1);
  const label = top ? `${pod.namespace}/${top.name} (${top.kind})` : podName(pod);
  const id = `${column} ${pod.namespace}/${top?.uid ?? pod.uid}`;
  return { ...base, id, namespace: pod.namespace, label, link: podLink(pod), details: [text] };
}
