/**
 * Simulates the response policies for a list of verdicts: which pods, by which action, and which
 * guard would refuse. Pure. Plan and guards are the responder's own (libs/response).
 *
 * Assumptions, which the report lists: nothing is a dry run, disarmed or failing; budgets start
 * empty; a pod is as in its node's current snapshot, or as its verdict names it; an owner has as
 * many replicas as are listed now, all ready. A deleted or evicted pod does not come back. Verdicts
 * reach the responder when they trigger.
 */

import { inOrder, type TrialVerdict } from '@bailiff/correlation';
import { REMOVING_ACTIONS, type ResponsePolicy } from '@bailiff/policy';
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

/** A pod of its node's snapshot. */
export interface ListedPod {
  node: string;
  /** From the pod upwards. */
  owners: readonly { kind: string; name: string; uid: string }[];
}

export interface ResponseContext {
  /** Response policies in force at a time, including trial policies. */
  policiesAt(micros: number): ReadonlyMap<string, ResponsePolicy>;
  /** By uid. */
  pods: ReadonlyMap<string, ListedPod>;
}

export interface SimulatedResponse {
  verdict: TrialVerdict;
  action: Task['action'];
  policy: string;
  /** When it would be done or refused. */
  atMicros: number;
  outcome: 'act' | 'refuse' | 'ask';
  /** Code of the guard that refuses or requires approval. */
  code: string;
  reason: string;
  /** Whether the policy is a dry run. */
  dryRun: boolean;
}

/** How long guards count actions; the longest window of a policy. */
const ACTION_MEMORY_MICROS = 24 * 3_600_000_000;
const NO_LIMITS = {
  maxOverdueMs: Number.POSITIVE_INFINITY,
  approvalTimeoutMs: Number.POSITIVE_INFINITY,
  maxGraceSeconds: 30,
};

interface Due {
  atMicros: number;
  /** Planning order; breaks ties of equal times. */
  order: number;
  task: Task;
  verdict: TrialVerdict;
}

class Simulation {
  readonly #context: ResponseContext;
  readonly #replicas = new Map<string, number>();
  readonly #removed = new Set<string>();
  /** By task. A task that is brought forward is no longer due at its former time. */
  readonly #due = new Map<string, Due>();
  readonly #ended = new Set<string>();
  #actions: ActionEntry[] = [];
  #queue: Due[] = [];
  readonly responses: SimulatedResponse[] = [];

  constructor(context: ResponseContext) {
    this.#context = context;
    for (const { owners } of context.pods.values()) {
      for (const { uid } of owners) this.#replicas.set(uid, (this.#replicas.get(uid) ?? 0) + 1);
    }
  }

