/**
 * What a visitor sees. `maySee` is the one filter of every view: it is asked for the namespace of each
 * violation, verdict, response and change before it is counted or shown. Pure.
 */

/** `null`: something of no namespace, such as a node or a value of the whole cluster. */
export type MaySee = (namespace: string | null) => boolean;

export interface Scope {
  /** Equal for equal scopes. */
  key: string;
  isAll: boolean;
  /** Sorted; empty with `isAll`. */
  namespaces: readonly string[];
  maySee: MaySee;
}

export const EVERYTHING: Scope = { key: '*', isAll: true, namespaces: [], maySee: () => true };

/** Of these namespaces only. What has no namespace is not seen. */
export function scopeOf(namespaces: Iterable<string>): Scope {
  const allowed = new Set(namespaces);
  const sorted = [...allowed].sort();
  return {
    // A name has no comma.
    key: sorted.join(','),
    isAll: false,
    namespaces: sorted,
    maySee: (namespace) => namespace !== null && allowed.has(namespace),
  };
}
