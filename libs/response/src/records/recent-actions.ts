/**
 * Recent actions, which guards count: for budgets, delete storms, floors and cooldowns. The ledger
 * fills it from RESPONSES. Pure.
 *
 * Every guard looks at all entries for its action, so it keeps only those that one can count. Bounds:
 * of actions with a budget, which policies limit, those of a day; of labels, which nothing limits but
 * the rate of verdicts, the newest of each workload or single pod, MAX_LABELLED of them. No guard
 * counts events and captures.
 */
import { type ActionEntry, needsReservation } from '../guards/decision.ts';

/** Instead of a sequence: of an action that was undone, and of records of a deleted stream. */
export const NOT_NEEDED = Number.POSITIVE_INFINITY;

/**
 * Workloads and single pods whose last label is known. Of a forgotten one, the cooldown of a label
 * has no effect: the next label is set at once.
 */
export const MAX_LABELLED = 10_000;

/** Whose labels have a common cooldown. */
const keyOf = ({ ownerUid, podUid }: ActionEntry): string => ownerUid || podUid;

export class RecentActions {
  /** Actions with a budget, oldest first. */
  #actions: ActionEntry[] = [];
  /** Their tasks, and the sequence of the last record that shows the action. */
  #sequences = new Map<string, number>();
  /** The newest label by workload or pod, the one that was replaced longest ago first. */
  readonly #labels = new Map<string, ActionEntry>();

  /** Actions since a time that a guard of this action may count, oldest first. */
  of(action: string, sinceMicros: number): ActionEntry[] {
    const isRecent = ({ atMicros }: ActionEntry) => atMicros >= sinceMicros;
    if (action === 'label') return [...this.#labels.values()].filter(isRecent);
    return needsReservation(action) ? this.#actions.filter(isRecent) : [];
  }

  /** Tasks with a budgeted action, and the sequence of the record that shows it. */
  *needed(): Iterable<{ taskId: string; sequence: number; namespace: string }> {
    for (const { taskId, namespace } of this.#actions)
      yield { taskId, sequence: this.#sequences.get(taskId) ?? NOT_NEEDED, namespace };
  }

  sequenceOf(taskId: string): number | undefined {
    return this.#sequences.get(taskId);
  }

  /** A later record of the same task; NOT_NEEDED: the action was undone. */
  moved(taskId: string, sequence: number): void {
    const known = this.#sequences.get(taskId);
    if (known !== undefined) this.#sequences.set(taskId, Math.max(sequence, known));
  }

  /** An action was started, or has succeeded. */
  add(entry: ActionEntry, sequence: number): void {
    if (entry.action === 'label') this.#addLabel(entry);
    else if (needsReservation(entry.action)) this.#insert(entry, sequence);
  }

  #addLabel(entry: ActionEntry): void {
    const key = keyOf(entry);
    const known = this.#labels.get(key);
    if (known && known.atMicros >= entry.atMicros) return;
    this.#labels.delete(key);
    this.#labels.set(key, entry);
    const [first] = this.#labels.keys();
    if (this.#labels.size > MAX_LABELLED && first !== undefined) this.#labels.delete(first);
  }

  /**
   * Inserts by time: an own record may be applied before an earlier one of another replica. The
   * `succeeded` record counts if `started` was deleted.
   */
  #insert(entry: ActionEntry, sequence: number): void {
    const { taskId, atMicros } = entry;
    const known = this.#sequences.get(taskId);
    this.#sequences.set(taskId, Math.max(known ?? 0, sequence));
    if (known !== undefined) {
      const at = this.#actions.findLastIndex((one) => one.taskId === taskId);
      if ((this.#actions[at] as ActionEntry).atMicros <= atMicros) return;
      this.#actions.splice(at, 1);
    }
    let index = this.#actions.length;
    while (index > 0 && (this.#actions[index - 1] as ActionEntry).atMicros > atMicros) index--;
    this.#actions.splice(index, 0, entry);
  }

  /** RESPONSES was recreated: sequences are void. */
  streamRecreated(): void {
    for (const taskId of this.#sequences.keys()) this.#sequences.set(taskId, NOT_NEEDED);
  }

  /** Actions of the future count as of when the clock was set back. */
  setBack(setBackMicros: number, nowMicros: number): void {
    const notLater = (entry: ActionEntry) =>
      entry.atMicros > nowMicros ? { ...entry, atMicros: setBackMicros } : entry;
    this.#actions = this.#actions.map(notLater).sort((a, b) => a.atMicros - b.atMicros);
    for (const [key, entry] of this.#labels) this.#labels.set(key, notLater(entry));
  }

  prune(oldestMicros: number): void {
    for (const [key, { atMicros }] of this.#labels) if (atMicros < oldestMicros) this.#labels.delete(key);
    if ((this.#actions[0]?.atMicros ?? oldestMicros) >= oldestMicros) return;
    this.#actions = this.#actions.filter(({ atMicros }) => atMicros >= oldestMicros);
    this.#sequences = new Map(this.#actions.map(({ taskId }) => [taskId, this.#sequences.get(taskId) ?? NOT_NEEDED]));
  }
}
