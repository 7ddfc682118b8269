/**
 * Reads a timeline from the streams: everything about a pod since a time, or about a verdict's pod
 * around the verdict. Configuration changes are included if they can affect the pod: of the
 * cluster, its namespace, or its node.
 */
import { changeOf, decodeToken, filters, isCopy, openBucket, readNewest } from '@bailiff/bus';
import { ConfigError, parseConfigKey } from '@bailiff/policy';
import { plural, podName, storedQuarantine } from '@bailiff/response';
import { matchesPod, type PodLike, type PodSelector, subjectParts } from '../pod-selector.ts';
import type { Reader } from '../reader.ts';
import type { ResponseRow } from '../rows/response-rows.ts';
import {
  Bursts,
  configItem,
  createdItem,
  finalItem,
  guardedItem,
  inTime,
  responseItem,
  type TimelineItem,
  verdictItem,
} from '../rows/timeline-items.ts';
import type { VerdictRow } from '../rows/verdict-rows.ts';
import { verdictsOfPod } from './chain.ts';
import { deletedText } from './deleted.ts';
import { NodeFrames, RefusedCounts } from './node-frames.ts';
import { readPods } from './pods.ts';

export interface Timeline {
  /** `shop/web-0 on node-a`. */
  title: string;
  /** Uid, owner, current state. */
  facts: string[];
  items: TimelineItem[];
  /** Sentences about omitted data. */
  notes: string[];
}

export interface TimelineRequest {
  /** Null for a verdict without a pod; then only its own evidence is shown. */
  pod: PodSelector | null;
  sinceMs: number;
  untilMs: number;
  /** The requested verdict. */
  verdict: VerdictRow | null;
  /** Others do not exist for the reader; null: something of a node or of the whole cluster. Default: all. */
  maySee?: MaySee;
}

type MaySee = (namespace: string | null) => boolean;
const ALL: MaySee = () => true;

/** Most lifecycle items of one kind. */
const MAX_LIFECYCLE = 100;
/** Responses and configuration changes, each: the newest are kept. */
const MAX_ITEMS = 1_000;
/** Interfaces whose guard is known; a node may report any number. */
const MAX_INTERFACES = 10_000;

interface Collected {
  items: TimelineItem[];
  /** Selected by the bus time of their messages: the clock of the node may be wrong. */
  violations: TimelineItem[];
  facts: string[];
  notes: string[];
  pods: Map<string, PodLike & { owner: string }>;
  nodes: Set<string>;
}

export async function readTimeline(reader: Reader, request: TimelineRequest): Promise<Timeline> {
  const found: Collected = { items: [], violations: [], facts: [], notes: [], pods: new Map(), nodes: new Set() };
  await readLists(reader, request, found);
  await readViolations(reader, request, found);
  await readVerdictsAndResponses(reader, request, found);
  await readConfig(reader, request, found);
  const { pods, nodes, facts, notes } = found;
  const within = ({ atMicros, untilMicros }: TimelineItem) =>
    untilMicros / 1000 >= request.sinceMs && atMicros / 1000 <= request.untilMs;
  const one = [...pods.values()][0];
  const subject = one
    ? podName(one)
    : request.verdict
      ? `node ${request.verdict.verdict.nodeName}`
      : (request.pod?.text ?? '');
  const where = [...nodes].sort().join(', ');
  const described = [...pods.values()].map(({ uid, owner }) =>
    owner === '' ? `uid ${uid}` : `uid ${uid}, of ${owner}`,
  );
  if (pods.size > 1) notes.push(`${plural(pods.size, 'pod')} of this name are shown together.`);
  const title = where === '' || !one ? subject : `${subject} on ${where}`;
  return {
    title,
    facts: [...described.slice(0, 8), ...facts],
    items: inTime([...found.items.filter(within), ...found.violations]),
    notes,
  };
}

async function readLists(reader: Reader, { pod }: TimelineRequest, found: Collected): Promise<void> {
  if (!pod) return;
  const listed = (await readPods(reader)).filter((candidate) => matchesPod(pod, candidate));
  for (const one of listed) {
    const top = one.owners.at(-1);
    found.pods.set(one.uid, { ...one, owner: top ? `${top.kind} ${top.name}` : '' });
    found.nodes.add(one.nodeName);
    const createdMs = Date.parse(one.createdAt);
    if (!Number.isNaN(createdMs)) found.items.push(createdItem(createdMs * 1000, one.nodeName));
  }
  found.facts.push(listed.length > 0 ? 'currently in the snapshot of its node' : 'currently in no pod snapshot');
  for (const stored of await openBucket(reader.bus, 'bailiff_quarantine').entries()) {
    const list = storedQuarantine(decodeToken(stored.key), stored);
    // Another program can store a value under a key that no node has.
    if (!list) reader.note(`cannot read the quarantine list ${stored.key}`);
    for (const entry of list?.entries ?? []) {
      const who = { uid: entry.podUid, namespace: entry.podNamespace, name: entry.podName };
      if (matchesPod(pod, who)) found.facts.push(`currently in quarantine, until ${entry.until || 'released'}`);
    }
  }
}

