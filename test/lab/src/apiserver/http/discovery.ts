/** Discovery documents: groups, versions and resources, plain and aggregated. Pure. */
import type { Registry } from '../kinds/registry.ts';
import { apiVersionOf, type ResourceDef, type Subresource } from '../kinds/resources.ts';
import type { JsonObject } from '../types.ts';

/** Media type of aggregated discovery, requested by clients since 1.26. */
export const aggregatedType = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

/** Reported version. */
export const versionInfo: JsonObject = {
  major: '1',
  minor: '32',
  gitVersion: 'v1.32.0+bailiff-lab',
  gitCommit: '0000000000000000000000000000000000000000',
  gitTreeState: 'clean',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: 'none',
  compiler: 'none',
  platform: 'linux/amd64',
};

const optional = (key: string, list: string[]): JsonObject => (list.length > 0 ? { [key]: list } : {});

function groupVersions(registry: Registry, group: string): JsonObject {
  const versions = registry.versionsOf(group).map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions, preferredVersion: versions[0] };
}

function apiResource(def: ResourceDef): JsonObject[] {
  const own: JsonObject = {
    name: def.plural,
    singularName: def.singular,
    namespaced: def.namespaced,
    kind: def.kind,
    verbs: def.verbs,
    ...optional('shortNames', def.shortNames),
    ...optional('categories', def.categories),
    storageVersionHash: '',
  };
  const subs = def.subresources.map((sub) => ({
    name: `${def.plural}/${sub.name}`,
    singularName: '',
    namespaced: def.namespaced,
    ...(sub.group === undefined ? {} : { group: sub.group, version: sub.version }),
    kind: sub.kind ?? def.kind,
    verbs: sub.verbs,
  }));
  return [own, ...subs];
}

/** The document at a discovery path; undefined for other paths. */
export function discoveryDocument(registry: Registry, path: string): JsonObject | undefined {
  const [root, group, version, ...rest] = path.split('/').filter((part) => part !== '');
  if (rest.length > 0) return undefined;
  if (root === 'api' && group === undefined) {
    return {
      kind: 'APIVersions',
      versions: ['v1'],
      serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: '127.0.0.1' }],
    };
  }
  if (root === 'api') return version === undefined ? resourceList(registry, '', group!) : undefined;
  if (root !== 'apis') return undefined;
  if (group === undefined) {
    return {
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: registry.groups().map((name) => groupVersions(registry, name)),
    };
  }
  if (!registry.groups().includes(group)) return undefined;
  if (version === undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...groupVersions(registry, group) };
  return resourceList(registry, group, version);
}

function resourceList(registry: Registry, group: string, version: string): JsonObject | undefined {
  const defs = registry.all().filter((def) => def.group === group && def.version === version);
  if (defs.length === 0) return undefined;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: apiVersionOf({ group, version }),
    resources: defs.flatMap(apiResource),
  };
}

/** The aggregated document at /api (the core group) or /apis (all others). */
export function aggregatedDocument(registry: Registry, path: '/api' | '/apis'): JsonObject {
  const groups = path === '/api' ? [''] : registry.groups();
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map((group) => ({
      metadata: { name: group === '' ? undefined : group, creationTimestamp: null },
      versions: registry.versionsOf(group).map((version) => ({
        version,
        freshness: 'Current',
        resources: registry
          .all()
          .filter((def) => def.group === group && def.version === version)
          .map(aggregatedResource),
      })),
    })),
  };
}

function aggregatedResource(def: ResourceDef): JsonObject {
  return {
    resource: def.plural,
    responseKind: responseKind(def, def),
    scope: def.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: def.singular,
    verbs: def.verbs,
    ...optional('shortNames', def.shortNames),
    ...optional('categories', def.categories),
    ...(def.subresources.length > 0
      ? { subresources: def.subresources.map((sub) => aggregatedSubresource(def, sub)) }
      : {}),
  };
}

function aggregatedSubresource(def: ResourceDef, sub: Subresource): JsonObject {
  return { subresource: sub.name, responseKind: responseKind(def, sub), verbs: sub.verbs };
}

/** Built-in kinds leave group and version empty, which means "as above". */
function responseKind(def: ResourceDef, shown: { group?: string; version?: string; kind?: string }): JsonObject {
  const kind = shown.kind ?? def.kind;
  if (def.custom) return { group: def.group, version: def.version, kind };
  const foreign = shown !== def && shown.group !== undefined;
  return foreign ? { group: shown.group, version: shown.version, kind } : { group: '', version: '', kind };
}
