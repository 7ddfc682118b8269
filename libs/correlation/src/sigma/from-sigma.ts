/**
 * Sigma correlations and their rules as correlation rules. Pure. The format: Sigma's specification of
 * correlation rules, 2.1. Fields that change nothing about what is found are reported as `notes`.
 */
import {
  type CorrelationRule,
  correlationRule,
  GROUP_BY,
  MAX_DURATION_MS,
  parseDurationMs,
  RULE_TYPES,
  type Selection,
} from '@bailiff/policy';
import { selectionOf } from './detection.ts';
import { COUNTED_FIELDS, GROUP_FIELDS, isMap, isOfOperations, LOG_SOURCE } from './fields.ts';
import type { SigmaProblem } from './problem.ts';

export interface FromSigma {
  rules: Record<string, CorrelationRule>;
  /** If there are any, no rule must be used. */
  problems: SigmaProblem[];
  /** Fields that were not kept. */
  notes: SigmaProblem[];
}

type Fields = Record<string, unknown>;

/** About the file and its author. */
const METADATA = [
  'id',
  'status',
  'author',
  'date',
  'modified',
  'references',
  'falsepositives',
  'license',
  'related',
  'scope',
  'taxonomy',
  'fields',
];
const OF_CORRELATION = ['title', 'name', 'description', 'tags', 'level', 'correlation', 'generate', 'bailiff'];
const OF_BASE = ['title', 'name', 'logsource', 'detection'];
/** Of a rule that only a correlation uses, its verdicts have those of the correlation. */
const UNUSED_OF_BASE = ['description', 'tags', 'level'];
const CORRELATION_KEYS = ['type', 'rules', 'group-by', 'timespan', 'condition'];

const KUBE_NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

interface Base {
  name: string;
  selection: Selection;
  used: boolean;
  path: string;
}

class Reader {
  readonly problems: SigmaProblem[] = [];
  readonly notes: SigmaProblem[] = [];
  readonly #bases = new Map<string, Base>();
  readonly rules: Record<string, CorrelationRule> = {};

  problem(path: string, message: string): void {
    this.problems.push({ path, message });
  }

