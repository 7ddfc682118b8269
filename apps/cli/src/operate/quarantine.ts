/**
 * Lists quarantined pods, and releases a pod before its quarantine ends.
 *
 * A release first removes the pod's entry from its node's list, which the kernel follows, and marks
 * the removal there, so no responder adds the entry again. It then records the release under each
 * response that quarantined the pod; the responder then removes label and NetworkPolicy. An
 * interrupted release can be repeated: a missing entry is no error while a record is still missing.
 */
import { BusError, encodeToken, openBucket } from '@bailiff/bus';
import {
  clockTime,
  matchesPod,
  type PodSelector,
  readBusTime,
  readNode,
  readNodesInput,
  readServices,
  readTasks,
  shortId,
  subjectParts,
  type TaskRecords,
} from '@bailiff/insight';
import {
  ALREADY_QUARANTINED,
  age,
  editQuarantine,
  isDisarmedThere,
  podName,
  presentStatuses,
  quarantineEndMicros,
  releaseOf,
  reportedName,
  responderProblem,
  STALE_NODE_MS,
  withRelease,
} from '@bailiff/response';
import type { InterfaceStatus, NodeStatus, QuarantineEntry, Response } from '@bailiff/schemas';
import type { Command } from 'commander';
import { parseName, parsePod } from '../shared/arguments.ts';
import { confirm } from '../shared/confirm.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { publishResponse } from '../shared/publish-response.ts';
import { nameOf, QUARANTINE_BUCKET, type Quarantined, readQuarantined } from '../shared/quarantined.ts';
import { onBus, type Session } from '../shared/session.ts';
import type { Column } from '../shared/text/table.ts';

const COLUMNS: readonly Column[] = [
  { title: 'POD' },
  { title: 'NODE' },
  { title: 'STATE' },
  { title: 'UNTIL (UTC)' },
  { title: 'LEFT', align: 'right' },
  { title: 'VERDICT' },
  { title: 'WHY', min: 16, spare: true },
];

/** Whether its guards drop the traffic of a pod in quarantine. One without a name was removed from its pod. */
const canBlock = ({ coverage, interfaceName }: InterfaceStatus) =>
  coverage === 'guarded' || (coverage === 'partial' && interfaceName !== '');

/**
 * Pods whose traffic a node drops, as of its newest status, although its list has no entry: it has not read
 * the release, or the list was lost. The kernel keeps a quarantine until its end. Pure.
 */
export function heldOf(
  entries: readonly Pick<Quarantined, 'nodeName' | 'podUid'>[],
  nodes: ReadonlyMap<string, NodeStatus | string>,
  nowMs: number,
): Quarantined[] {
  const held = new Map<string, Quarantined>();
  const keyOf = ({ nodeName, podUid }: Pick<Quarantined, 'nodeName' | 'podUid'>) => `${nodeName} ${podUid}`;
  const listed = new Set(entries.map(keyOf));
  for (const [nodeName, status] of nodes) {
    if (typeof status === 'string') continue;
    for (const { podUid, podNamespace, podName: name, quarantinedUntil } of status.interfaces.filter(canBlock)) {
      const untilMs = Date.parse(quarantinedUntil ?? '');
      const one = { nodeName, podUid, podNamespace, podName: name, verdictId: '', reason: '', untilMs };
      if (podUid === '' || !(untilMs > nowMs) || listed.has(keyOf(one))) continue;
      held.set(keyOf(one), { ...one, until: new Date(untilMs).toISOString() });
    }
  }
  return [...held.values()];
}

/** What the kernel of the pod's node does, as of its status. Pure. */
export function stateOf(
  { podUid, podNamespace }: Pick<QuarantineEntry, 'podUid' | 'podNamespace'>,
  status: NodeStatus | string | undefined,
  nowMs: number,
): string {
  if (typeof status !== 'object' || nowMs - Date.parse(status.updatedAt) > STALE_NODE_MS) return 'not known';
  // One without a name was removed from its pod.
  const isThere = ({ coverage, interfaceName }: InterfaceStatus) => coverage !== 'partial' || interfaceName !== '';
  const own = status.interfaces.filter((one) => one.podUid === podUid && isThere(one));
  const omitted = Object.values(status.interfacesOmitted ?? {}).some((count) => count > 0);
  if (own.length === 0) return omitted ? 'not known' : 'no interface';
  if (!own.every(canBlock)) return own.some(canBlock) ? 'partly' : 'blocks nothing';
  if (!own.every(({ quarantinedUntil }) => Date.parse(quarantinedUntil ?? '') > nowMs)) return 'not applied';
  const isDisarmed = isDisarmedThere(status, podNamespace, nowMs);
  if (isDisarmed !== false) return isDisarmed ? 'disarmed' : 'not known';
  return own.some(({ pastGuardFrames = 0 }) => pastGuardFrames > 0) ? 'sent only' : 'in force';
}

