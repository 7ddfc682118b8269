/**
 * Lists: selection, version and pages. All pages of a list have one resourceVersion: the continue
 * token contains it, and the store is rolled back to it. A token older than the history gets 410
 * Expired with a token that continues without a snapshot. Pure except for reading the store.
 */
import { badRequest, expired, invalid, versionTooLarge } from '../errors.ts';
import { forbiddenField } from '../kinds/names.ts';
import type { ResourceDef } from '../kinds/resources.ts';
import { isObject, type KubeObject } from '../types.ts';
import { labelsOf, type ObjectPredicate, parseFieldSelector, parseLabelSelector } from './selectors.ts';
import type { Store } from './store.ts';

export interface ListOptions {
  labelSelector?: string;
  fieldSelector?: string;
  limit?: number;
  continue?: string;
  resourceVersion?: string;
  resourceVersionMatch?: string;
}

export interface ListPage {
  resourceVersion: string;
  continue: string | undefined;
  /** Known only without selectors, as on a real server. */
  remainingItemCount: number | undefined;
  items: KubeObject[];
}

/** A predicate for everything a list or a watch selects within a bucket. Throws 400. */
export function selection(def: ResourceDef, namespace: string, options: ListOptions): ObjectPredicate {
  const labels = parseLabelSelector(options.labelSelector ?? '');
  const fields = parseFieldSelector(options.fieldSelector ?? '', def.storage, def.namespaced);
  return (object) =>
    (namespace === '' || object.metadata.namespace === namespace) && labels(labelsOf(object)) && fields(object);
}

interface ContinueToken {
  /** Version of the snapshot, or -1 to continue with the present state. */
  version: number;
  /** Key after which the next page starts. */
  after: string;
}

export function encodeContinue(token: ContinueToken): string {
  const body = { v: 'meta.k8s.io/v1', rv: token.version, start: `${token.after}\u0000` };
  return Buffer.from(JSON.stringify(body)).toString('base64url');
}

export function decodeContinue(text: string): ContinueToken {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch (cause) {
    throw badRequest(`invalid continue token: continue key is not valid: ${String(cause)}`);
  }
  if (
    !isObject(body) ||
    body['v'] !== 'meta.k8s.io/v1' ||
    typeof body['start'] !== 'string' ||
    typeof body['rv'] !== 'number'
  ) {
    throw badRequest('invalid continue token: continue key is not valid');
  }
  return { version: body['rv'], after: body['start'].split('\u0000')[0]! };
}

const expiredMessage =
  'The provided continue parameter is too old to display a consistent list result. You can start a new list without ' +
  'the continue parameter, or use the continue token in this response to retrieve the remainder of the results. ' +
  'Continuing with the provided token results in an inconsistent list - objects that were created, modified, or ' +
  'deleted between the time the first chunk was returned and now may show up in the list.';

interface Moment {
  version: number;
  after: string;
  limit: number;
}

/** Version and start key of a list. Throws 400, 410, 422 and 504. */
function momentOf(store: Store, options: ListOptions): Moment {
  const limit = options.limit ?? 0;
  checkMatch(options);
  if (options.continue) {
    if (options.resourceVersion && options.resourceVersion !== '0') {
      throw badRequest('specifying resource version is not allowed when using continue');
    }
    const token = decodeContinue(options.continue);
    if (token.version < 0) return { version: store.version, after: token.after, limit };
    if (token.version > store.version) throw versionTooLarge(token.version, store.version);
    if (token.version < store.compactedVersion) {
      throw expired(expiredMessage, encodeContinue({ version: -1, after: token.after }));
    }
    return { version: token.version, after: token.after, limit };
  }
  const asked = parseVersion(options.resourceVersion);
  if (asked === 0 && options.resourceVersion !== undefined && options.resourceVersion !== '') {
    // "Any version": served from a cache without pages, so the limit has no effect.
    return { version: store.version, after: '', limit: 0 };
  }
  if (asked > store.version) throw versionTooLarge(asked, store.version);
  const exact =
    options.resourceVersionMatch === 'Exact' || (asked > 0 && limit > 0 && options.resourceVersionMatch === undefined);
  if (!exact || asked === 0) return { version: store.version, after: '', limit };
  if (asked < store.compactedVersion) throw expired(`The resourceVersion for the provided list is too old.`);
  return { version: asked, after: '', limit };
}

function checkMatch(options: ListOptions): void {
  const match = options.resourceVersionMatch;
  if (match === undefined || match === '') return;
  const subject = { group: 'meta.k8s.io', plural: 'listoptions', kind: 'ListOptions' };
  const refuse = (why: string) => invalid(subject, '', [forbiddenField('resourceVersionMatch', why)]);
  if (options.continue) throw refuse('resourceVersionMatch is forbidden when continue is provided');
  if (!options.resourceVersion) throw refuse('resourceVersionMatch is forbidden unless resourceVersion is provided');
  if (match !== 'Exact' && match !== 'NotOlderThan') throw refuse('supported values are Exact, NotOlderThan');
  if (match === 'Exact' && options.resourceVersion === '0')
    throw refuse('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"');
}

/** A resourceVersion from a query as a number; absent is 0. Throws 400. */
export function parseVersion(text: string | undefined): number {
  if (text === undefined || text === '') return 0;
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(`Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`);
  return Number(text);
}

export function listPage(store: Store, def: ResourceDef, namespace: string, options: ListOptions): ListPage {
  const selects = selection(def, namespace, options);
  const moment = momentOf(store, options);
  const entries = store.snapshot(def.storage, moment.version);
  if (entries === undefined) throw expired(expiredMessage);
  const selected = entries.filter(([key, object]) => (moment.after === '' || key > moment.after) && selects(object));
  const page = moment.limit > 0 ? selected.slice(0, moment.limit) : selected;
  const remaining = selected.length - page.length;
  const unfiltered = !options.labelSelector && !options.fieldSelector;
  return {
    resourceVersion: String(moment.version),
    continue: remaining > 0 ? encodeContinue({ version: moment.version, after: page.at(-1)![0] }) : undefined,
    remainingItemCount: remaining > 0 && unfiltered ? remaining : undefined,
    items: page.map(([, object]) => object),
  };
}
