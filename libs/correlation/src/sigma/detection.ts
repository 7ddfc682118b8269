/**
 * The detection of a Sigma rule as a selection of violations. Pure.
 *
 * A selection is a conjunction of lists. The condition is brought to maps that must match and maps
 * that must not; whatever is no such conjunction is a problem with its path, and never left out.
 */
import type { Selection } from '@bailiff/policy';
import { type Expression, parseCondition } from './condition.ts';
import {
  auditedMaps,
  FIELD_VALUES,
  type FieldMap,
  isMap,
  isOfOperations,
  LIST_FIELDS,
  NAMED_ONLY,
  PACKET_VECTORS,
} from './fields.ts';

export type Report = (path: string, message: string) => void;

/** Lists by field, as far as they are known. */
type Lists = Map<string, readonly string[]>;
interface Parts {
  must: FieldMap[];
  mustNot: FieldMap[];
}

const FIELDS: readonly string[] = Object.values(LIST_FIELDS);
/** Fields that every violation has, so that "not a" means one of the others. */
const COMPLETE: readonly string[] = ['kind', 'action', 'state'];
const same = (a: readonly string[], b: readonly string[]) => [...a].sort().join('\n') === [...b].sort().join('\n');

/** `p/*` is `p/` at the start, `*\/r` is `/r` at the end. */
function keyedValue(key: string, value: string): { key: string; value: string } | null {
  const inner = value.replace(/^\*/, '').replace(/\*$/, '');
  if (/[*?\\]/.test(inner)) return null;
  if (inner === value) return { key, value };
  if (key !== 'vector' || (value.startsWith('*') && value.endsWith('*'))) return null;
  return { key: `vector|${value.endsWith('*') ? 'startswith' : 'endswith'}`, value: inner };
}

class Detection {
  readonly #report: Report;
  readonly #maps = new Map<string, FieldMap[]>();

  constructor(detection: Record<string, unknown>, report: Report) {
    this.#report = report;
    for (const [name, value] of Object.entries(detection)) {
      if (name === 'condition') continue;
      const maps = (Array.isArray(value) ? value : [value]).map((one, index) =>
        this.#readMap(one, Array.isArray(value) ? `${name}.${index}` : name),
      );
      this.#maps.set(name, maps);
    }
  }

  get names(): string[] {
    return [...this.#maps.keys()];
  }

  #readMap(value: unknown, path: string): FieldMap {
    if (!isMap(value)) {
      this.#report(path, 'searches for words: name fields instead');
      return {};
    }
    const map: Record<string, string[]> = {};
    for (const [key, given] of Object.entries(value)) {
      const [field = '', ...modifiers] = key.split('|');
      const at = `${path}.${key}`;
      if (!FIELDS.includes(field))
        this.#report(at, `no field of a violation that rules select by: ${FIELDS.join(', ')}`);
      else if (modifiers.length > 0 && !(field === 'vector' && /^(startswith|endswith)$/.test(modifiers.join('|'))))
        this.#report(at, `the modifier ${modifiers.join('|')} has no equivalent`);
      else this.#readValues(map, key, given, at);
    }
    if (Object.keys(map).length === 0 && Object.keys(value).length === 0) this.#report(path, 'is empty');
    return map;
  }

