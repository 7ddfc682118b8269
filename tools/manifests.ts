/**
 * `npm run manifests` writes the manifests of k8s that are the chart's rendered default, the table of
 * values in the chart's README, and the chart's copies of other files. test/k8s/chart.test.ts fails if they are not current.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { CHART, helmProgram, NO_HELM, template } from './helm.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const README = 'k8s/chart/README.md';

/** Template of the chart → file. A file has one template. */
const FILES: Readonly<Record<string, string>> = {
  'bus-auth': 'base/bus-auth',
  'bus-setup': 'base/bus-setup',
  collector: 'base/collector',
  correlator: 'base/correlator',
  'flow-schema': 'base/flow-schema',
  'ipam-sync': 'base/ipam-sync',
  'network-policies': 'base/network-policies',
  'operator-role': 'base/operator-role',
  'priority-quota': 'base/priority-quota',
  responder: 'base/responder',
  'siem-relay': 'base/siem-relay',
  nats: 'overlays/included/nats',
  redis: 'overlays/included/valkey',
  'bus-network-policies': 'overlays/included/network-policies',
  'responder-narrowed': 'components/responder-narrowed/admission',
  'taint-unguarded': 'components/taint-unguarded/admission',
  'taint-unguarded-rights': 'components/taint-unguarded/rights',
  'pod-monitor': 'monitoring/pod-monitor',
};
/** Rendered with an external bus and Redis. */
const EXTERNAL: Readonly<Record<string, string>> = {
  'bus-network-policies': 'overlays/external/network-policies',
};
const OPTIONAL = ['responder.narrowed=true', 'ipamSync.taintUnguarded=true', 'prometheus.podMonitor.enabled=true'];

/**
 * Folder of the chart → folder and files. Copies, because helm reports each symbolic link of a chart
 * before every command, and a chart in a package cannot refer to files outside of it.
 */
const COPIES: Readonly<Record<string, readonly [string, (file: string) => boolean]>> = {
  'k8s/chart/files/crds': ['k8s/crds', (file) => file !== 'kustomization.yaml'],
  'k8s/chart/files/valkey': ['k8s/overlays/included', (file) => /\.(sh|conf)$/.test(file)],
  'k8s/chart/files/policies': ['policies', (file) => file.endsWith('.yaml')],
  'k8s/chart/files/monitoring': ['k8s/monitoring', (file) => ['alerts.yaml', 'dashboard.json'].includes(file)],
};
/** Label of helm's objects, which other tools do not manage. */
const HELM_LABEL = /^ +app\.kubernetes\.io\/managed-by: Helm\n/gm;

const GENERATED = (name: string) =>
  `# Rendered from k8s/chart/templates/${name}.yaml by \`npm run manifests\`: change it there.\n`;
/** Order of the documents of a file; helm sorts them by kind across files. */
const KINDS = [
  'ServiceAccount',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
  'ClusterRole',
  'ClusterRoleBinding',
  'Role',
  'RoleBinding',
  'Service',
  'NetworkPolicy',
];
const SOURCE = /^# Source: bailiff\/templates\/(\S+)\.yaml\n/;

/** Documents of each template, without the comment that names it. */
function byTemplate(rendered: string): Map<string, string[]> {
  const templates = new Map<string, string[]>();
  for (const text of rendered.split(/^---\n/m)) {
    const name = SOURCE.exec(text)?.[1];
    if (name === undefined) continue;
    templates.set(name, [...(templates.get(name) ?? []), `${text.replace(SOURCE, '').trim()}\n`]);
  }
  return templates;
}

const kindOrder = (document: string) => {
  const index = KINDS.indexOf(/^kind: (\w+)$/m.exec(document)?.[1] ?? '');
  if (/^kind: PodDisruptionBudget$/m.test(document)) return KINDS.length + 1;
  return index < 0 ? KINDS.length : index;
};

function filesOf(rendered: string, wanted: Readonly<Record<string, string>>): Map<string, string> {
  const templates = byTemplate(rendered);
  const files = new Map<string, string>();
  for (const [name, file] of Object.entries(wanted)) {
    const documents = templates.get(name);
    if (!documents) throw new Error(`the chart renders nothing from templates/${name}.yaml`);
    const sorted = documents.sort((a, b) => kindOrder(a) - kindOrder(b));
    files.set(`k8s/${file}.yaml`, GENERATED(name) + sorted.join('---\n').replaceAll(HELM_LABEL, ''));
  }
  return files;
}

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
}

/** Rows of the table: key, default, description. */
export function valueRows(schema: Schema, values: unknown, prefix = ''): [string, string, string][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, one]) => {
    const key = prefix === '' ? name : `${prefix}.${name}`;
    const value = (values as Record<string, unknown> | undefined)?.[name];
    if (one.description === undefined) return valueRows(one, value, key);
    return [[key, JSON.stringify(value) ?? '', one.description] as [string, string, string]];
  });
}

const MARK = '<!-- values -->';

async function readme(): Promise<string> {
  const { parse } = await import('yaml');
  const schema = JSON.parse(readFileSync(path.join(CHART, 'values.schema.json'), 'utf8')) as Schema;
  const values: unknown = parse(readFileSync(path.join(CHART, 'values.yaml'), 'utf8'));
  const rows = valueRows(schema, values).map(
    ([key, value, text]) => `| \`${key}\` | \`${value.replaceAll('|', '\\|')}\` | ${text} |`,
  );
  const [head = '', , tail = ''] = readFileSync(path.join(ROOT, README), 'utf8').split(MARK);
  const table = ['| value | default | meaning |', '|---|---|---|', ...rows].join('\n');
  return `${head}${MARK}\n${table}\n${MARK}${tail}`;
}

const copies = (): [string, string][] =>
  Object.entries(COPIES).flatMap(([to, [from, isWanted]]) =>
    readdirSync(path.join(ROOT, from))
      .filter(isWanted)
      .map((file): [string, string] => [`${to}/${file}`, readFileSync(path.join(ROOT, from, file), 'utf8')]),
  );

/** Every generated file with its content. */
export async function generated(program: string): Promise<Map<string, string>> {
  const included = template(program, { profiles: ['kustomize'], set: OPTIONAL });
  const external = template(program, { profiles: ['external', 'kustomize'] });
  const text = await readme();
  return new Map([...copies(), ...filesOf(included, FILES), ...filesOf(external, EXTERNAL), [README, text]]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const program = helmProgram();
  if (program === null) throw new Error(NO_HELM);
  for (const [file, text] of await generated(program)) {
    mkdirSync(path.dirname(path.join(ROOT, file)), { recursive: true });
    writeFileSync(path.join(ROOT, file), text);
  }
}
