/**
 * docs/reference/config.md: the fields of each key of `bailiff_config`, from the validating
 * schemas. Pure.
 */
import {
  CONFIG_KINDS,
  CONFIG_SCOPES,
  type ConfigKind,
  type ConfigScope,
  formatConfigKey,
  schemaFor,
} from '@bailiff/policy';
import { type Field, jsonSchemaOf, variantsOf } from './fields.ts';
import { code, codes, page, section, table } from './markdown.ts';

const ABOUT: Record<ConfigKind, string> = {
  spoof:
    'Checks of packets. A narrower scope overrides a wider one: `spoof.cluster._.default`, `spoof.namespace.<namespace>.default`, `spoof.workload.<namespace>.<owner>`.',
  correlation:
    'Rules from violations to verdicts. Built-in rules are in force until a rule of the same name is written.',
  response: 'Responses to verdicts, with their guards.',
  disarm:
    'Break-glass: until it expires, enforcement becomes audit. Written by `bailiff disarm`: `disarm.cluster._.all`, `disarm.node._.<node>`, `disarm.namespace.<namespace>.all`.',
  runtime: 'Permitted operations of the programs of a pod; [runtime-policies.md](../runtime-policies.md) explains it.',
};

/** Scopes at which a kind may be written. */
function scopesOf(kind: ConfigKind): ConfigScope[] {
  return CONFIG_SCOPES.filter((scope) => {
    const namespace = scope === 'namespace' || scope === 'workload' ? 'namespace' : null;
    try {
      formatConfigKey({ kind, scope, namespace, name: 'name' });
      return true;
    } catch {
      return false;
    }
  });
}

export function fieldTable(fields: readonly Field[]): string {
  const rows = fields.map(({ path, type, fallback, required, description }) => [
    code(path),
    type,
    required ? 'needed' : fallback === '' ? '' : code(fallback),
    description,
  ]);
  return table(['field', 'type', 'default', 'what'], rows);
}

/** Groups scopes with the same schema. */
function sameSchemas(kind: ConfigKind): { scopes: ConfigScope[]; schema: ReturnType<typeof schemaFor> }[] {
  const groups = new Map<string, { scopes: ConfigScope[]; schema: ReturnType<typeof schemaFor> }>();
  for (const scope of scopesOf(kind)) {
    const schema = schemaFor({ kind, scope });
    const text = JSON.stringify(jsonSchemaOf(schema));
    const group = groups.get(text) ?? { scopes: [], schema };
    group.scopes.push(scope);
    groups.set(text, group);
  }
  return [...groups.values()];
}

function kindSection(kind: ConfigKind): string {
  const groups = sameSchemas(kind);
  const parts = groups.flatMap(({ scopes, schema }) => {
    const where = groups.length > 1 ? [`**At scope ${codes(scopes)}:**`] : [];
    const variants = variantsOf(schema);
    const shared = variants.length > 1 ? sharedOf(variants.map(({ fields }) => fields)) : [];
    const isShared = (field: Field) => shared.some((one) => JSON.stringify(one) === JSON.stringify(field));
    if (variants.length === 1) return [...where, fieldTable(variants[0]?.fields ?? [])];
    return [
      ...where,
      fieldTable(shared),
      ...variants.flatMap(({ title, fields }) => [
        `**Of type \`${title}\`, besides:**`,
        fieldTable(fields.filter((field) => !isShared(field))),
      ]),
    ];
  });
  return section(kind, ABOUT[kind], `Scopes: ${codes(scopesOf(kind))}.`, ...parts);
}

/** Fields that all variants share. */
function sharedOf(variants: readonly Field[][]): Field[] {
  const texts = variants.map((fields) => new Set(fields.map((field) => JSON.stringify(field))));
  return (variants[0] ?? []).filter((field) => texts.every((set) => set.has(JSON.stringify(field))));
}

/** Every field of every kind with its location, for the test of missing descriptions. */
export function everyConfigField(): { kind: ConfigKind; field: Field }[] {
  return CONFIG_KINDS.flatMap((kind) =>
    scopesOf(kind).flatMap((scope) =>
      variantsOf(schemaFor({ kind, scope })).flatMap(({ fields }) => fields.map((field) => ({ kind, field }))),
    ),
  );
}

/** Enumerations with more values are a link to their list. */
const MAX_VALUES = 8;
const LONG = new RegExp(`\`[^\`]+\`(?: \\\\\\| \`[^\`]+\`){${MAX_VALUES},}`);

/**
 * Moves each long enumeration out of the tables, into a section at the end: several fields have the
 * same one. A list has the name of the first field with it.
 */
export function withoutLongLists(sections: readonly string[]): string[] {
  const lists = new Map<string, string>();
  const nameOf = (values: string, row: string): string => {
    const known = lists.get(values);
    if (known !== undefined) return known;
    const field = /([\w-]+)`/.exec(row)?.[1] ?? 'values';
    const taken = [...lists.values()].filter((name) => name.split(' ')[0] === field).length;
    const name = taken === 0 ? field : `${field} ${taken + 1}`;
    lists.set(values, name);
    return name;
  };
  const shortened = sections.map((text) =>
    text
      .split('\n')
      .map((row) => row.replace(LONG, (values) => linkTo(nameOf(values, row), values)))
      .join('\n'),
  );
  const parts = [...lists].map(([values, name]) => `### Values of ${name}\n\n${values.replaceAll(' \\|', ',')}`);
  return [...shortened, section('Lists of values', ...parts)];
}

const linkTo = (name: string, values: string): string =>
  `[${values.split(' \\| ').length} values](#values-of-${name.replaceAll(' ', '-').toLowerCase()})`;

export function configPage(): string {
  return page(
    'Configuration on the bus',
    `Keys of the bucket \`bailiff_config\` read \`<kind>.<scope>.<namespace or _>.<name>\`, with \`.\` in names written \`_\`. A value is one JSON object;
\`bailiff config set\` takes YAML too, checks it, shows what changes and writes it. Unknown fields are refused. A duration is a number with its unit
(\`250ms\`, \`30s\`, \`10m\`, \`1h\`, \`7d\`); a CIDR is \`10.0.0.0/8\` or \`fd00::/64\`. \`a.b\` is field \`b\` of group \`a\`, \`a[]\` each entry of list \`a\`.`,
    withoutLongLists(CONFIG_KINDS.map(kindSection)),
  );
}
