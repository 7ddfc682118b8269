/** Representation of a response by the Accept header: objects, tables, or metadata only. Pure. */
import { notAcceptable } from '../errors.ts';
import { fromStored } from '../kinds/conversion.ts';
import { apiVersionOf, type ResourceDef } from '../kinds/resources.ts';
import type { ListPage } from '../store/listing.ts';
import { type IncludeObject, partialMetadata, type TableContext, toTable } from '../table/table.ts';
import type { JsonObject, KubeObject } from '../types.ts';

export type Face = 'object' | 'table' | 'metadata';

/** The client's preferred representation. Throws 406 if it accepts no JSON. */
export function faceOf(accept: string | undefined): Face {
  const wishes = (accept ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (wishes.length === 0) return 'object';
  for (const wish of wishes) {
    const [type = '', ...pairs] = wish.split(';').map((part) => part.trim());
    const parameters = Object.fromEntries(pairs.map((pair) => pair.split('=')));
    if (!['application/json', 'application/*', '*/*'].includes(type)) continue;
    const as = parameters['as'];
    if (as === undefined) return 'object';
    if (parameters['g'] !== 'meta.k8s.io' || parameters['v'] !== 'v1') continue;
    if (as === 'Table') return 'table';
    if (as.startsWith('PartialObjectMetadata')) return 'metadata';
  }
  throw notAcceptable(['application/json']);
}

export interface FaceOptions {
  face: Face;
  include: IncludeObject;
  context: TableContext;
}

function listMetadata(page: ListPage): JsonObject {
  return {
    resourceVersion: page.resourceVersion,
    ...(page.continue === undefined ? {} : { continue: page.continue }),
    ...(page.remainingItemCount === undefined ? {} : { remainingItemCount: page.remainingItemCount }),
  };
}

/**
 * A list of stored objects in the requested representation. Items of built-in lists have no kind,
 * as on a real server.
 */
export function showList(def: ResourceDef, page: ListPage, options: FaceOptions): JsonObject {
  const metadata = listMetadata(page);
  if (options.face === 'table') return toTable(def, page.items, metadata, options.context, options.include);
  if (options.face === 'metadata') {
    return {
      kind: 'PartialObjectMetadataList',
      apiVersion: 'meta.k8s.io/v1',
      metadata,
      items: page.items.map(partialMetadata),
    };
  }
  const items = page.items.map((item) => {
    const shown = fromStored(def, item);
    if (def.custom) return shown;
    const { kind: _, apiVersion: __, ...rest } = shown;
    return rest;
  });
  return { kind: def.listKind, apiVersion: apiVersionOf(def), metadata, items };
}

/**
 * One stored object in the requested representation. `headers` is false for watch events after the
 * first.
 */
export function showOne(def: ResourceDef, object: KubeObject, options: FaceOptions, headers = true): JsonObject {
  if (options.face === 'table') {
    const metadata = { resourceVersion: object.metadata.resourceVersion };
    return toTable(def, [object], metadata, options.context, options.include, headers);
  }
  return options.face === 'metadata' ? partialMetadata(object) : fromStored(def, object);
}

/** A bookmark (an object with only a version) in the requested representation. */
export function showBookmark(def: ResourceDef, bookmark: KubeObject, options: FaceOptions): JsonObject {
  if (options.face === 'table') return toTable(def, [], bookmark.metadata, options.context, options.include, false);
  return options.face === 'metadata' ? partialMetadata(bookmark) : bookmark;
}