  /** Reports fields that nothing reads. */
  #checkFields(document: Fields, known: readonly string[], unused: readonly string[], at: string): void {
    for (const field of Object.keys(document)) {
      if (known.includes(field)) continue;
      if (unused.includes(field) || METADATA.includes(field))
        this.notes.push({ path: `${at}: ${field}`, message: 'is not kept' });
      else this.problem(`${at}: ${field}`, 'has no equivalent');
    }
  }

  readBase(document: Fields, at: string): void {
    this.#checkFields(document, OF_BASE, UNUSED_OF_BASE, at);
    const { name, id, logsource, detection } = document;
    const source = isMap(logsource) ? logsource : {};
    if (source['product'] !== LOG_SOURCE.product || source['service'] !== LOG_SOURCE.service) {
      this.problem(
        `${at}: logsource`,
        `must be product: ${LOG_SOURCE.product}, service: ${LOG_SOURCE.service}; rules of other sources read events that Bailiff does not have`,
      );
    }
    for (const key of Object.keys(source))
      if (!['product', 'service', 'definition'].includes(key))
        this.problem(`${at}: logsource.${key}`, 'has no equivalent');
    const names = [name, id].filter((one) => typeof one === 'string');
    if (names.length === 0) this.problem(at, 'has neither a name nor an id, so no correlation can refer to it');
    const selection = selectionOf(detection, (path, message) =>
      this.problem(`${at}: detection${path === '' ? '' : `.${path}`}`, message),
    );
    const base = { name: names[0] ?? '', selection, used: false, path: at };
    for (const one of names) {
      if (this.#bases.has(one)) this.problem(at, `"${one}" is in the file twice`);
      this.#bases.set(one, base);
    }
  }

  #stages(correlation: Fields, at: string, correlations: ReadonlySet<string>): Base[] {
    const { rules } = correlation;
    if (!Array.isArray(rules) || rules.length === 0) {
      this.problem(`${at}.rules`, 'must list rules of this file');
      return [];
    }
    return rules.flatMap((name, index) => {
      const base = this.#bases.get(String(name));
      if (base) {
        base.used = true;
        return [base];
      }
      const isChain = correlations.has(String(name));
      this.problem(
        `${at}.rules.${index}`,
        isChain ? `"${name}" is a correlation: chains have no equivalent` : `"${name}" is not in this file`,
      );
      return [];
    });
  }

  #groupBy(correlation: Fields, at: string): string {
    const given = correlation['group-by'];
    const fields = Array.isArray(given) ? given : [given];
    const found = GROUP_BY.find((name) => fields.length === 1 && GROUP_FIELDS[name] === fields[0]);
    if (!found) this.problem(`${at}.group-by`, `must be one of ${Object.values(GROUP_FIELDS).join(', ')}`);
    return found ?? 'pod';
  }

  /** The least number that matches. */
  #least(condition: Fields, at: string, ignored: readonly string[]): number {
    const criteria = Object.entries(condition).filter(([key]) => !ignored.includes(key));
    for (const [key, value] of criteria) {
      if (!['gt', 'gte'].includes(key))
        this.problem(`${at}.condition.${key}`, 'has no equivalent: a rule has a least number only');
      else if (!Number.isSafeInteger(value)) this.problem(`${at}.condition.${key}`, 'is not a whole number');
    }
    if (criteria.length !== 1) this.problem(`${at}.condition`, 'must have one of gt, gte');
    const [[key, value] = ['gte', 1]] = criteria;
    return Number(value) + (key === 'gt' ? 1 : 0);
  }

  /** The fields by type: selection, stages, field and condition. */
  #typed(type: string, correlation: Fields, stages: readonly Base[], name: string, at: string): Fields {
    const { condition } = correlation;
    const isTemporal = type === 'temporal' || type === 'temporal_ordered';
    if (condition !== undefined && !isMap(condition))
      this.problem(`${at}.condition`, 'an expression has no equivalent');
    const given = isMap(condition) ? condition : {};
    if (isTemporal) {
      if (isMap(condition) && this.#least(given, at, []) !== stages.length)
        this.problem(`${at}.condition`, `must be gte: ${stages.length}: all stages of a rule must be seen`);
      const inner = (base: Base) =>
        kubeNameOf(base.name.startsWith(`${name}.`) ? base.name.slice(name.length + 1) : base.name);
      return { rules: stages.map((base) => ({ name: inner(base), selection: base.selection })) };
    }
    if (stages.length > 1)
      this.problem(`${at}.rules`, 'several rules that count together have no equivalent: write one with all values');
    const selection = stages[0]?.selection ?? {};
    if (type === 'event_count') return { selection, condition: { gte: this.#least(given, at, []) } };
    const field = given['field'];
    const counted = Object.entries(COUNTED_FIELDS).find(([, path]) => path === field)?.[0];
    if (!counted) this.problem(`${at}.condition.field`, `must be one of ${Object.values(COUNTED_FIELDS).join(', ')}`);
    const isPolicyRule = counted === 'vector' && isOfOperations(selection);
    return {
      selection,
      field: isPolicyRule ? 'policyRule' : counted,
      condition: { gte: this.#least(given, at, ['field']) },
    };
  }

  readCorrelation(document: Fields, place: string, correlations: ReadonlySet<string>): void {
    this.#checkFields(document, OF_CORRELATION, [], place);
    const { title, name: given, description, tags, level, bailiff, generate } = document;
    const correlation = isMap(document['correlation']) ? document['correlation'] : {};
    const at = `${place}: correlation`;
    if (generate === true) this.problem(`${place}: generate`, 'has no equivalent: rules alone give no verdicts');
    for (const key of Object.keys(correlation))
      if (!CORRELATION_KEYS.includes(key)) this.problem(`${at}.${key}`, 'has no equivalent');
    const named = given ?? title;
    if (typeof named !== 'string') this.problem(`${place}: ${given === undefined ? 'title' : 'name'}`, 'is not a text');
    const name = kubeNameOf(String(named ?? ''));
    if (given !== undefined && given !== name)
      this.notes.push({ path: `${place}: name`, message: `is "${name}" here` });
    const type = String(correlation['type']);
    if (!(RULE_TYPES as readonly string[]).includes(type)) {
      this.problem(`${at}.type`, `must be one of ${RULE_TYPES.join(', ')}`);
      return;
    }
    if (level === undefined) this.problem(`${place}: level`, 'is missing: each verdict has a level');
    const own = isMap(bailiff) ? bailiff : {};
    for (const key of Object.keys(own))
      if (!['cooldown', 'enabled'].includes(key)) this.problem(`${place}: bailiff.${key}`, 'is unknown');
    const stages = this.#stages(correlation, at, correlations);
    const { timespan } = correlation;
    const ms = /^\d+[smhd]$/.test(String(timespan)) ? parseDurationMs(String(timespan)) : null;
    if (ms === null || ms > MAX_DURATION_MS) this.problem(`${at}.timespan`, 'must be a number and s, m, h or d');
    const rule = {
      type,
      level,
      timespan,
      'group-by': this.#groupBy(correlation, at),
      ...(description === undefined ? {} : { description }),
      ...(tags === undefined ? {} : { tags }),
      ...own,
      ...this.#typed(type, correlation, stages, name, at),
    };
    if (this.problems.length === 0) this.#accept(name, rule, place);
  }

  #accept(name: string, rule: unknown, place: string): void {
    const { success, data, error } = correlationRule.safeParse(rule);
    if (!success) {
      for (const issue of error.issues) this.problem(`${place}: ${issue.path.join('.')}`, issue.message);
      return;
    }
    if (!KUBE_NAME.test(name) || name.length > 253)
      this.problem(`${place}: name`, `"${name}" is not a Kubernetes name`);
    else if (Object.hasOwn(this.rules, name)) this.problem(`${place}: name`, `"${name}" is in the file twice`);
    else this.rules[name] = data;
  }

  reportUnused(): void {
    for (const { used, path, name } of new Set(this.#bases.values()))
      if (!used) this.problem(path, `no correlation uses "${name}", and a rule alone gives no verdicts`);
  }
}

/** The text itself if it is a Kubernetes name, else its letters and digits in lower case. */
function kubeNameOf(text: string): string {
  if (KUBE_NAME.test(text)) return text;
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
}

/** @param documents of one file, in its order */
export function fromSigma(documents: readonly unknown[]): FromSigma {
  const reader = new Reader();
  const numbered = documents.map((document, index) => ({ document, at: `document ${index + 1}` }));
  const maps = numbered.flatMap(({ document, at }) => {
    if (isMap(document) && ('correlation' in document || 'detection' in document)) return [{ document, at }];
    reader.problem(at, 'has neither a correlation nor a detection');
    return [];
  });
  const correlations = maps.filter(({ document }) => 'correlation' in document);
  for (const { document, at } of maps) if (!('correlation' in document)) reader.readBase(document, at);
  const names = new Set(correlations.flatMap(({ document: { name, id } }) => [String(name), String(id)]));
  for (const { document, at } of correlations) reader.readCorrelation(document, at, names);
  reader.reportUnused();
  const { rules, problems, notes } = reader;
  return { rules: problems.length > 0 ? {} : rules, problems, notes };
}