export async function listQuarantined(session: Session, namespace: string | undefined, json: boolean): Promise<void> {
  const { out } = session;
  const [{ all, problems }, input] = await Promise.all([
    readQuarantined(session),
    readNodesInput(session, STALE_NODE_MS),
  ]);
  const { nodes, nowMs } = input;
  const inForce = all.filter(({ untilMs }) => untilMs > nowMs);
  const entries = [
    ...inForce.map((entry) => ({ ...entry, state: stateOf(entry, nodes.get(entry.nodeName), nowMs) })),
    ...heldOf(inForce, new Map(presentStatuses(input)), nowMs).map((entry) => ({ ...entry, state: 'not released' })),
  ]
    .filter(({ podNamespace }) => namespace === undefined || podNamespace === namespace)
    .sort((a, b) => a.untilMs - b.untilMs);
  if (json) return out.json(entries.map(({ untilMs: _untilMs, ...entry }) => entry));
  if (entries.length === 0)
    return out.note(`no pod is in quarantine${problems === 0 ? '' : ', as far as the lists could be read'}`);
  out.rows(COLUMNS, entries, (entry) => [
    nameOf(entry),
    entry.nodeName,
    { text: entry.state, style: entry.state === 'in force' ? 'green' : 'red' },
    Number.isFinite(entry.untilMs) ? clockTime(entry.untilMs * 1000, nowMs) : 'no end',
    Number.isFinite(entry.untilMs) ? age(entry.untilMs - nowMs) : '-',
    entry.verdictId === '' ? '-' : shortId(entry.verdictId),
    entry.reason,
  ]);
  if (entries.some(({ state }) => state !== 'in force'))
    out.note('what each state means: docs/operations.md#what-a-quarantine-blocks');
}

export interface ReleaseOptions {
  reason?: string;
  by?: string;
  yes?: boolean;
  json?: boolean;
}

const podOf = (response: Response) => ({
  namespace: response.podNamespace,
  name: response.podName,
  uid: response.podUid,
});

/** A started quarantine: its record and its end. */
interface StartedQuarantine {
  response: Response;
  untilMs: number;
}

/**
 * Quarantines of a pod that have started and neither ended nor been undone, including those in
 * progress. Pure.
 */
export function startedQuarantines(tasks: Iterable<TaskRecords>, pod: PodSelector, nowMs: number): StartedQuarantine[] {
  return [...tasks].flatMap(({ started, terminal, undone }) => {
    const response = (terminal ?? started)?.response;
    if (!response || undone || !matchesPod(pod, podOf(response))) return [];
    if (terminal && (response.phase !== 'succeeded' || response.reasonCode === ALREADY_QUARANTINED)) return [];
    const startedAt = (started?.response ?? response).recordedAt;
    const untilMs = quarantineEndMicros(response.expiresAt, startedAt) / 1000;
    return untilMs > nowMs ? [{ response, untilMs }] : [];
  });
}

const selectedOf = ({ podUid: uid, podNamespace: namespace, podName: name }: QuarantineEntry) => ({
  uid,
  namespace,
  name,
});

interface Target {
  podUid: string;
  /** Several if another node claims the pod: one that does not have it loses nothing by a release. */
  nodeNames: string[];
  name: string;
}

/** The one pod that a selector selects. Pure. @throws CliError CLI_NOT_FOUND | CLI_USAGE */
export function targetOf(entries: readonly Quarantined[], responses: readonly Response[], pod: PodSelector): Target {
  const found = new Map<string, Target>();
  for (const entry of entries) {
    const { podUid, nodeName } = entry;
    if (!matchesPod(pod, selectedOf(entry))) continue;
    const target = found.get(podUid) ?? { podUid, nodeNames: [], name: nameOf(entry) };
    target.nodeNames.push(nodeName);
    found.set(podUid, target);
  }
  for (const response of responses) {
    const { podUid, nodeName } = response;
    if (!found.has(podUid)) found.set(podUid, { podUid, nodeNames: [nodeName], name: podName(podOf(response)) });
  }
  const [target, ...others] = found.values();
  if (!target) {
    throw new CliError('CLI_NOT_FOUND', `no pod "${pod.text}" is in quarantine`, {
      remedy: '`bailiff quarantine list` shows the quarantined pods',
    });
  }
  if (others.length === 0) return target;
  const known = [target, ...others].map(
    (one) => `${reportedName(one.podUid)}  ${one.name} on ${one.nodeNames.join(', ')}`,
  );
  throw new CliError('CLI_USAGE', `"${pod.text}" selects ${known.length} quarantined pods`, {
    remedy: `use namespace/name or a uid:\n${known.slice(0, 8).join('\n')}`,
  });
}

