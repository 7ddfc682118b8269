/** Selects scenarios by `--only`. Pure. */

/**
 * Scenarios whose name equals a given name or begins with it and a dash, in their own order. @throws
 * TypeError for a name that selects none
 */
export function selectScenarios<S extends { readonly name: string }>(all: readonly S[], only: readonly string[]): S[] {
  const matches = (name: string, wanted: string) => name === wanted || name.startsWith(`${wanted}-`);
  const unknown = only.filter((wanted) => !all.some(({ name }) => matches(name, wanted)));
  if (unknown.length > 0)
    throw new TypeError(`--only ${unknown.join(',')}: known are ${all.map(({ name }) => name).join(', ')}`);
  return only.length === 0 ? [...all] : all.filter(({ name }) => only.some((wanted) => matches(name, wanted)));
}
