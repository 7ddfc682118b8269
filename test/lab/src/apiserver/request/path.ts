/**
 * Parses method and URL: verb, resource, namespace, name, subresource. Pure. Paths are those of
 * Kubernetes: /api/v1/… and /apis/<group>/<version>/…, with /namespaces/<ns>/ before namespaced
 * resources. All other paths (discovery, health) are 'plain'.
 */
import { badRequest } from '../errors.ts';
import type { Verb } from '../kinds/resources.ts';
import type { ListOptions } from '../store/listing.ts';

export interface ResourceRequest {
  kind: 'resource';
  verb: Verb;
  group: string;
  version: string;
  resource: string;
  subresource: string;
  /** '' for all namespaces and for cluster-scoped resources. */
  namespace: string;
  /** '' for a collection. */
  name: string;
  query: URLSearchParams;
}

export interface PlainRequest {
  kind: 'plain';
  path: string;
  query: URLSearchParams;
}

export type RequestInfo = ResourceRequest | PlainRequest;

/** Sub-paths of a namespace that belong to the namespace itself. */
const namespaceSubresources = new Set(['status']);

/** The parsed request; undefined for a method without a resource verb. */
export function parseRequest(method: string, url: string): RequestInfo | undefined {
  const parsed = new URL(url, 'https://stand-in');
  const query = parsed.searchParams;
  const segments = parsed.pathname.split('/').filter((segment) => segment !== '');
  const prefixLength = segments[0] === 'api' ? 2 : segments[0] === 'apis' ? 3 : 0;
  if (prefixLength === 0 || segments.length <= prefixLength) return { kind: 'plain', path: parsed.pathname, query };
  const decoded = segments.map(decodeSegment);
  const group = prefixLength === 2 ? '' : decoded[1]!;
  const version = decoded[prefixLength - 1]!;
  const place = placeOf(decoded.slice(prefixLength));
  const verb = verbOf(method, place.name, query);
  return verb === undefined ? undefined : { kind: 'resource', verb, group, version, ...place, query };
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw badRequest(`invalid URL escape: ${String(cause)}`);
  }
}

function placeOf(parts: string[]): Pick<ResourceRequest, 'resource' | 'namespace' | 'name' | 'subresource'> {
  const inside = parts[0] === 'namespaces' && parts.length > 2 && !namespaceSubresources.has(parts[2]!);
  const [resource = '', name = '', ...rest] = inside ? parts.slice(2) : parts;
  return { resource, name, subresource: rest.join('/'), namespace: inside ? parts[1]! : '' };
}

function verbOf(method: string, name: string, query: URLSearchParams): Verb | undefined {
  const watching = ['1', 'true'].includes(query.get('watch') ?? '');
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (name !== '') return 'get';
      return watching ? 'watch' : 'list';
    case 'POST':
      return 'create';
    case 'PUT':
      return name === '' ? undefined : 'update';
    case 'PATCH':
      return name === '' ? undefined : 'patch';
    case 'DELETE':
      return name === '' ? 'deletecollection' : 'delete';
    default:
      return undefined;
  }
}

/** Options of a list or watch. Throws 400 for an invalid limit. */
export function listOptionsOf(query: URLSearchParams): ListOptions {
  const limit = query.get('limit');
  if (limit !== null && !/^-?\d{1,9}$/.test(limit))
    throw badRequest(`strconv.ParseInt: parsing "${limit}": invalid syntax`);
  const text = (name: string) => query.get(name) ?? undefined;
  return {
    labelSelector: text('labelSelector'),
    fieldSelector: text('fieldSelector'),
    continue: text('continue'),
    resourceVersion: text('resourceVersion'),
    resourceVersionMatch: text('resourceVersionMatch'),
    limit: limit === null ? undefined : Math.max(0, Number(limit)),
  };
}
