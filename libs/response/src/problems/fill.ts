/**
 * How full the streams are that refuse new messages at their limit, and VERDICTS and RESPONSES,
 * which delete their oldest messages then. If those two refuse new ones (before `bailiff bus setup`
 * of this version), judging or responding stops when they are full. Pure.
 */
import { isTrimmed, microsOf } from '@bailiff/bus';
import { EXIT } from '@bailiff/service/exit-codes';
import type { StreamInfo } from '../status/service-health.ts';
import { span } from '../status/text.ts';
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
  /** The stream is full and deletes messages before their age limit. Null: it does not. */
  trimmed: { keptMs: number; maxAgeMs: number } | null;
}

/** From the server's stream information. */
export function fillOf(info: StreamInfo): StreamFill {
  const { config, state, ts } = info;
  const { name, max_msgs: maxMessages, max_bytes: maxBytes, discard } = config;
  const keptMs = (microsOf(ts ?? '') - microsOf(state.first_ts)) / 1000;
  const trims = isTrimmed(info) && discard === 'old' && name in STOPS;
  return {
    name,
    messages: state.messages,
    bytes: state.bytes,
    maxMessages,
    maxBytes,
    refusesNew: discard === 'new',
    trimmed: trims ? { keptMs, maxAgeMs: config.max_age / 1e6 } : null,
  };
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
  return streams.flatMap(({ name, refusesNew, trimmed, messages, maxMessages, bytes, maxBytes }) => {
    const share = (used: number, limit: number) => (limit > 0 ? (100 * used) / limit : 0);
    const [byBytes, byMessages] = [share(bytes, maxBytes), share(messages, maxMessages)];
    const percent = Math.round(Math.max(byBytes, byMessages));
    const raise = `raise its ${byBytes >= byMessages ? 'max_bytes' : 'max_msgs'}`;
    const remedy = name.startsWith('KV_')
      ? `${raise}, then run \`bailiff bus setup\`: its copies need the room too`
      : raise;
    if (trimmed) {
      const limit = trimmed.maxAgeMs > 0 ? ` instead of ${span(trimmed.maxAgeMs)}` : '';
      const text = `full: its messages are deleted after ${span(trimmed.keptMs)}${limit}`;
      return [{ name, isFull: false, text, remedy: `find the namespace that fills it, and ${remedy}` }];
    }
    if (!refusesNew || percent <= FILLING_PERCENT) return [];
    const isFull = percent >= FULL_PERCENT;
    const text = isFull
      ? `full, new messages are refused${STOPS[name] ? `: ${STOPS[name]}` : ''}`
      : `${percent} % full; when it is full, new messages are refused`;
    return [{ name, isFull, text, remedy }];
  });
}

export function fillProblems(streams: readonly StreamFill[]): Problem[] {
  return fillsOf(streams).map(({ name, isFull, text, remedy }) => ({
    severity: isFull ? 'shout' : 'warn',
    area: 'streams',
    node: `bus: ${name}`,
    text,
    remedy: isFull ? `${remedy}; refused messages are published again, and nothing has to be repaired` : remedy,
    exitCode: isFull ? EXIT.dependencyUnreachable : EXIT.ok,
  }));
}
