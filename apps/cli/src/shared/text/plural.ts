/** Counts and lists as text. Pure. */

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
