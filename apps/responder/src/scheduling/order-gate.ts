/**
 * The order of steps: a step waits until the earlier steps of its verdict and policy have ended.
 * Each action has its own queue, so without this a deletion would overtake the event and the label.
 *
 * A step waits at most ORDER_WAIT_MS, and not for one that needs an approval. A removal also waits
 * for captures of other policies, at most CAPTURE_WAIT_MS. A substitute quarantine does not wait.
 * Bound: MAX_WAITING tasks; beyond it the wait of the oldest restarts.
 */
import { REMOVING_ACTIONS } from '@bailiff/policy';
import type { Task } from '@bailiff/response';
import { RecentMap } from '@bailiff/service';

/** Longer than a step with retries takes on a working cluster. */
export const ORDER_WAIT_MS = 10_000;
/** Longer than the timeout of a capture request. */
export const CAPTURE_WAIT_MS = 2_000;
/** Poll interval of a held task whose job is in the queue. */
export const ORDER_POLL_MS = 50;
const MAX_WAITING = 50_000;

type Ordered = Pick<Task, 'taskId' | 'policy' | 'action' | 'dueAtMicros' | 'substitute'>;

/** State of a task in RESPONSES. */
export interface TaskEnds {
  isClosed(taskId: string): boolean;
  /** Whether it waits for an approval. */
  isPending(taskId: string): boolean;
}

export class OrderGate {
  readonly #sinceMs = new RecentMap<string, number>(MAX_WAITING);

  /** Number of tasks that wait or have reached their bound. */
  get size(): number {
    return this.#sinceMs.size;
  }

  /**
   * Whether the task has to wait.
   * @param tasks all tasks of the verdict in plan order; ended ones may be missing
   */
  isHeld(task: Ordered, tasks: readonly Ordered[], ends: TaskEnds, nowMs: number): boolean {
    const boundMs = waitOf(task, tasks, ends);
    if (boundMs === 0) {
      this.#sinceMs.delete(task.taskId);
      return false;
    }
    const since = this.#sinceMs.get(task.taskId);
    if (since !== undefined) return nowMs - since < boundMs;
    this.#sinceMs.set(task.taskId, nowMs);
    return true;
  }
}

/** Maximum wait of the task for the open tasks before it; 0 without any. */
function waitOf(task: Ordered, tasks: readonly Ordered[], ends: TaskEnds): number {
  if (task.substitute && !REMOVING_ACTIONS.has(task.action)) return 0;
  const place = tasks.findIndex(({ taskId }) => taskId === task.taskId);
  const removes = REMOVING_ACTIONS.has(task.action);
  let boundMs = 0;
  tasks.forEach((other, at) => {
    if (other.taskId === task.taskId || ends.isClosed(other.taskId) || ends.isPending(other.taskId)) return;
    if (removes && other.action === 'capture') {
      if (other.dueAtMicros <= task.dueAtMicros) boundMs = Math.max(boundMs, CAPTURE_WAIT_MS);
      return;
    }
    // A capture precedes a removal, wherever it is listed.
    if (
      other.policy !== task.policy ||
      other.substitute ||
      (task.action === 'capture' && REMOVING_ACTIONS.has(other.action))
    )
      return;
    const isEarlier = other.dueAtMicros < task.dueAtMicros || (other.dueAtMicros === task.dueAtMicros && at < place);
    if (isEarlier) boundMs = ORDER_WAIT_MS;
  });
  return boundMs;
}
