/**
 * A capture goes before what removes its pod: a deletion or eviction of the same verdict waits until the capture has ended, CAPTURE_WAIT_MS at
 * most from when this process first came to it. Only a capture that is due by then counts: one that is to come later is not waited for.
 */
import type { Task } from '@bailiff/answer';

/** Above what asking a node may take (ASK_MS), below what a person would call late. */
export const CAPTURE_WAIT_MS = 2_000;
/** How often the deletion looks. */
export const CAPTURE_LOOK_MS = 50;
const REMOVING: ReadonlySet<string> = new Set(['evict', 'delete']);
/** Removals that wait; more are not made to. */
const MAX_WAITING = 10_000;

export class CaptureGate {
  readonly #sinceMs = new Map<string, number>();

  /** Milliseconds to wait before `task` may go on; 0: none. `tasks` are all of its verdict. */
  waitMs(task: Task, tasks: readonly Task[], isClosed: (taskId: string) => boolean, nowMs: number): number {
    if (!REMOVING.has(task.action)) return 0;
    const open = tasks.some(
      (other) => other.action === 'capture' && other.dueAtMicros <= task.dueAtMicros && !isClosed(other.taskId),
    );
    const since = this.#sinceMs.get(task.taskId) ?? nowMs;
    if (!open || nowMs - since >= CAPTURE_WAIT_MS) {
      this.#sinceMs.delete(task.taskId);
      return 0;
    }
    // Those that never came back were done by another replica.
    if (this.#sinceMs.size >= MAX_WAITING) {
      for (const [taskId, ms] of this.#sinceMs) if (nowMs - ms >= CAPTURE_WAIT_MS) this.#sinceMs.delete(taskId);
      if (this.#sinceMs.size >= MAX_WAITING) return 0;
    }
    this.#sinceMs.set(task.taskId, since);
    return CAPTURE_LOOK_MS;
  }
}
