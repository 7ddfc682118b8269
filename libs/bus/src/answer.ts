/**
 * Answering questions that are put on a subject, request and reply: nothing is stored, and who gave up waiting is not answered.
 *
 * Place in the path: a collector answers the responder's captures by it; who asks uses request.ts. The subscription stands through
 * reconnects. Bounds: one question at a time is worked on; what comes meanwhile is answered by `busy` at once.
 */
import type { Bus } from './connect.ts';

export interface Answering {
  /** No question is taken any more; resolves when the one under way is answered. */
  close(): Promise<void>;
}

export interface AnswerOptions {
  subject: string;
  /** Never rejects: what goes wrong is an answer too. */
  answer(question: Uint8Array): Promise<string | Uint8Array>;
  /** The answer while another question is worked on. */
  busy(): string | Uint8Array;
  /** A bug in `answer`. */
  onError(error: Error): void;
}

export function answerRequests(bus: Bus, { subject, answer, busy, onError }: AnswerOptions): Answering {
  let working: Promise<void> | null = null;
  const subscription = bus.nc.subscribe(subject, {
    callback: (error, message) => {
      // A refused subscription is told by the bus's status listeners.
      if (error || message.reply === undefined || message.reply === '') return;
      if (working !== null) {
        message.respond(busy());
        return;
      }
      working = answer(message.data)
        .then((text) => {
          message.respond(text);
        })
        .catch(onError)
        .finally(() => {
          working = null;
        });
    },
  });
  return {
    async close() {
      subscription.unsubscribe();
      await working;
    },
  };
}