  #readValues(map: Record<string, string[]>, key: string, given: unknown, path: string): void {
    const values = Array.isArray(given) ? given : [given];
    const keys = new Set<string>();
    for (const [index, one] of values.entries()) {
      const at = Array.isArray(given) ? `${path}.${index}` : path;
      if (typeof one !== 'string') {
        this.#report(at, 'is not a text');
        continue;
      }
      const keyed = keyedValue(key, one);
      const allowed = FIELD_VALUES[key];
      if (keyed === null) this.#report(at, `"${one}" has a wildcard that has no equivalent`);
      else if (keyed.key === 'vector' && !one.includes('/') && !PACKET_VECTORS.includes(one))
        this.#report(at, `"${one}" is neither a vector of packets nor <policy>/<rule>`);
      else if (allowed && !allowed.includes(keyed.value))
        this.#report(at, `"${one}" is not one of ${allowed.join(', ')}`);
      else {
        keys.add(keyed.key);
        const list = map[keyed.key] ?? [];
        list.push(keyed.value);
        map[keyed.key] = list;
      }
    }
    if (values.length === 0) this.#report(path, 'has no values');
    if (keys.size > 1) this.#report(path, 'mixes whole names with starts or ends of names');
  }

  /** @returns null if there are problems */
  parts(expression: Expression, isNot = false): Parts | null {
    if (expression.kind === 'not') return this.parts(expression.of, !isNot);
    if (expression.kind === 'name') {
      const maps = this.#maps.get(expression.name) ?? [];
      if (isNot) return { must: [], mustNot: maps };
      const map = this.#united(maps);
      return map && { must: [map], mustNot: [] };
    }
    const parts = expression.of.map((one) => this.parts(one, isNot));
    if (parts.includes(null)) return null;
    const all = parts as Parts[];
    if ((expression.kind === 'and') !== isNot) {
      return { must: all.flatMap(({ must }) => must), mustNot: all.flatMap(({ mustNot }) => mustNot) };
    }
    // One of several: positive maps may differ in one field.
    const single = all.flatMap(({ must, mustNot }) => (must.length === 1 && mustNot.length === 0 ? must : []));
    const map = single.length === all.length ? this.#united(single) : null;
    if (map) return { must: [map], mustNot: [] };
    if (single.length !== all.length)
      this.#report('condition', 'cannot be written as lists of values that must all match');
    return null;
  }

  /** One map for any of several, which may differ in one field. */
  #united(maps: readonly FieldMap[]): FieldMap | null {
    const [first = {}, ...rest] = maps;
    const keys = Object.keys(first);
    const differing = keys.filter((key) => rest.some((map) => !same(map[key] ?? [], first[key] ?? [])));
    const fits = differing.length <= 1 && rest.every((map) => same(Object.keys(map), keys));
    if (!fits) {
      this.#report('condition', 'alternatives that differ in more than one field cannot be one selection');
      return null;
    }
    const [key] = differing;
    return key === undefined ? first : { ...first, [key]: [...new Set(maps.flatMap((map) => map[key] ?? []))] };
  }
}

/** Lists that must match: of several, the values that all have. */
function intersected(maps: readonly FieldMap[], report: Report): Lists {
  const lists: Lists = new Map();
  for (const map of maps) {
    for (const [key, values] of Object.entries(map)) {
      const known = lists.get(key);
      const left = known ? known.filter((value) => values.includes(value)) : [...new Set(values)];
      if (left.length === 0) report('condition', `nothing matches: no value of ${key} is left`);
      lists.set(key, left);
    }
  }
  return lists;
}

/** Takes out of the lists what must not match. @returns the maps about audited violations */
function subtract(lists: Lists, mustNot: readonly FieldMap[], report: Report): FieldMap[] {
  const audited: FieldMap[] = [];
  const excluded = new Map<string, string[]>();
  for (const map of mustNot) {
    const [key, ...more] = Object.keys(map);
    if (same(map['action'] ?? [], ['audit'])) audited.push(map);
    else if (key === undefined || more.length > 0) report('condition', 'excludes a combination of fields');
    else excluded.set(key, [...(excluded.get(key) ?? []), ...(map[key] ?? [])]);
  }
  for (const [key, values] of excluded) {
    const known = lists.get(key) ?? (COMPLETE.includes(key) ? FIELD_VALUES[key] : undefined);
    if (key === 'pod.namespace' || (key === 'vector' && !known)) lists.set(`not ${key}`, values);
    else if (known) {
      const left = known.filter((value) => !values.includes(value));
      if (left.length === 0) report('condition', `nothing matches: no value of ${key} is left`);
      lists.set(key, left);
    } else report('condition', `excludes values of ${key}, which some violations do not have`);
  }
  return audited;
}

