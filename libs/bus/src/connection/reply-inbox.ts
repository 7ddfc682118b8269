/**
 * Reply subjects that other clients cannot guess.
 *
 * A client can have the server send the response of its own request to any subject of its account,
 * so who knows a reply subject can answer in place of the server. The monitoring port of nats-server
 * lists subscriptions, and the names that the NATS client makes count up. A subscription therefore
 * has a wildcard, and the last token of a reply subject is random and appears in no list.
 */
import { randomUUID } from 'node:crypto';
import { createInbox } from '@nats-io/nats-core';

/** 122 random bits. */
export const randomToken = (): string => randomUUID();

export class ReplyInbox {
  readonly #prefix: string;

  /** @param inboxPrefix of the identity */
  constructor(inboxPrefix: string) {
    this.#prefix = `${createInbox(inboxPrefix)}.`;
  }

  /** To subscribe to. */
  get filter(): string {
    return `${this.#prefix}*`;
  }

  subject(token: string): string {
    return this.#prefix + token;
  }

  /** Token of a reply subject of this inbox. */
  tokenOf(subject: string): string {
    return subject.startsWith(this.#prefix) ? subject.slice(this.#prefix.length) : '';
  }
}
