/**
 * Frames of violations with what the correlator accepts of them. Every command that shows or counts
 * violations reads them here.
 *
 * Invariant: the subject names the node, because only it may publish there; nothing in a frame does.
 * A violation is refused by its dead letter, or by the pod lists as in the correlator: letters are
 * missing for messages beyond the share of a node, and for the newest ones. The inputs are read at
 * the first frame, and at most once per RELOAD_MS for frames about pods that were listed since.
 */
import { type StreamMessage, violationNode } from '@bailiff/bus';
import {
  attributePod,
  frameRefusal,
  type PodInventory,
  type PriorRefusals,
  podProblem,
  UNDECIDED_MICROS,
} from '@bailiff/correlation';
import { plural } from '@bailiff/response';
import type { Violation, ViolationFrame } from '@bailiff/schemas';
import type { Reader } from '../reader.ts';
import type { NodeFrame, Refused } from '../rows/event-rows.ts';
import { readInventory, readRefusals } from './attribution.ts';
import { readBusTime } from './streams.ts';

interface Inputs {
  inventory: PodInventory;
  refusals: PriorRefusals;
  readMicros: number;
}

const RELOAD_MS = 2_000;
/** No list names the pod, and the time within which the correlator decides has not passed: it is new, or has just ended. */
const UNLISTED = 'unlisted';

/** Not decided yet: the next reading may count it. */
export const isUndecided = ({ reason }: Pick<Refused, 'reason'>): boolean => reason === UNLISTED;

export class NodeFrames {
  readonly #reader: Reader;
  readonly #sinceMicros: number;
  #inputs: Inputs | null = null;
  #loadedMs = 0;

  /** @param sinceMs of the first frame, 0 = all */
  constructor(reader: Reader, sinceMs: number) {
    this.#reader = reader;
    this.#sinceMicros = sinceMs * 1000;
  }

  /** Passes the frame of a message to `use`. @throws BusError; what `use` throws */
  read(message: StreamMessage, use: (frame: NodeFrame) => void | Promise<void>): void | Promise<void> {
    const { decoder } = this.#reader;
    const node = violationNode(message.subject);
    if (node === null) return decoder.reject('WRONG_SUBJECT');
    return decoder.read(message, 'ViolationFrame', (frame) => {
      const now = this.#judge(message, node, frame);
      const isOld = this.#inputs === null || message.timestampMicros > this.#inputs.readMicros - UNDECIDED_MICROS;
      const isStale = isOld && this.#reader.nowMs() - this.#loadedMs >= RELOAD_MS;
      if (now !== null && !(isStale && now.refused.some((one) => one !== null))) return use(now);
      return this.#load().then(() => use(this.#judge(message, node, frame) as NodeFrame));
    });
  }

  async #load(): Promise<void> {
    // What is decided, and until when, was stored by bus time: the clock of the reader may be wrong.
    const readMicros = (await readBusTime(this.#reader)) * 1000;
    const [inventory, refusals] = await Promise.all([
      readInventory(this.#reader),
      // Of newer frames, no decision was made that a missing letter could confirm.
      readRefusals(this.#reader, this.#sinceMicros, readMicros - UNDECIDED_MICROS),
    ]);
    this.#inputs = { inventory, refusals, readMicros };
    this.#loadedMs = this.#reader.nowMs();
  }

  /** Null if the inputs are needed first. */
  #judge({ sequence, timestampMicros }: StreamMessage, node: string, frame: ViolationFrame): NodeFrame | null {
    const refusedWhole = frameRefusal(node, frame);
    if (refusedWhole) return { node, frame, refusedWhole, refused: frame.violations.map(() => refusedWhole) };
    if (this.#inputs === null) return null;
    const refused = frame.violations.map((violation, index) =>
      this.#refusalOf(violation, { node, sequence, index, timestampMicros }),
    );
    return { node, frame, refusedWhole, refused };
  }

  #refusalOf(
    { pod }: Violation,
    place: { node: string; sequence: number; index: number; timestampMicros: number },
  ): Refused | null {
    const { inventory, refusals, readMicros } = this.#inputs as Inputs;
    const letter = refusals.letterOf(place.sequence, place.index);
    if (letter !== undefined) return { reason: letter, detail: 'by its dead letter' };
    if (pod === null) return null;
    const problem = podProblem(pod);
    if (problem !== null) return { reason: 'invalid-violation', detail: `pod.${problem}` };
    const { outcome, atMicros, detail } = attributePod(inventory, refusals, { ...place, pod });
    if (outcome === 'listed' || outcome === 'accepted-before') return null;
    // Not now: the inputs, which may lack a list or a letter since, decide nothing later than they were read.
    if (atMicros <= readMicros) return { reason: outcome, detail };
    // Without a list of the node there is nothing to compare with until the correlator decides.
    if (inventory.completeSince(place.node) === null) return null;
    return { reason: UNLISTED, detail: 'no pod list names its pod yet' };
  }
}

/** Of a pod that was removed, letters of its node decide whether it counted: some may be missing. */
const UNPROVEN = ': no list has the pod now; it counted before if a verdict names it';

/** Most nodes and reasons that are counted apart. */
const MAX_REFUSERS = 64;

/** What is refused, by node and reason: never part of a pod's own counts. */
export class RefusedCounts {
  readonly #counts = new Map<string, { node: string; reason: string; violations: number; packets: number }>();

  add(node: string, { reason }: Refused, { count, suppressed }: Pick<Violation, 'count' | 'suppressed'>): void {
    const own = `${node} ${reason}`;
    const isOwn = this.#counts.has(own) || this.#counts.size < MAX_REFUSERS;
    const key = isOwn ? own : ` ${reason}`;
    const counted = this.#counts.get(key) ?? { node: isOwn ? node : '', reason, violations: 0, packets: 0 };
    counted.violations += 1;
    counted.packets += count + suppressed;
    this.#counts.set(key, counted);
  }

  /** `packets` is what the node claims. */
  get list() {
    return [...this.#counts.values()];
  }

  /** One line per node and reason. */
  lines(): string[] {
    return [...this.refusedLines(), ...this.undecidedLines()];
  }

  refusedLines(): string[] {
    return this.#lines((one) => !isUndecided(one));
  }

  /** The next reading may count them. */
  undecidedLines(): string[] {
    return this.#lines(isUndecided);
  }

  #lines(isWanted: (one: Pick<Refused, 'reason'>) => boolean): string[] {
    return this.list.filter(isWanted).map(({ node, reason, violations, packets }) => {
      const by = node === '' ? 'further nodes' : `node ${node}`;
      if (isUndecided({ reason }))
        return `not counted yet: ${plural(violations, 'violation')} reported by ${by} with a count of ${packets} (no pod list names the pod now; the correlator decides within seconds)`;
      const meaning = reason === 'unproven-pod' ? UNPROVEN : '';
      return `refused, not counted: ${plural(violations, 'violation')} reported by ${by} with a count of ${packets} (${reason}${meaning})`;
    });
  }
}
