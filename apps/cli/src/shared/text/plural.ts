/** Counts and lists in words. Pure. */

/** `1 key`, `2 keys`. */
export const plural = (count: number, noun: string, many = `${noun}s`): string =>
  `${count} ${count === 1 ? noun : many}`;

/** `a, b and 3 more`: so many of a list are named. @param total of them, where the list itself is cut */
export function named(list: readonly string[], most: number, total = list.length): string {
  const shown = list.slice(0, most);
  const left = total - shown.length;
  return shown.join(', ') + (left > 0 ? ` and ${left} more` : '');
}
