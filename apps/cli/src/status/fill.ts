/**
 * How full the streams are that refuse new messages at their limit. When VERDICTS or RESPONSES is
 * full, judging or responding stops. Pure.
 */
import { EXIT } from '@bailiff/service';
import type { StreamInfo } from '../shared/read/streams.ts';
import type { Problem } from './problem.ts';

export interface StreamFill {
  name: string;
  messages: number;
  bytes: number;
  /** As configured: -1 is no limit. */
  maxMessages: number;
  maxBytes: number;
  /** At the limit, new messages are refused; old ones are not deleted. */
  refusesNew: boolean;
}

/** From the server's stream information. */
export function fillOf({ config, state }: StreamInfo): StreamFill {
  const { name, max_msgs: maxMessages, max_bytes: maxBytes, discard } = config;
  return { name, messages: state.messages, bytes: state.bytes, maxMessages, maxBytes, refusesNew: discard === 'new' };
}

/** Reported from here on. */
const FILLING_PERCENT = 80;
/**
 * Rounded percentage at which the next message may not fit: one message is at most a two-hundredth
 * of the smallest stream.
 */
const FULL_PERCENT = 100;
const STOPS: Readonly<Record<string, string>> = {
  VERDICTS: 'no more verdicts are published',
  RESPONSES: 'no more responses are recorded',
};

export interface Fill {
  name: string;
  isFull: boolean;
  text: string;
  remedy: string;
}

/** Streams that are full or nearly full. */
export function fillsOf(streams: readonly StreamFill[]): Fill[] {
  return streams.flatMap(({ name, refusesNew, messages, maxMessages, bytes, maxBytes }) => {
    const share = (used: number, limit: number) => (limit > 0 ? (100 * used) / limit : 0);
    const [byBytes, byMessages] = [share(bytes, maxBytes), share(messages, maxMessages)];
    const percent = Math.round(Math.max(byBytes, byMessages));
    if (!refusesNew || percent <= FILLING_PERCENT) return [];
    const isFull = percent >= FULL_PERCENT;
    const text = isFull
      ? `full, new messages are refused${STOPS[name] ? `: ${STOPS[name]}` : ''}`
      : `${percent} % full; when it is full, new messages are refused`;
    return [{ name, isFull, text, remedy: `raise its ${byBytes >= byMessages ? 'max_bytes' : 'max_msgs'}` }];
  });
}

export function fillProblems(streams: readonly StreamFill[]): Problem[] {
  return fillsOf(streams).map(({ name, isFull, text, remedy }) => ({
    severity: isFull ? 'shout' : 'warn',
    node: `bus: ${name}`,
    text,
    remedy: isFull ? `${remedy}; refused messages are published again, and nothing has to be repaired` : remedy,
    exitCode: isFull ? EXIT.dependencyUnreachable : EXIT.ok,
  }));
}
