/**
 * Converts between the client's version and the stored version. Pure. Only two cases differ: events
 * (core/v1 and events.k8s.io/v1 are views of one object), and custom resources with several
 * versions, which convert by apiVersion alone.
 */
import type { JsonObject, KubeObject, ObjectInput } from '../types.ts';
import { apiVersionOf, type ResourceDef } from './resources.ts';

/** events.k8s.io/v1 field → core/v1 field. */
const eventFields: [string, string][] = [
  ['regarding', 'involvedObject'],
  ['note', 'message'],
  ['reportingController', 'reportingComponent'],
  ['deprecatedSource', 'source'],
  ['deprecatedFirstTimestamp', 'firstTimestamp'],
  ['deprecatedLastTimestamp', 'lastTimestamp'],
  ['deprecatedCount', 'count'],
];

function renamed(object: ObjectInput, pairs: [string, string][], apiVersion: string): ObjectInput {
  const names = new Map(pairs);
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(object)) result[names.get(key) ?? key] = value;
  return { ...result, apiVersion };
}

/** A client's object in the stored version. */
export function toStored(def: ResourceDef, object: ObjectInput): ObjectInput {
  if (def.group === 'events.k8s.io') return renamed(object, eventFields, 'v1');
  const { apiVersion: _, kind: __, ...rest } = object;
  return { apiVersion: apiVersionOf(def), kind: def.kind, ...rest };
}

/** A stored object in the client's version. Returns the same object if nothing changes. */
export function fromStored(def: ResourceDef, object: KubeObject): KubeObject {
  if (def.group === 'events.k8s.io') {
    const back = eventFields.map(([theirs, ours]): [string, string] => [ours, theirs]);
    return renamed(object, back, apiVersionOf(def)) as KubeObject;
  }
  return object.apiVersion === apiVersionOf(def) ? object : { ...object, apiVersion: apiVersionOf(def) };
}
