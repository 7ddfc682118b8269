/**
 * What the response policies would have made of a list of verdicts: which pods answered, by what, and which guard would have refused. Pure; the plan
 * and the guards are the responder's own (libs/response).
 *
 * What a recording does not hold is assumed, and the report says so: nothing is a dry run, disarmed or failing; budgets begin empty; a pod is as its node's list
 * has it now, or, when it is gone, as its verdict names it; an owner has as many replicas as are listed now, all ready. A pod that was
 * deleted or evicted does not come back. Verdicts reach the responder at the time they were set off.
 */

import { inOrder, type TrialVerdict } from '@bailiff/correlation';
import type { ResponsePolicy } from '@bailiff/policy';
import {
  type ActionEntry,
  checkGuards,
  type Facts,
  hasSubstitute,
  needsReservation,
  type OwnerFacts,
  type OwnerRef,
  ownerOf,
  type PodFacts,
  planVerdict,
  type Task,
  withSubstitutes,
} from '@bailiff/response';

/** A pod as its node's list has it. */
export interface ListedPod {
  node: string;
  /** From the pod upwards. */
  owners: readonly { kind: string; name: string; uid: string }[];
}

export interface AnswerWorld {
  /** Response policies in force at a time, those on trial among them. */
  policiesAt(micros: number): ReadonlyMap<string, ResponsePolicy>;
  /** By uid. */
  pods: ReadonlyMap<string, ListedPod>;
}

export interface Answer {
  verdict: TrialVerdict;
  action: Task['action'];
  policy: string;
  /** When it would have been done or refused. */
  atMicros: number;
  outcome: 'act' | 'refuse' | 'ask';
  /** Of the guard that refused, or asked for a person. */
  code: string;
  reason: string;
  /** Whether the policy of that time was only a dry run. */
  dryRun: boolean;
}

/** Guards count what was begun within this; the longest window that a policy may name. */
const ACTION_MEMORY_MICROS = 24 * 3_600_000_000;
const NO_LIMITS = {
  answerHorizonMs: Number.POSITIVE_INFINITY,
  approvalTimeoutMs: Number.POSITIVE_INFINITY,
  maxGraceSeconds: 30,
};
const REMOVING: ReadonlySet<string> = new Set(['delete', 'evict']);

interface Due {
  atMicros: number;
  /** What is due at one time is taken in the order in which it was planned: verdict by verdict, step by step. */
  order: number;
  task: Task;
  verdict: TrialVerdict;
}

class Simulation {
  readonly #world: AnswerWorld;
  readonly #replicas = new Map<string, number>();
  readonly #removed = new Set<string>();
  readonly #planned = new Set<string>();
  #actions: ActionEntry[] = [];
  #queue: Due[] = [];
  readonly answers: Answer[] = [];

  constructor(world: AnswerWorld) {
    this.#world = world;
    for (const { owners } of world.pods.values()) {
      for (const { uid } of owners) this.#replicas.set(uid, (this.#replicas.get(uid) ?? 0) + 1);
    }
  }

  run(verdicts: readonly TrialVerdict[]): void {
    for (const verdict of [...verdicts].sort(inOrder)) {
      for (const task of planVerdict(verdict, verdict.triggeredAt, this.#world.policiesAt(verdict.triggeredAt))) {
        this.#planned.add(task.taskId);
        this.#queue.push({ atMicros: task.dueAtMicros, order: this.#queue.length, task, verdict });
      }
    }
    this.#queue.sort(byTime);
    for (let at = 0; at < this.#queue.length; at++) this.#take(this.#queue[at] as Due, at);
  }

  #take(due: Due, place: number): void {
    const { atMicros, task, verdict } = due;
    const policy = this.#world.policiesAt(atMicros).get(task.policy) ?? null;
    const dryRun = task.dryRun || (policy?.dryRun ?? false);
    const facts = this.#facts(task, verdict);
    this.#actions = dropOlder(this.#actions, atMicros - ACTION_MEMORY_MICROS);
    const decision = checkGuards({
      task: { ...task, dryRun: false },
      verdict,
      policy: policy && { ...policy, dryRun: false },
      disarmed: null,
      facts,
      actions: this.#actions,
      reserved: false,
      pendingAtMicros: null,
      approvedAtMicros: null,
      nowMicros: atMicros,
      limits: NO_LIMITS,
    });
    const { action } = task;
    const told = { verdict, action, policy: task.policy, atMicros, dryRun };
    if (decision.kind === 'wait') {
      this.#insert({ ...due, atMicros: Math.max(decision.untilMicros, atMicros + 1) }, place);
    } else if (decision.kind === 'refuse') {
      this.answers.push({ ...told, outcome: 'refuse', code: decision.code, reason: decision.reason });
      if (policy && hasSubstitute(action, decision.code, policy)) this.#substitute(due, decision.code, policy, place);
    } else if (decision.kind === 'go') {
      this.answers.push({ ...told, outcome: 'act', code: '', reason: '' });
      this.#act(task, verdict, facts, atMicros);
    } else {
      this.answers.push({ ...told, outcome: 'ask', code: decision.code, reason: decision.reason });
    }
  }

  #act({ taskId, action, policy }: Task, { pod, nodeName }: TrialVerdict, facts: Facts, atMicros: number): void {
    const podUid = pod?.uid ?? '';
    if (REMOVING.has(action)) this.#removed.add(podUid);
    const ownerUid = ownerOf(facts)?.uid ?? '';
    const namespace = pod?.namespace ?? '';
    this.#actions.push({ taskId, atMicros, action, policy, podUid, ownerUid, namespace, nodeName });
  }

