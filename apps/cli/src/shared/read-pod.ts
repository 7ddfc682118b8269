/** What the bus has of one pod, for commands about a pod. */
import { isName } from '@bailiff/bus';
import {
  deletedText,
  matchesPod,
  type PodSelector,
  type PodViolations,
  readBusTime,
  readNode,
  readPods,
  readServices,
  type VerdictRow,
  verdictsOfPod,
  violationsOfPod,
} from '@bailiff/insight';
import { shortList, unsentReason } from '@bailiff/response';
import { parseWhen } from './arguments.ts';
import { CliError } from './errors.ts';
import type { Session } from './session.ts';

/** Uids named in one line. */
const MAX_NAMED = 8;

export interface PodCase {
  services: Awaited<ReturnType<typeof readServices>>;
  seen: PodViolations;
  /** Newest first. */
  verdicts: VerdictRow[];
}

/** Notes what nodes claim without a right to. @throws CliError CLI_NOT_FOUND, BusError */
export async function readPod(session: Session, pod: PodSelector, since: string): Promise<PodCase> {
  const nowMs = await readBusTime(session);
  const sinceMs = parseWhen(since, '--since')(nowMs);
  const [services, seen, verdicts] = await Promise.all([
    readServices(session),
    violationsOfPod(session, pod, sinceMs),
    verdictsOfPod(session, pod, sinceMs),
  ]);
  for (const line of seen.refused.lines()) session.out.note(line);
  const nodes = new Set([...seen.nodes, ...verdicts.map(({ verdict }) => verdict.nodeName)]);
  if (seen.tally.groups().length > 0 || verdicts.length > 0) {
    for (const reason of await missingReasons(session, nodes, nowMs, sinceMs)) session.out.note(reason);
    return { services, seen, verdicts };
  }
  for (const { nodeName, ...placed } of await readPods(session)) if (matchesPod(pod, placed)) nodes.add(nodeName);
  const but = (await missingReasons(session, nodes, nowMs, sinceMs)).map((reason) => `; ${reason}`).join('');
  throw new CliError('CLI_NOT_FOUND', `no violation or verdict of a pod "${pod.text}" since ${since}${but}`, {
    remedy: 'check the name, extend the range with --since, or see `bailiff status`',
  });
}

/** A pod has one node; a name can select pods of several. */
const MAX_NODES = 4;

async function missingReasons(
  session: Session,
  nodes: ReadonlySet<string>,
  nowMs: number,
  sinceMs: number,
): Promise<string[]> {
  const reasons = [await deletedText(session, sinceMs)];
  // A record of the bus can name what is no node.
  for (const node of [...nodes].filter(isName).slice(0, MAX_NODES))
    reasons.push(unsentReason(node, await readNode(session, node), nowMs));
  return reasons.filter((reason) => reason !== '');
}

/** Notes what limits the rows: several pods, or too many violations. */
export function noteLimits({ out }: Session, pod: PodSelector, { uids, cut }: PodViolations): void {
  if (uids.size > 1) out.note(`"${pod.text}" selects several pods: ${shortList([...uids], MAX_NAMED)}`);
  if (cut) out.note('only the newest violations were read: there are too many');
}