/** Vectors, policies and rules. */
function vectorsIn(lists: Lists, report: Report): Selection {
  const [starts, ends, whole] = ['vector|startswith', 'vector|endswith', 'vector'].map((key) => lists.get(key));
  const policies = starts?.map((text) => /^([^/]+)\/$/.exec(text)?.[1] ?? null);
  const rules = ends?.map((text) => /^\/([^/]+)$/.exec(text)?.[1] ?? null);
  if (policies?.includes(null)) report('condition', 'a start of a vector must be a policy and "/"');
  if (rules?.includes(null)) report('condition', 'an end of a vector must be "/" and a rule');
  const named = {
    ...(policies ? { policies: policies as string[] } : {}),
    ...(rules ? { rules: rules as string[] } : {}),
  };
  if (!whole) return named;
  const ofPolicies = whole.filter((vector) => vector.includes('/'));
  if (ofPolicies.length === 0) return { ...named, vectors: [...whole] as NonNullable<Selection['vectors']> };
  const pairs = ofPolicies.map((vector) => vector.split('/') as [string, string]);
  const firsts = [...new Set(pairs.map(([policy]) => policy))];
  const seconds = [...new Set(pairs.map(([, rule]) => rule))];
  if (ofPolicies.length < whole.length || firsts.length * seconds.length > ofPolicies.length || starts || ends)
    report('condition', 'these vectors are not all combinations of some policies and some rules');
  return { policies: firsts, rules: seconds };
}

/** A rule without vectors counts all but those that count only by name. */
function withoutNamedOnly(selection: Selection, excluded: readonly string[] | undefined, report: Report): Selection {
  if (selection.vectors !== undefined) return selection;
  if (isOfOperations(selection)) {
    // No operation has a vector of packets.
    const left = excluded?.filter((vector) => !PACKET_VECTORS.includes(vector)) ?? [];
    if (left.length > 0)
      report(
        'condition',
        `excludes some rules of policies, for which there is no list: ${left.slice(0, 8).join(', ')}`,
      );
    return selection;
  }
  if (excluded && same(excluded, NAMED_ONLY)) return selection;
  if (selection.kinds?.includes('lsm') !== false) {
    report(
      'condition',
      `must have kind: spoof or kind: lsm, or exclude the vectors that count only by name: ${NAMED_ONLY.join(', ')}`,
    );
    return selection;
  }
  const vectors = PACKET_VECTORS.filter((vector) => !excluded?.includes(vector));
  return { ...selection, vectors: vectors as NonNullable<Selection['vectors']> };
}

const textOf = (maps: readonly FieldMap[]) =>
  JSON.stringify(
    maps
      .map((map) =>
        JSON.stringify(
          Object.entries(map)
            .map(([key, values]) => [key, [...values].sort()])
            .sort(),
        ),
      )
      .sort(),
  );

/** Audited violations: left out as a rule without `actions` does, or by their action alone. */
function withActions(selection: Selection, audited: readonly FieldMap[], report: Report): Selection {
  if (selection.actions !== undefined && audited.length === 0) return selection;
  const usual = auditedMaps(selection);
  if (selection.actions === undefined && textOf(usual) === textOf(audited)) return selection;
  if (audited.length === 0) return { ...selection, actions: ['audit', 'drop'] };
  const isPlain = audited.every((map) => Object.keys(map).length === 1);
  if (!isPlain) report('condition', 'excludes audited violations of some kinds only');
  if (selection.actions?.includes('drop') === false) report('condition', 'nothing matches: no value of action is left');
  return { ...selection, actions: ['drop'] };
}

/** The selection of a detection. Its problems are reported; then the result must not be used. */
export function selectionOf(detection: unknown, report: Report): Selection {
  if (!isMap(detection)) {
    report('', 'is not a map');
    return {};
  }
  const read = new Detection(detection, report);
  const { condition } = detection;
  if (typeof condition !== 'string') {
    report('condition', 'must be one text');
    return {};
  }
  const expression = parseCondition(condition, read.names);
  if (typeof expression === 'string') {
    report('condition', expression);
    return {};
  }
  const parts = read.parts(expression);
  if (!parts) return {};
  const lists = intersected(parts.must, report);
  const audited = subtract(lists, parts.mustNot, report);
  const listed = Object.entries(LIST_FIELDS).flatMap(([name, field]) => {
    const values = name === 'vectors' ? undefined : lists.get(field);
    const isAll = name === 'kinds' && values !== undefined && same(values, FIELD_VALUES['kind'] ?? []);
    return values === undefined || isAll ? [] : [[name, [...values]] as const];
  });
  const excludedNamespaces = lists.get('not pod.namespace');
  const selection = {
    ...Object.fromEntries(listed),
    ...vectorsIn(lists, report),
    ...(excludedNamespaces ? { excludeNamespaces: [...excludedNamespaces] } : {}),
  } as Selection;
  return withActions(withoutNamedOnly(selection, lists.get('not vector'), report), audited, report);
}