  /** The quarantine that stands in for a removal that was refused. */
  #substitute(
    { atMicros, order, task, verdict }: Due,
    reasonCode: string,
    policy: ResponsePolicy,
    place: number,
  ): void {
    const stopped = { atMicros, response: { reasonCode } };
    const tasks = withSubstitutes([task], verdict, new Map([[task.policy, policy]]), () => stopped);
    const substitute = tasks.find((one) => one.substitute);
    if (!substitute || this.#planned.has(substitute.taskId)) return;
    this.#planned.add(substitute.taskId);
    this.#insert({ atMicros: substitute.dueAtMicros, order, task: substitute, verdict }, place);
  }

  #insert(due: Due, after: number): void {
    let low = after + 1;
    let high = this.#queue.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (byTime(this.#queue[middle] as Due, due) <= 0) low = middle + 1;
      else high = middle;
    }
    this.#queue.splice(low, 0, due);
  }

  #facts(task: Task, verdict: TrialVerdict): Facts {
    const node = { uid: '', resourceVersion: '', name: verdict.nodeName, unschedulable: false, annotations: {} };
    const pod = this.#pod(verdict);
    const owner = pod?.owner && needsReservation(task.action) ? this.#owner(pod.owner) : null;
    return { pod, owner, node };
  }

  #pod({ pod, nodeName }: TrialVerdict): PodFacts | null {
    if (!pod || this.#removed.has(pod.uid)) return null;
    const listed = this.#world.pods.get(pod.uid);
    const named = pod.ownerUid === '' ? [] : [{ kind: pod.ownerKind, name: pod.ownerName, uid: pod.ownerUid }];
    const owner = (listed?.owners ?? named)[0];
    return {
      uid: pod.uid,
      resourceVersion: '',
      // A static pod is owned by its node.
      staticUid: owner?.kind === 'Node' ? pod.uid : null,
      namespace: pod.namespace,
      name: pod.name,
      nodeName: listed?.node ?? nodeName,
      labels: {},
      annotations: {},
      deleting: false,
      deletionGraceSeconds: null,
      terminationGraceSeconds: null,
      ready: true,
      owner: owner ? { apiVersion: '', ...owner } : null,
    };
  }

  /** Of an owner without a pod today nobody knows what it had, but that it was there: as one of a single replica, which the pod was. */
  #owner({ uid }: OwnerRef): OwnerFacts {
    const replicas = this.#replicas.get(uid) ?? 1;
    return { replicas, ready: replicas };
  }
}

const byTime = (a: Due, b: Due) => a.atMicros - b.atMicros || a.order - b.order;

function dropOlder(actions: ActionEntry[], oldest: number): ActionEntry[] {
  return (actions[0]?.atMicros ?? oldest) < oldest ? actions.filter(({ atMicros }) => atMicros >= oldest) : actions;
}

/** Answers in the order of their time. @param verdicts in any order */
export function answersTo(verdicts: readonly TrialVerdict[], world: AnswerWorld): Answer[] {
  const simulation = new Simulation(world);
  simulation.run(verdicts);
  return simulation.answers;
}

const keyOf = ({ verdict, action, policy, outcome, code }: Answer) =>
  JSON.stringify([verdict.pod?.uid ?? verdict.nodeName, verdict.rule, action, policy, outcome, code]);

export interface AnswerComparison {
  both: number;
  /** Only under the rules on trial, and only before; in the order of time. */
  appeared: Answer[];
  vanished: Answer[];
}

/** Two lists of answers: one is the same as another when it does the same to the same pod for the same rule. */
export function compareAnswers(before: readonly Answer[], after: readonly Answer[]): AnswerComparison {
  const left = new Map<string, Answer[]>();
  for (const answer of before) left.set(keyOf(answer), [...(left.get(keyOf(answer)) ?? []), answer]);
  const appeared = after.filter((answer) => left.get(keyOf(answer))?.shift() === undefined);
  const remaining = new Set([...left.values()].flat());
  return { both: after.length - appeared.length, appeared, vanished: before.filter((one) => remaining.has(one)) };
}