  run(verdicts: readonly TrialVerdict[]): void {
    for (const verdict of [...verdicts].sort(inOrder)) {
      for (const task of planVerdict(verdict, verdict.triggeredAt, this.#context.policiesAt(verdict.triggeredAt))) {
        const due = { atMicros: task.dueAtMicros, order: this.#queue.length, task, verdict };
        this.#due.set(task.taskId, due);
        this.#queue.push(due);
      }
    }
    this.#queue.sort(byTime);
    for (let at = 0; at < this.#queue.length; at++) this.#take(this.#queue[at] as Due, at);
  }

  #take(due: Due, place: number): void {
    const { atMicros, task, verdict } = due;
    if (this.#due.get(task.taskId) !== due) return;
    const policy = this.#context.policiesAt(atMicros).get(task.policy) ?? null;
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
    if (decision.kind !== 'wait') this.#ended.add(task.taskId);
    const common = { verdict, action, policy: task.policy, atMicros, dryRun };
    if (decision.kind === 'wait') {
      this.#insert({ ...due, atMicros: Math.max(decision.untilMicros, atMicros + 1) }, place);
    } else if (decision.kind === 'refuse') {
      this.responses.push({ ...common, outcome: 'refuse', code: decision.code, reason: decision.reason });
      if (policy && hasSubstitute(action, decision.code, policy)) this.#substitute(due, decision.code, policy, place);
    } else if (decision.kind === 'go') {
      // The responder isolates it: its containers may run on.
      const code = REMOVING_ACTIONS.has(action) && facts.pod === null ? 'already-gone' : '';
      this.responses.push({ ...common, outcome: 'act', code, reason: '' });
      this.#act(task, verdict, facts, atMicros);
    } else {
      this.responses.push({ ...common, outcome: 'ask', code: decision.code, reason: decision.reason });
    }
  }

  #act({ taskId, action, policy }: Task, { pod, nodeName }: TrialVerdict, facts: Facts, atMicros: number): void {
    const podUid = pod?.uid ?? '';
    if (REMOVING_ACTIONS.has(action)) this.#removed.add(podUid);
    const ownerUid = ownerOf(facts)?.uid ?? '';
    const namespace = pod?.namespace ?? '';
    const entry = { taskId, atMicros, action, policy, podUid, ownerUid, claimedOwnerUid: '', namespace, nodeName };
    this.#actions.push(entry);
  }

  /** The quarantine that replaces a refused removal. */
  #substitute(
    { atMicros, order, task, verdict }: Due,
    reasonCode: string,
    policy: ResponsePolicy,
    place: number,
  ): void {
    const tasks = withSubstitutes([task], verdict, new Map([[task.policy, policy]]), () => ({ atMicros, reasonCode }));
    const substitute = tasks.find((one) => one.substitute);
    if (!substitute || this.#ended.has(substitute.taskId)) return;
    const own = this.#due.get(substitute.taskId);
    if (own && own.atMicros <= substitute.dueAtMicros) return;
    this.#insert({ atMicros: substitute.dueAtMicros, order, task: substitute, verdict }, place);
  }

  #insert(due: Due, after: number): void {
    this.#due.set(due.task.taskId, due);
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
    const listed = this.#context.pods.get(pod.uid);
    const named = pod.ownerUid === '' ? [] : [{ kind: pod.ownerKind, name: pod.ownerName, uid: pod.ownerUid }];
    const owner = (listed?.owners ?? named)[0];
    return {
      uid: pod.uid,
      resourceVersion: '',
      // The owner of a static pod is its node.
      staticUid: owner?.kind === 'Node' ? pod.uid : null,
      namespace: pod.namespace,
      name: pod.name,
      nodeName: listed?.node ?? nodeName,
      hostNetwork: false,
      labels: {},
      annotations: {},
      deleting: false,
      deletionGraceSeconds: null,
      terminationGraceSeconds: null,
      ready: true,
      owner: owner ? { apiVersion: '', ...owner } : null,
    };
  }

  /** An owner without listed pods is assumed to have a single replica. */
  #owner({ uid }: OwnerRef): OwnerFacts {
    const replicas = this.#replicas.get(uid) ?? 1;
    return { replicas, ready: replicas };
  }
}

const byTime = (a: Due, b: Due) => a.atMicros - b.atMicros || a.order - b.order;

function dropOlder(actions: ActionEntry[], oldest: number): ActionEntry[] {
  return (actions[0]?.atMicros ?? oldest) < oldest ? actions.filter(({ atMicros }) => atMicros >= oldest) : actions;
}

/** Responses in time order. @param verdicts in any order */
export function simulateResponses(verdicts: readonly TrialVerdict[], context: ResponseContext): SimulatedResponse[] {
  const simulation = new Simulation(context);
  simulation.run(verdicts);
  return simulation.responses;
}

const keyOf = ({ verdict, action, policy, outcome, code }: SimulatedResponse) =>
  JSON.stringify([verdict.pod?.uid ?? verdict.nodeName, verdict.rule, action, policy, outcome, code]);

export interface ResponseComparison {
  both: number;
  /** Only under the trial rules, and only under the live ones; in time order. */
  appeared: SimulatedResponse[];
  vanished: SimulatedResponse[];
}

/** Compares by pod, rule, policy, action and outcome. */
export function compareResponses(
  before: readonly SimulatedResponse[],
  after: readonly SimulatedResponse[],
): ResponseComparison {
  const unmatched = new Map<string, SimulatedResponse[]>();
  for (const response of before) unmatched.set(keyOf(response), [...(unmatched.get(keyOf(response)) ?? []), response]);
  const appeared = after.filter((response) => unmatched.get(keyOf(response))?.shift() === undefined);
  const remaining = new Set([...unmatched.values()].flat());
  return { both: after.length - appeared.length, appeared, vanished: before.filter((one) => remaining.has(one)) };
}
