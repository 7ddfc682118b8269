/** Counts in words. Pure. */

/** `1 key`, `2 keys`. */
export const plural = (count: number, noun: string, many = `${noun}s`): string =>
  `${count} ${count === 1 ? noun : many}`;
