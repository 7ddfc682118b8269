/**
 * Patches: JSON merge patch (RFC 7396), JSON patch (RFC 6902) and strategic merge patch. Strategic
 * patches need the merge keys of lists: `mergeKeys` has those of the served resources; other lists
 * are replaced (a node's taints among them). Pure: inputs are never changed. The HTTP layer limits
 * the size.
 */
import { ApiError, badRequest } from '../errors.ts';
import { isObject, type JsonObject, sameJson, thaw } from '../types.ts';

export const mergePatchType = 'application/merge-patch+json';
export const jsonPatchType = 'application/json-patch+json';
export const strategicPatchType = 'application/strategic-merge-patch+json';

/** Limit of operations in one JSON patch, as on a real server. */
export const maxJsonPatchOperations = 10_000;

/** RFC 7396: null removes, objects merge, everything else replaces. */
export function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return thaw(patch);
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = applyMergePatch(result[key], value);
  }
  return result;
}

/**
 * Field name of a list → key by which its items merge; `''` means a list of plain values merged as
 * a set.
 */
const mergeKeys: { [field: string]: string } = {
  conditions: 'type',
  containers: 'name',
  initContainers: 'name',
  ephemeralContainers: 'name',
  env: 'name',
  volumes: 'name',
  volumeMounts: 'mountPath',
  imagePullSecrets: 'name',
  secrets: 'name',
  addresses: 'type',
  podIPs: 'ip',
  hostIPs: 'ip',
  hostAliases: 'ip',
  ports: 'containerPort',
  volumeDevices: 'devicePath',
  schedulingGates: 'name',
  topologySpreadConstraints: 'topologyKey',
  ownerReferences: 'uid',
  finalizers: '',
  podCIDRs: '',
};

/**
 * Strategic merge patch for built-in kinds. Directives: `$patch` replace or delete,
 * `$deleteFromPrimitiveList/x`, `$setElementOrder/x`.
 */
export function applyStrategicPatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return thaw(patch);
  if (patch['$patch'] === 'replace') return withoutDirectives(patch);
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$')) continue;
    if (value === null) delete result[key];
    else if (isObject(value) && value['$patch'] === 'delete') delete result[key];
    else if (Array.isArray(value) && Object.hasOwn(mergeKeys, key))
      result[key] = mergeList(result[key], value, mergeKeys[key]!);
    else result[key] = applyStrategicPatch(result[key], value);
  }
  removeFromPrimitiveLists(result, patch);
  return result;
}

function removeFromPrimitiveLists(result: JsonObject, patch: JsonObject): void {
  const prefix = '$deleteFromPrimitiveList/';
  for (const [directive, unwanted] of Object.entries(patch)) {
    if (!directive.startsWith(prefix) || !Array.isArray(unwanted)) continue;
    const key = directive.slice(prefix.length);
    const list = result[key];
    if (Array.isArray(list)) result[key] = list.filter((item) => !unwanted.includes(item));
  }
}

function mergeList(current: unknown, patch: unknown[], mergeKey: string): unknown[] {
  const result: unknown[] = Array.isArray(current) ? [...current] : [];
  if (patch.some((item) => isObject(item) && item['$patch'] === 'replace' && item[mergeKey] === undefined)) {
    return patch.filter((item) => !(isObject(item) && item['$patch'] === 'replace')).map(withoutDirectives);
  }
  for (const item of patch) {
    if (mergeKey === '' || !isObject(item)) {
      if (!result.some((existing) => sameJson(existing, item))) result.push(item);
      continue;
    }
    if (item[mergeKey] === undefined)
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`);
    const index = result.findIndex((existing) => isObject(existing) && existing[mergeKey] === item[mergeKey]);
    if (item['$patch'] === 'delete') {
      if (index >= 0) result.splice(index, 1);
    } else if (index >= 0) result[index] = applyStrategicPatch(result[index], item);
    else result.push(withoutDirectives(item));
  }
  return result;
}

function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDirectives);
  if (!isObject(value)) return value;
  const kept = Object.entries(value).filter(([key, member]) => !key.startsWith('$') && member !== null);
  return Object.fromEntries(kept.map(([key, member]) => [key, withoutDirectives(member)]));
}

/**
 * RFC 6902. Throws 422 if an operation does not apply (a failed `test` included), 400 for an
 * invalid patch.
 */
export function applyJsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest('error decoding patch: a JSON patch is a list of operations');
  if (patch.length > maxJsonPatchOperations) {
    throw new ApiError(
      413,
      'RequestEntityTooLarge',
      `The allowed maximum operations in a JSON patch is ${maxJsonPatchOperations}, got ${patch.length}`,
    );
  }
  const root = { value: thaw(target) };
  for (const operation of patch) applyOperation(root, operation);
  return root.value;
}

function applyOperation(root: { value: unknown }, operation: unknown): void {
  if (!isObject(operation) || typeof operation['path'] !== 'string')
    throw badRequest('error decoding patch: an operation needs a path');
  const path = pointer(operation['path']);
  const value = () => thaw(operation['value']);
  const from = () => pointer(String(operation['from']));
  switch (operation['op']) {
    case 'add':
      insertAt(root, path, value());
      break;
    case 'replace':
      valueAt(root, path);
      replaceAt(root, path, value());
      break;
    case 'remove':
      removeAt(root, path);
      break;
    case 'test':
      if (!sameJson(valueAt(root, path), operation['value'])) throw inapplicable();
      break;
    case 'copy':
      insertAt(root, path, thaw(valueAt(root, from())));
      break;
    case 'move': {
      const moved = valueAt(root, from());
      removeAt(root, from());
      insertAt(root, path, moved);
      break;
    }
    default:
      throw inapplicable();
  }
}

function inapplicable(): ApiError {
  return new ApiError(422, 'Invalid', 'the server rejected our request due to an error in our request', {});
}

function pointer(text: string): string[] {
  if (text === '') return [];
  if (!text.startsWith('/')) throw inapplicable();
  return text
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function valueAt(root: { value: unknown }, path: string[]): unknown {
  let current = root.value;
  for (const part of path) {
    if (Array.isArray(current)) current = current[listIndex(part, current.length - 1)];
    else if (isObject(current) && Object.hasOwn(current, part)) current = current[part];
    else throw inapplicable();
  }
  return current;
}

function listIndex(part: string, highest: number): number {
  if (!/^(0|[1-9]\d*)$/.test(part) || Number(part) > highest) throw inapplicable();
  return Number(part);
}

function insertAt(root: { value: unknown }, path: string[], value: unknown): void {
  const last = path.at(-1);
  if (last === undefined) {
    root.value = value;
    return;
  }
  const parent = valueAt(root, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(last === '-' ? parent.length : listIndex(last, parent.length), 0, value);
  else if (isObject(parent)) parent[last] = value;
  else throw inapplicable();
}

function replaceAt(root: { value: unknown }, path: string[], value: unknown): void {
  const last = path.at(-1);
  const parent = last === undefined ? undefined : valueAt(root, path.slice(0, -1));
  if (last === undefined) root.value = value;
  else if (Array.isArray(parent)) parent[listIndex(last, parent.length - 1)] = value;
  else if (isObject(parent)) parent[last] = value;
}

function removeAt(root: { value: unknown }, path: string[]): void {
  const last = path.at(-1);
  if (last === undefined) throw inapplicable();
  valueAt(root, path);
  const parent = valueAt(root, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(listIndex(last, parent.length - 1), 1);
  else if (isObject(parent)) delete parent[last];
}
