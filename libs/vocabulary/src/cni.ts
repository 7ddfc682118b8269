/** Names of CNI configurations, which of them the runtime uses, and places of its records. Pure. */

/** Sorts before the names that primaries use: `05-cilium.conflist`, `10-calico.conflist`. */
export const OWN_CONFLIST = '0-bailiff.conflist';

/** Result caches of libcni: the runtime's, and that of Multus, which is `results` in its `cniDir`. */
export const CNI_RESULTS_DIRS: readonly string[] = ['/var/lib/cni/results', '/var/lib/cni/multus/results'];

const EXTENSIONS = ['.conf', '.conflist', '.json'];

/** The configuration that the runtime would use without ours; null: there is none. */
export function primaryOf(names: readonly string[]): string | null {
  const isConf = (name: string) => EXTENSIONS.some((extension) => name.endsWith(extension));
  return [...names].sort(byBytes).find((name) => isConf(name) && name !== OWN_CONFLIST) ?? null;
}

/** Order of the runtime, which compares bytes. */
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** Whether the runtime prefers a configuration to ours. */
export const isBeforeOwn = (name: string): boolean => byBytes(name, OWN_CONFLIST) < 0;
