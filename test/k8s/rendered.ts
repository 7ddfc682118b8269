/** An overlay of k8s as `kubectl kustomize` renders it, with helpers to query the objects. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse, parseAllDocuments, stringify } from 'yaml';

const ROOT = path.resolve(import.meta.dirname, '../..');
export const OVERLAYS = ['included', 'external'] as const;
export const METRICS_PORT = 9464;
export const PROBE_PORT = 9465;

// biome-ignore lint/suspicious/noExplicitAny: manifests are data of many shapes; each test says what it expects of them
export type Json = any;

export interface Workload {
  kind: string;
  name: string;
  /** Label app.kubernetes.io/component. */
  component: string;
  replicas: number;
  object: Json;
  pod: Json;
  container: Json;
  /** Further containers. */
  sidecars: readonly Json[];
}

const rendered = new Map<string, Json[]>();

/** Helm and Kubernetes read YAML 1.1, in which 0440 is octal. */
export const documentsOf = (text: string): Json[] =>
  parseAllDocuments(text, { version: '1.1' })
    .map((document) => document.toJS() as Json)
    .filter((object) => object !== null);

function render(directory: string): Json[] {
  const text = execFileSync('kubectl', ['kustomize', directory], { encoding: 'utf8' });
  return parseAllDocuments(text).map((document) => document.toJS() as Json);
}

/** All objects of an overlay. Rendered once per process. */
export function objectsOf(overlay: (typeof OVERLAYS)[number]): Json[] {
  const known = rendered.get(overlay) ?? render(path.join(ROOT, 'k8s/overlays', overlay));
  rendered.set(overlay, known);
  return known;
}

/**
 * The same with components added to the overlay's kustomization, as their heads describe it.
 * `settings` are literals that an operator writes there, `patch` is a file.
 */
export function objectsWith(
  overlay: (typeof OVERLAYS)[number],
  components: readonly string[],
  settings: Readonly<Record<string, readonly string[]>> = {},
  patch: string | null = null,
): Json[] {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-k8s-'));
  try {
    cpSync(path.join(ROOT, 'k8s'), directory, { recursive: true });
    const file = path.join(directory, 'overlays', overlay, 'kustomization.yaml');
    const written = parse(readFileSync(file, 'utf8')) as Json;
    written.components = components.map((name) => `../../components/${name}`);
    if (patch !== null) {
      writeFileSync(path.join(path.dirname(file), 'patch.yaml'), patch);
      written.patches = [{ path: 'patch.yaml' }];
    }
    writeFileSync(file, stringify(written));
    const generators = Object.entries(settings).map(([name, literals]) => ({ name, behavior: 'merge', literals }));
    const own = path.join(directory, 'overlays', 'own');
    mkdirSync(own);
    const kustomization = {
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      namespace: written.namespace,
      resources: [`../${overlay}`],
      configMapGenerator: generators,
    };
    writeFileSync(path.join(own, 'kustomization.yaml'), stringify(kustomization));
    return render(own);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export const ofKind = (objects: readonly Json[], kind: string): Json[] =>
  objects.filter((object) => object.kind === kind);

/** The one object of this kind and name. @throws Error if there is none */
export function named(objects: readonly Json[], kind: string, name: string): Json {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (!found) throw new Error(`no ${kind} ${name}`);
  return found;
}

const WORKLOADS = ['DaemonSet', 'Deployment', 'StatefulSet', 'Job'];

/** All objects that run pods. Only collectors have a second container. */
export function workloadsOf(objects: readonly Json[]): Workload[] {
  return objects
    .filter(({ kind }) => WORKLOADS.includes(kind))
    .map((object) => {
      const { template, replicas = 1 } = object.spec;
      const [container, ...sidecars] = template.spec.containers;
      const component = template.metadata.labels['app.kubernetes.io/component'];
      if (sidecars.length > 0 && component !== 'collector')
        throw new Error(`${object.metadata.name}: more than one container`);
      return {
        kind: object.kind,
        name: object.metadata.name,
        component,
        replicas,
        object,
        pod: template.spec,
        container,
        sidecars,
      };
    });
}

/** Values that the kubelet would fill in. */
const FIELDS: Readonly<Record<string, string>> = {
  'spec.nodeName': 'node-a',
  'status.hostIP': '10.0.0.1',
  'metadata.namespace': 'bailiff-system',
  'metadata.name': 'pod-0',
};

/** The environment of a container as the kubelet builds it, also for `$(NAME)` references. */
export function environmentOf(objects: readonly Json[], container: Json): Record<string, string> {
  const env: Record<string, string> = {
    KUBERNETES_SERVICE_HOST: '10.96.0.1',
    KUBERNETES_SERVICE_PORT: '443',
  };
  for (const { name, value, valueFrom } of container.env ?? [])
    env[name] = expand(value ?? resolve(objects, valueFrom), env);
  return env;
}

function resolve(objects: readonly Json[], from: Json): string {
  if (from.fieldRef) {
    const value = FIELDS[from.fieldRef.fieldPath];
    if (value === undefined) throw new Error(`unknown field ${from.fieldRef.fieldPath}`);
    return value;
  }
  const { name, key } = from.configMapKeyRef;
  const value = named(objects, 'ConfigMap', name).data[key];
  if (value === undefined) throw new Error(`ConfigMap ${name} has no ${key}`);
  return value;
}

/** Expands `$(NAME)` of an earlier variable; keeps an unknown reference, as the kubelet does. */
export const expand = (text: string, env: Readonly<Record<string, string>>): string =>
  text.replaceAll(/\$\(([A-Za-z_][A-Za-z0-9_]*)\)/g, (whole, name: string) => env[name] ?? whole);

export interface SecretUse {
  secret: string;
  /** The directory with its keys as files. */
  directory: string;
}

/** Secrets of a pod with their mount paths. */
export function secretsOf({ pod, container }: Workload): SecretUse[] {
  return (pod.volumes ?? []).flatMap((volume: Json) => {
    const mount = container.volumeMounts.find(({ name }: Json) => name === volume.name);
    if (!mount) throw new Error(`volume ${volume.name} is not mounted`);
    const names = volume.secret
      ? [volume.secret.secretName]
      : (volume.projected?.sources ?? []).flatMap(({ secret }: Json) => (secret ? [secret.name] : []));
    return names.map((secret: string) => ({ secret, directory: mount.mountPath }));
  });
}

/** The mount that contains a path, and its volume; undefined if the path is in the image. */
export function mountOf({ pod, container }: Workload, file: string): { mount: Json; volume: Json } | undefined {
  const under = (container.volumeMounts ?? []).filter(
    ({ mountPath }: Json) => file === mountPath || file.startsWith(`${mountPath}/`),
  );
  const [mount] = under.sort((a: Json, b: Json) => b.mountPath.length - a.mountPath.length);
  return mount && { mount, volume: pod.volumes.find(({ name }: Json) => name === mount.name) };
}

/** `uid:gid` of an app in its manifests. A part that is off by default is in the chart alone. */
export function userIn(name: string, workload: Workload | undefined): string {
  if (workload) {
    const { runAsUser, runAsGroup } = workload.pod.securityContext;
    return `${runAsUser}:${runAsGroup}`;
  }
  const text = readFileSync(path.join(ROOT, `k8s/chart/templates/${name}.yaml`), 'utf8');
  return ['runAsUser', 'runAsGroup'].map((key) => new RegExp(`${key}: (\\d+)`).exec(text)?.[1]).join(':');
}
