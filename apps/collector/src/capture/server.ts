/**
 * Answers the responder's captures, and nobody else's: the bus lets only that identity ask. A pod is read once in POD_INTERVAL_MS at most and
 * the node so often a minute, so that whoever has the responder's credential cannot keep a collector busy.
 */
import { type CaptureAnswer, type CaptureRefusal, captureRequest } from '@bailiff/schemas';
import { type CaptureContext, capturePod } from './capture.ts';

const POD_INTERVAL_MS = 10_000;
const MAX_A_MINUTE = 30;
const MINUTE_MS = 60_000;
/** With BUDGET_MS of the capture itself, less than who asks waits. */
export const CAPTURE_TURN_MS = 400;

export interface CaptureServerOptions extends CaptureContext {
  onAnswer(outcome: 'taken' | CaptureRefusal): void;
  onError(error: Error): void;
}

export class CaptureServer {
  readonly #o: CaptureServerOptions;
  /** When each pod was read within the last minute; MAX_A_MINUTE at most. */
  readonly #taken = new Map<string, number>();

  constructor(options: CaptureServerOptions) {
    this.#o = options;
  }

  /** JSON in, JSON out. Never rejects. */
  async answer(question: Uint8Array): Promise<string> {
    const answer = await this.#answer(question).catch((error: Error): CaptureAnswer => {
      this.#o.onError(error);
      return { refused: 'unreadable', reason: error.message };
    });
    return this.#say(answer);
  }

  busy(): string {
    return this.#say({ refused: 'busy', reason: 'other captures are under way on this node' });
  }

  #say(answer: CaptureAnswer): string {
    this.#o.onAnswer('capture' in answer ? 'taken' : answer.refused);
    return JSON.stringify(answer);
  }

  async #answer(question: Uint8Array): Promise<CaptureAnswer> {
    const request = captureRequest.safeParse(json(question));
    if (!request.success) return { refused: 'bad-request', reason: request.error.issues[0]?.message ?? 'no request' };
    const now = this.#o.monotonicMs();
    for (const [uid, atMs] of this.#taken) if (now - atMs >= MINUTE_MS) this.#taken.delete(uid);
    const { podUid } = request.data;
    const last = this.#taken.get(podUid);
    if (last !== undefined && now - last < POD_INTERVAL_MS)
      return { refused: 'too-soon', reason: `the pod was captured less than ${POD_INTERVAL_MS / 1000} s ago` };
    if (this.#taken.size >= MAX_A_MINUTE)
      return { refused: 'too-soon', reason: `this node was captured ${MAX_A_MINUTE} times within a minute` };
    this.#taken.delete(podUid);
    this.#taken.set(podUid, now);
    return capturePod(request.data, this.#o);
  }
}

function json(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    // Refused by the schema.
    return null;
  }
}
