/**
 * The fields of an object in the order in which a real server writes them: its identity is before
 * everything that a tenant chooses freely.
 */
export function inOrder(object: object): object {
  const { kind, apiVersion, metadata, ...rest } = object as Record<string, unknown>;
  if (typeof metadata !== 'object' || metadata === null) return object;
  const { name, generateName, namespace, uid, resourceVersion, ...more } = metadata as Record<string, unknown>;
  const ordered = { name, generateName, namespace, uid, resourceVersion, ...more };
  return { kind, apiVersion, metadata: ordered, ...rest };
}
