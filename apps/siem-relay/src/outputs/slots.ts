/**
 * Assigns keys of positions to webhooks. Pure.
 *
 * Operators choose the names of webhooks, and the bucket accepts fixed keys only. A key belongs to the
 * webhook that its value names, so that no webhook continues at the position of another.
 */

/**
 * @param names of the configured webhooks, at most as many as keys
 * @param owners name in the value of each key; undefined without a value
 */
export function assignSlots(
  names: readonly string[],
  owners: ReadonlyMap<string, string | undefined>,
): Map<string, string> {
  const assigned = new Map<string, string>();
  for (const [key, owner] of owners) if (owner !== undefined && names.includes(owner)) assigned.set(owner, key);
  const isTaken = (key: string) => [...assigned.values()].includes(key);
  // Keys without a value first, so that the position of a webhook that is configured again is kept.
  const free = [...owners]
    .filter(([key]) => !isTaken(key))
    .sort(([, a], [, b]) => Number(a !== undefined) - Number(b !== undefined));
  for (const name of names) {
    if (assigned.has(name)) continue;
    const [key] = free.shift() ?? [];
    if (key !== undefined) assigned.set(name, key);
  }
  return assigned;
}