export async function release(session: Session, pod: PodSelector, options: ReleaseOptions): Promise<void> {
  const { bus, io, out } = session;
  const [{ all: entries }, tasks] = await Promise.all([
    readQuarantined(session),
    readTasks(session, { action: 'quarantine', ...subjectParts(pod) }),
  ]);
  const nowMs = await readBusTime(session);
  const started = startedQuarantines(tasks.values(), pod, nowMs);
  const listed = entries.filter(({ untilMs }) => untilMs > nowMs);
  const isKnown = started.length > 0 || listed.some((entry) => matchesPod(pod, selectedOf(entry)));
  // What a node reports counts only without an entry and a record: it may claim any pod.
  const target = targetOf(
    isKnown ? listed : await readHeld(session, listed),
    started.map(({ response }) => response),
    pod,
  );
  const where = target.nodeNames.join(', ');
  await confirm(io, `Release ${target.name} on ${where} from quarantine?`, options.yes);
  const selected = started.filter(({ response }) => response.podUid === target.podUid);
  const ended = selected.map(({ response, untilMs }) => ({ verdictId: response.verdictId, untilMs }));
  let outcome: 'removed' | 'absent' = 'absent';
  for (const node of target.nodeNames) {
    const edited = await editQuarantine(openBucket(bus, QUARANTINE_BUCKET), encodeToken(node), node, (list) =>
      withRelease(list, { podUid: target.podUid, started: ended, isHeld: !isKnown }, nowMs),
    );
    if (edited === 'removed') outcome = edited;
  }
  const operator = { by: options.by ?? io.operator, nowMicros: io.nowMs() * 1000, note: options.reason ?? '' };
  let recorded = 0;
  for (const { response } of selected) {
    if ((await publishResponse(session, releaseOf(response, operator))) !== null) recorded += 1;
  }
  if (options.json) out.json({ ...target, nodeName: target.nodeNames[0], entry: outcome, recorded });
  else if (!isKnown)
    out.line(`${target.name} is released on ${where}: the list is written again; no quarantine is recorded`);
  else if (outcome === 'absent' && recorded === 0) out.line(`${target.name} is already released`);
  else out.line(`${target.name} is released on ${where}; the responder removes its label and NetworkPolicy`);
  if (selected.length > 0) await noteResponder(session);
  for (const node of target.nodeNames) await noteSilent(session, node, nowMs);
}

/** Where the network plugin enforces it, the NetworkPolicy blocks the pod until a responder has deleted it. */
async function noteResponder(session: Session): Promise<void> {
  const status = await readServices(session);
  const problem = status && responderProblem(status);
  if (problem && status.responder.ready === 0)
    session.out.note(`its label and NetworkPolicy stay until a responder works: ${problem.node}: ${problem.text}`);
}

/** Pods that present nodes hold without an entry. */
async function readHeld(session: Session, listed: readonly Quarantined[]): Promise<Quarantined[]> {
  const input = await readNodesInput(session, STALE_NODE_MS);
  return heldOf(listed, new Map(presentStatuses(input)), input.nowMs);
}

/** Why the pod's traffic does not pass yet although it is released. */
async function noteSilent(session: Session, nodeName: string, nowMs: number): Promise<void> {
  try {
    const status = await readNode(session, nodeName);
    if (status === null || typeof status === 'string') return;
    const ageMs = nowMs - Date.parse(status.updatedAt);
    if (ageMs > STALE_NODE_MS)
      session.out.note(
        `${nodeName} is silent for ${age(ageMs)}: it drops the pod's traffic until its collector runs, or the quarantine ends`,
      );
  } catch (error) {
    // The pod is released; a status that cannot be read is no failure.
    if (!(error instanceof BusError)) throw error;
    session.out.note(`whether ${nodeName} works is not known: ${error.message}`);
  }
}

function registerList(parent: Command, io: CliIo): void {
  const command = parent
    .command('list')
    .description('pods in quarantine: whether their nodes drop their traffic in both directions, until when, and why')
    .option('-n, --namespace <namespace>', 'pods of a namespace')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff quarantine list\n');
  onBus(command, io, ({ namespace, json = false }: { namespace?: string; json?: boolean }) => {
    if (namespace !== undefined) parseName(namespace, '--namespace');
    return (session) => listQuarantined(session, namespace, json);
  });
}

function registerRelease(parent: Command, io: CliIo): void {
  const command = parent
    .command('release')
    .description("end a quarantine early; the pod's traffic passes when its node has read that")
    .argument('<pod>', 'namespace/name, name or uid')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--reason <text>', 'reason, for the record')
    .option('--by <name>', 'author, for the record (default: user@host)')
    .option('-y, --yes', 'do not ask for confirmation')
    .option('--json', 'print the result as one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff quarantine release shop/cart-1 --reason "image was rebuilt"\n');
  onBus(command, io, (options: ReleaseOptions & { namespace?: string }, text: string) => {
    const pod = parsePod(text, 'pod', options.namespace);
    return (session) => release(session, pod, options);
  });
}

export function register(program: Command, io: CliIo): void {
  const command = program.command('quarantine').description('quarantined pods, and their release');
  registerList(command, io);
  registerRelease(command, io);
}
