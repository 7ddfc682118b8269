/**
 * Injected replies: messages in a stream that the server wrote there because a request named that subject as its reply subject.
 *
 * Data path: every reader of a stream or bucket. Accounts (accounts.ts) keep clients outside the core account from injecting; what is
 * left are the identities inside it, and messages from before the accounts. A reader recognises an injected reply by what no client of
 * ours stores: the headers by which a direct get names its source, a status line such as `404 No Messages`, or nothing at all (servers
 * from 2.14 on store such a status without its line). Other responses (the state of a stream, an ack) are JSON of no schema of ours.
 * Readers get an injected reply without its content, so that they refuse it and continue behind it.
 */
import type { Msg } from '@nats-io/nats-core';

/** The server appends it to every response to a direct get and to every push, behind the headers of the stored message. */
const SOURCE = 'Nats-Stream';

/**
 * Whether a message is an injected reply. `appended`: the server added its own headers, as it does to direct gets and pushes and not to
 * what a consumer delivers.
 */
export function isInjectedReply({ headers, data }: Pick<Msg, 'headers' | 'data'>, appended: boolean): boolean {
  if (!headers) return data.length === 0;
  if (headers.code !== 0 || headers.values(SOURCE).length > (appended ? 1 : 0)) return true;
  // A consumer that asked for headers alone gets the size. A deleted key has an operation and no value.
  const isEmpty = data.length === 0 && Number(headers.get('Nats-Msg-Size')) === 0;
  return isEmpty && !headers.has('KV-Operation');
}

const NOTHING = new Uint8Array();

/** The part of a message that readers get. */
export function contentOf(message: Msg, appended: boolean) {
  if (isInjectedReply(message, appended)) return { headers: undefined, data: NOTHING, injected: true };
  return { headers: message.headers, data: message.data, injected: false };
}
