/**
 * The order of a policy's steps: a step starts when the earlier ones of the same verdict and policy have their terminal record. Queues are one
 * an action, so without this a deletion overtakes the event and the label.
 *
 * An earlier step is one that is due earlier, or is due at the same time and is listed before. It is waited for until ORDER_WAIT_MS after this
 * process first asked; a step that waits for a person is not waited for. A capture, also another policy's, is waited for by every removal
 * that is due no earlier, for CAPTURE_WAIT_MS. A quarantine that stands in for a removal waits for nothing. Verdicts do not wait for each
 * other. Bounds: MAX_WAITING tasks are remembered; the oldest is forgotten, and its wait begins again.
 */
import type { Task } from '@bailiff/response';

/** Above what a step and its tries take on a cluster that answers, below what a person would call late. */
export const ORDER_WAIT_MS = 10_000;
/** Above what asking a node may take (ASK_MS), below what a person would call late. */
export const CAPTURE_WAIT_MS = 2_000;
/** How often a task that is in the queue already looks. */
export const ORDER_LOOK_MS = 50;
const REMOVING: ReadonlySet<string> = new Set(['evict', 'delete']);
const MAX_WAITING = 50_000;

type Ordered = Pick<Task, 'taskId' | 'policy' | 'action' | 'dueAtMicros' | 'substitute'>;

/** What RESPONSES holds of a task. */
export interface TaskEnds {
  isClosed(taskId: string): boolean;
  /** It waits for a person. */
  isPending(taskId: string): boolean;
}

export class OrderGate {
  readonly #sinceMs = new Map<string, number>();

  /** Tasks that wait, or have waited for their bound. */
  get size(): number {
    return this.#sinceMs.size;
  }

  /** Whether the task has to wait. @param tasks all of its verdict, in the order of the plan; those that have ended may be absent */
  isHeld(task: Ordered, tasks: readonly Ordered[], ends: TaskEnds, nowMs: number): boolean {
    const boundMs = waitOf(task, tasks, ends);
    if (boundMs === 0) {
      this.#sinceMs.delete(task.taskId);
      return false;
    }
    const since = this.#sinceMs.get(task.taskId);
    if (since !== undefined) return nowMs - since < boundMs;
    const [oldest] = this.#sinceMs.keys();
    if (this.#sinceMs.size >= MAX_WAITING && oldest !== undefined) this.#sinceMs.delete(oldest);
    this.#sinceMs.set(task.taskId, nowMs);
    return true;
  }
}

/** How long the task waits at most for what is open now; 0: nothing is. */
function waitOf(task: Ordered, tasks: readonly Ordered[], ends: TaskEnds): number {
  if (task.substitute) return 0;
  const place = tasks.findIndex(({ taskId }) => taskId === task.taskId);
  const removes = REMOVING.has(task.action);
  let boundMs = 0;
  tasks.forEach((other, at) => {
    if (other.taskId === task.taskId || ends.isClosed(other.taskId) || ends.isPending(other.taskId)) return;
    if (removes && other.action === 'capture') {
      if (other.dueAtMicros <= task.dueAtMicros) boundMs = Math.max(boundMs, CAPTURE_WAIT_MS);
      return;
    }
    // A capture goes before the removal wherever it is listed.
    if (other.policy !== task.policy || other.substitute || (task.action === 'capture' && REMOVING.has(other.action)))
      return;
    const isEarlier = other.dueAtMicros < task.dueAtMicros || (other.dueAtMicros === task.dueAtMicros && at < place);
    if (isEarlier) boundMs = ORDER_WAIT_MS;
  });
  return boundMs;
}
