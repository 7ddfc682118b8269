/**
 * Policy files: YAML, one policy a document, each with the place of what is wrong.
 *
 * `{ kind: RuntimePolicy, metadata: { name, namespace? }, spec }`: the shape of a Kubernetes object, so that a file can be applied either
 * way. Invariants: pure; nothing of a file is taken when anything in it is refused; aliases are bounded, as YAML bombs are built of them.
 */
import {
  type ConfigError,
  type ConfigKey,
  formatConfigKey,
  type RuntimePolicy,
  runtimePolicy,
  runtimePolicyScoped,
} from '@bailiff/policy';
import { type Document, isMap, isScalar, LineCounter, parseAllDocuments } from 'yaml';
import type * as z from 'zod';
import { type FieldRef, PolicyError } from './errors.ts';
import type { NamedPolicy } from './select.ts';

/** Documents of one file. */
const MAX_DOCUMENTS = 256;
/** Times that anchors may be used in a document. */
const MAX_ALIASES = 100;
const FIELDS = ['apiVersion', 'kind', 'metadata', 'spec'];
export const POLICY_KIND = 'RuntimePolicy';

interface Place {
  readonly file: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** The line of a field, or of what holds it. */
function lineOf({ document, lines }: Place, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length--) {
    const at = path.slice(0, length);
    // A key's own place is better than its value's: a value may begin lines later.
    const parent = document.getIn(at.slice(0, -1), true);
    const key =
      length > 0 && isMap(parent) ? parent.items.find(({ key: k }) => isScalar(k) && k.value === at.at(-1))?.key : null;
    const node = (isScalar(key) ? key : document.getIn(at, true)) as { range?: [number, number, number] } | undefined;
    if (node?.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

function fail(place: Place, issues: readonly { path: readonly PropertyKey[]; message: string }[]): never {
  const rows = issues.map(({ path, message }) => {
    const field = path.map(String).join('.');
    return { field, text: `${place.file}:${lineOf(place, path)}: ${field === '' ? '' : `${field}: `}${message}` };
  });
  const fields: FieldRef[] = rows.map(({ field }) => ({ policy: place.file, field }));
  throw new PolicyError('POLICY_FILE', rows.map(({ text }) => text).join('\n'), fields);
}

/** One issue a field; a key that is unknown is its own place. */
function issuesOf(error: z.ZodError): { path: PropertyKey[]; message: string }[] {
  return error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: ['spec', ...issue.path, key], message: 'is unknown' }))
      : [{ path: ['spec', ...issue.path], message: issue.message }],
  );
}

function keyOf(place: Place, value: Record<string, unknown>): { key: ConfigKey; text: string } {
  const metadata = (value['metadata'] ?? {}) as Record<string, unknown>;
  const { name, namespace = null } = metadata;
  if (typeof name !== 'string') fail(place, [{ path: ['metadata', 'name'], message: 'is missing' }]);
  if (namespace !== null && typeof namespace !== 'string')
    fail(place, [{ path: ['metadata', 'namespace'], message: 'must be the name of a namespace' }]);
  const key: ConfigKey = { kind: 'runtime', scope: namespace === null ? 'cluster' : 'namespace', namespace, name };
  try {
    return { key, text: formatConfigKey(key) };
  } catch (error) {
    return fail(place, [{ path: ['metadata'], message: (error as ConfigError).message }]);
  }
}

function plainValue(place: Place): unknown {
  try {
    return place.document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    // An alias without its anchor, or more of them than are allowed.
    const text = `${place.file}:${lineOf(place, [])}: ${(cause as Error).message}`;
    throw new PolicyError('POLICY_FILE', text, [], { cause });
  }
}

function policyIn(place: Place): NamedPolicy {
  const value = plainValue(place);
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    fail(place, [{ path: [], message: `is no policy: expected kind, metadata and spec` }]);
  const fields = value as Record<string, unknown>;
  if (fields['kind'] !== POLICY_KIND) fail(place, [{ path: ['kind'], message: `must be ${POLICY_KIND}` }]);
  const unknown = Object.keys(fields).filter((field) => !FIELDS.includes(field));
  if (unknown.length > 0)
    fail(
      place,
      unknown.map((field) => ({ path: [field], message: 'is unknown' })),
    );
  const { key, text } = keyOf(place, fields);
  const schema: z.ZodType<RuntimePolicy> = key.namespace === null ? runtimePolicy : runtimePolicyScoped;
  const result = schema.safeParse(fields['spec'] ?? {});
  if (!result.success) fail(place, issuesOf(result.error));
  return { key: text, name: key.name, namespace: key.namespace, policy: result.data };
}

/**
 * The policies of a file. `file` names it in messages: `file:line: field: what is wrong`, one line a mistake.
 * @throws PolicyError POLICY_FILE
 */
export function loadPolicyFile(text: string, file = 'policy'): NamedPolicy[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines });
  if (!Array.isArray(documents)) throw new PolicyError('POLICY_FILE', `${file}: holds nothing`);
  const isEmpty = ({ contents, errors }: Document) =>
    errors.length === 0 && (contents === null || (isScalar(contents) && contents.value === null));
  const all = documents.filter((document) => !isEmpty(document));
  if (all.length === 0) throw new PolicyError('POLICY_FILE', `${file}: holds nothing`);
  if (all.length > MAX_DOCUMENTS)
    throw new PolicyError('POLICY_FILE', `${file}: holds more than ${MAX_DOCUMENTS} documents`);
  const policies = new Map<string, NamedPolicy>();
  for (const document of all) {
    const place = { file, document, lines };
    const [broken] = document.errors;
    if (broken) {
      const { line } = lines.linePos(broken.pos[0]);
      const [what] = broken.message.split('\n');
      throw new PolicyError('POLICY_FILE', `${file}:${line}: no YAML: ${what}`, [], { cause: broken });
    }
    const named = policyIn(place);
    if (policies.has(named.key))
      fail(place, [{ path: ['metadata', 'name'], message: `${named.key} stands here twice` }]);
    policies.set(named.key, named);
  }
  return [...policies.values()];
}