async function readViolations(reader: Reader, request: TimelineRequest, found: Collected): Promise<void> {
  const { bus, signal } = reader;
  const { pod, sinceMs, untilMs, verdict, maySee = ALL } = request;
  const named = new Set(verdict?.verdict.evidence.map(({ streamSequence, index }) => `${streamSequence}/${index}`));
  const frames = new NodeFrames(reader, sinceMs);
  const refusals = new RefusedCounts();
  const bursts = new Bursts();
  const gaps = new Map<string, TimelineItem>();
  const own = new Set<string>();
  let finals = 0;
  const result = await readNewest(bus, 'VIOLATIONS', {
    sinceMs,
    ...(Number.isFinite(untilMs) ? { untilMicros: untilMs * 1000 } : {}),
    filterSubjects: [filters.violations(pod ? {} : { node: verdict?.verdict.nodeName ?? '' })],
    onMessage: (message) =>
      frames.read(message, ({ node: nodeName, frame, refused, refusedWhole }) => {
        for (const gap of refusedWhole ? [] : frame.coverage) {
          if (gaps.size >= MAX_INTERFACES) gaps.clear();
          gaps.set(
            `${nodeName} ${gap.ifindex} ${gap.generation}`,
            guardedItem(gap, frame.publishedAt, message.sequence),
          );
        }
        frame.violations.forEach((violation, index) => {
          const isSelected = pod ? matchesPod(pod, violation.pod) : named.has(`${message.sequence}/${index}`);
          if (!isSelected) return;
          const why = refused[index];
          if (why) {
            refusals.add(nodeName, why, violation);
            return;
          }
          bursts.add(violation, nodeName, message.sequence);
          found.nodes.add(nodeName);
          if (own.size < MAX_INTERFACES) own.add(`${nodeName} ${violation.ifindex} ${violation.generation}`);
          if (violation.final && finals++ < MAX_LIFECYCLE) {
            found.violations.push(finalItem(violation, frame.publishedAt, message.sequence));
          }
          const who = violation.pod;
          if (who && !found.pods.has(who.uid) && found.pods.size < MAX_LIFECYCLE) {
            found.pods.set(who.uid, { ...who, owner: who.ownerName === '' ? '' : `${who.ownerKind} ${who.ownerName}` });
          }
        });
      }),
    signal,
  });
  found.violations.push(...bursts.items(), ...[...gaps].filter(([key]) => own.has(key)).map(([, gap]) => gap));
  // They name nodes that are not the pod's.
  if (maySee(null)) found.notes.push(...refusals.lines());
  if (result.cut) found.notes.push('Only the newest violations were read: there are too many.');
  const deleted = await deletedText(reader, sinceMs);
  if (deleted !== '') found.notes.push(`${deleted[0]?.toUpperCase()}${deleted.slice(1)}.`);
  if (bursts.dropped > 0) found.notes.push(`${plural(bursts.dropped, 'older burst')} of violations omitted.`);
}

async function readVerdictsAndResponses(reader: Reader, request: TimelineRequest, found: Collected): Promise<void> {
  const { bus, decoder, signal } = reader;
  const { pod, sinceMs, verdict } = request;
  const rows = pod ? await verdictsOfPod(reader, pod, sinceMs) : [];
  if (verdict && !rows.some((row) => row.sequence === verdict.sequence)) rows.push(verdict);
  for (const row of rows) {
    found.items.push(verdictItem(row));
    const who = row.verdict.pod;
    found.nodes.add(row.verdict.nodeName);
    if (who && !found.pods.has(who.uid)) {
      found.pods.set(who.uid, { ...who, owner: who.ownerName === '' ? '' : `${who.ownerKind} ${who.ownerName}` });
    }
  }
  const ids = new Set(rows.map((row) => row.verdict.verdictId));
  const responses = new Newest<TimelineItem>(MAX_ITEMS);
  await readNewest(bus, 'RESPONSES', {
    sinceMs,
    filterSubjects: [filters.responses(pod ? subjectParts(pod) : { namespace: '', pod: '' })],
    onMessage: (message) =>
      isCopy(message)
        ? undefined
        : decoder.read(message, 'Response', (response) => {
            const who = { uid: response.podUid, namespace: response.podNamespace, name: response.podName };
            if (!(pod ? matchesPod(pod, who) : ids.has(response.verdictId))) return;
            const row: ResponseRow = { sequence: message.sequence, storedAtMicros: message.timestampMicros, response };
            responses.add(responseItem(row, reader.nowMs()));
          }),
    signal,
  });
  found.items.push(...responses.items());
  if (responses.dropped > 0) found.notes.push(`${plural(responses.dropped, 'older response')} omitted.`);
}

/** The newest of a list. Dropped in blocks, because shifting a long list costs its length. */
class Newest<T> {
  readonly #most: number;
  #items: T[] = [];
  dropped = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(one: T): void {
    this.#items.push(one);
    if (this.#items.length >= 2 * this.#most) this.items();
  }

  items(): T[] {
    this.dropped += Math.max(0, this.#items.length - this.#most);
    this.#items = this.#items.slice(-this.#most);
    return this.#items;
  }
}

/** Whether a key can affect pods of these namespaces or nodes, and may be seen. Pure. */
function canAffect(key: string, namespaces: ReadonlySet<string>, nodes: ReadonlySet<string>, maySee: MaySee): boolean {
  try {
    const { scope, namespace, name } = parseConfigKey(key);
    if (scope === 'cluster') return maySee(null);
    if (scope === 'node') return nodes.has(name) && maySee(null);
    return namespace !== null && namespaces.has(namespace) && maySee(namespace);
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

async function readConfig({ bus, signal }: Reader, request: TimelineRequest, found: Collected): Promise<void> {
  const namespaces = new Set([...found.pods.values()].map(({ namespace }) => namespace));
  const { sinceMs, maySee = ALL } = request;
  const changes = new Newest<TimelineItem>(MAX_ITEMS);
  await readNewest(bus, 'CONFIG_LOG', {
    sinceMs,
    onMessage: (message) => {
      const change = changeOf(message);
      if (change && canAffect(change.key, namespaces, found.nodes, maySee)) changes.add(configItem(change));
    },
    signal,
  });
  found.items.push(...changes.items());
  if (changes.dropped > 0) found.notes.push(`${plural(changes.dropped, 'older change')} of the configuration omitted.`);
}
