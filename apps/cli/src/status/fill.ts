/** How full a stream is that refuses what does not fit: then nothing more is judged, or answered, whatever else looks well. Pure. */
import { EXIT } from '@bailiff/service';
import type { StreamInfo } from '../shared/read/streams.ts';
import type { Problem } from './report.ts';

export interface StreamFill {
  name: string;
  messages: number;
  bytes: number;
  /** As the bus has them: -1 is no limit. */
  maxMessages: number;
  maxBytes: number;
  /** Full means that new messages are refused, not that old ones go. */
  refusesNew: boolean;
}

/** Of what the bus says of a stream. */
export function fillOf({ config, state }: StreamInfo): StreamFill {
  const { name, max_msgs: maxMessages, max_bytes: maxBytes, discard } = config;
  return { name, messages: state.messages, bytes: state.bytes, maxMessages, maxBytes, refusesNew: discard === 'new' };
}

/** From here on it is worth knowing. */
const FILLING_PERCENT = 80;
/** What it is rounded to when the next message may not fit: one is a two-hundredth of the smallest stream at most. */
const FULL_PERCENT = 100;
const STOPS: Readonly<Record<string, string>> = {
  VERDICTS: 'no verdict is given any more',
  RESPONSES: 'no verdict is answered any more',
};

export interface Fill {
  name: string;
  isFull: boolean;
  text: string;
  remedy: string;
}

/** Of each stream that is full, or soon. */
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
    remedy: isFull ? `${remedy}; what was refused is tried again, and nothing has to be repaired` : remedy,
    exitCode: isFull ? EXIT.dependencyUnreachable : EXIT.ok,
  }));
}
