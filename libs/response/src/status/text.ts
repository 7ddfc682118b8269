/** Counts, lists, names, ages and durations as text. Pure. */
import { escapeUnsafe } from '@bailiff/service/printable';

/** Formats a duration: `3s`, `12m`, `4h`, `2d`. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** `1 key`, `2 keys`. */
export const plural = (count: number, noun: string, many = `${noun}s`): string =>
  `${count} ${count === 1 ? noun : many}`;

/**
 * `a, b and 3 more`: the first `most` elements of a list, and the number of the others. @param total
 * length of the full list if `list` is only its start
 */
export function shortList(list: readonly string[], most: number, total = list.length): string {
  const shown = list.slice(0, most);
  const left = total - shown.length;
  return shown.join(', ') + (left > 0 ? ` and ${left} more` : '');
}

const DAY_MS = 86_400_000;

/** A duration in its two largest units: `850 µs`, `12 ms`, `1.24 s`, `3m 20s`, `2h 5m`, `4d 3h`. */
export function span(ms: number): string {
  if (ms < 0) return `-${span(-ms)}`;
  if (ms < 1) return ms === 0 ? '0 ms' : `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(2))} s`;
  return longSpan(Math.floor(ms / 1000));
}

function longSpan(seconds: number): string {
  const two = (whole: number, unit: string, rest: number, smaller: string) =>
    rest === 0 ? `${whole}${unit}` : `${whole}${unit} ${rest}${smaller}`;
  if (seconds < 3600) return two(Math.floor(seconds / 60), 'm', seconds % 60, 's');
  if (seconds * 1000 < DAY_MS) return two(Math.floor(seconds / 3600), 'h', Math.floor((seconds % 3600) / 60), 'm');
  return two(Math.floor(seconds / 86_400), 'd', Math.floor((seconds % 86_400) / 3600), 'h');
}

/** `shop/web-0`; `-` for a pod without a name. */
export function podName(pod: { namespace: string; name: string } | null): string {
  return pod && pod.name !== '' ? `${pod.namespace}/${pod.name}` : '-';
}

/**
 * Words of a node, between quotation marks, as one printable line: nothing that a node writes may read as
 * a sentence or an advice of the program that shows it. kubectl prints them as they are. Empty if there
 * are none.
 */
export const quoted = (text: string): string =>
  text === '' ? '' : `"${escapeUnsafe(text.replaceAll(/[\n\t]/g, ' ').replaceAll('"', "'"))}"`;

/** The last line of a node's reason: it has the cause. */
export const lastQuoted = (reason: string): string => quoted(reason.split('\n').at(-1) ?? '');

/** A remedy that a node proposes. */
export const proposed = (remedy: string): string => (remedy === '' ? '' : `the node proposes: ${quoted(remedy)}`);

/** A name that a node reports; quoted if it has characters that no name has. */
export const reportedName = (text: string): string => (/^[\w@-][\w.:@/-]*$/.test(text) ? text : quoted(text));
