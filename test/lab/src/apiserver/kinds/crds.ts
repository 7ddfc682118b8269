/**
 * CustomResourceDefinitions: stored object → served resources. Pure. A definition is established at
 * once; a real server takes some milliseconds. schema.ts validates custom objects, through
 * `admitCustom`. Versions convert by a new apiVersion, as with strategy None.
 */
import { badRequest, invalid, type StatusCause } from '../errors.ts';
import { at, isObject, type JsonObject, type KubeObject, listAt, textAt } from '../types.ts';
import { celCauses } from './cel.ts';
import { badValue, required } from './names.ts';
import { allVerbs, defineResource, type ResourceDef, type Subresource } from './resources.ts';
import { pruneAndDefault, schemaCauses, unknownFields } from './schema.ts';

export const crdStorage = 'customresourcedefinitions.apiextensions.k8s.io';

/** Completes the names and sets the status of an established definition, in place. */
export function defaultCrd(crd: KubeObject, nowText: string): void {
  const spec = isObject(crd.spec) ? crd.spec : {};
  const names: JsonObject = isObject(spec['names']) ? spec['names'] : {};
  const kind = textAt(names, 'kind');
  const accepted = { singular: kind.toLowerCase(), listKind: `${kind}List`, ...names };
  crd.spec = { conversion: { strategy: 'None' }, ...spec, names: accepted };
  const condition = (type: string, reason: string, message: string) => ({
    type,
    status: 'True',
    reason,
    message,
    lastTransitionTime: nowText,
  });
  crd.status = {
    acceptedNames: accepted,
    storedVersions: storageVersions(crd),
    conditions: [
      condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
      condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted'),
    ],
  };
}

/** Keeps the record of versions that were ever stored. */
export function keepCrdStatus(next: KubeObject, current: KubeObject): void {
  const stored = new Set([...listAt<string>(current, 'status', 'storedVersions'), ...storageVersions(next)]);
  next.status = { ...current.status, storedVersions: [...stored] };
}

function storageVersions(crd: KubeObject): string[] {
  return listAt(crd, 'spec', 'versions')
    .filter((version) => version['storage'] === true)
    .map((version) => textAt(version, 'name'));
}

/** Errors of a definition. */
export function crdCauses(crd: KubeObject): StatusCause[] {
  const causes: StatusCause[] = [];
  const group = textAt(crd, 'spec', 'group');
  const plural = textAt(crd, 'spec', 'names', 'plural');
  for (const [field, value] of [
    ['spec.group', group],
    ['spec.names.plural', plural],
    ['spec.names.kind', textAt(crd, 'spec', 'names', 'kind')],
  ]) {
    if (value === '') causes.push(required(field!));
  }
  if (crd.metadata.name !== `${plural}.${group}`) {
    causes.push(badValue('metadata.name', crd.metadata.name, 'must be spec.names.plural+"."+spec.group'));
  }
  const scope = textAt(crd, 'spec', 'scope');
  if (scope !== 'Namespaced' && scope !== 'Cluster') {
    causes.push({ reason: 'FieldValueNotSupported', message: `Unsupported value: "${scope}"`, field: 'spec.scope' });
  }
  if (storageVersions(crd).length !== 1) {
    causes.push(
      badValue('spec.versions', storageVersions(crd), 'must have exactly one version marked as storage version'),
    );
  }
  for (const [index, version] of listAt(crd, 'spec', 'versions').entries()) {
    if (!isObject(at(version, 'schema', 'openAPIV3Schema'))) {
      causes.push(required(`spec.versions[${index}].schema.openAPIV3Schema`));
    }
  }
  return causes;
}

/** The resources that a definition serves, one for each served version. */
export function resourcesOf(crd: KubeObject): ResourceDef[] {
  const group = textAt(crd, 'spec', 'group');
  const plural = textAt(crd, 'spec', 'names', 'plural');
  return listAt(crd, 'spec', 'versions')
    .filter((version) => version['served'] === true)
    .map((version) => {
      const hasStatus = at(version, 'subresources', 'status') !== undefined;
      const schema = at(version, 'schema', 'openAPIV3Schema');
      const status: Subresource = { name: 'status', verbs: ['get', 'patch', 'update'] };
      return defineResource({
        group,
        version: textAt(version, 'name'),
        plural,
        kind: textAt(crd, 'spec', 'names', 'kind'),
        singular: textAt(crd, 'spec', 'names', 'singular'),
        listKind: textAt(crd, 'spec', 'names', 'listKind'),
        shortNames: listAt<string>(crd, 'spec', 'names', 'shortNames'),
        categories: listAt<string>(crd, 'spec', 'names', 'categories'),
        namespaced: textAt(crd, 'spec', 'scope') === 'Namespaced',
        verbs: allVerbs,
        subresources: hasStatus ? [status] : [],
        storage: `${plural}.${group}`,
        generation: true,
        unconditionalUpdate: false,
        custom: true,
        ...(isObject(schema) ? { schema } : {}),
      });
    });
}

/** The entry of spec.versions with this name. */
export function versionOf(crd: KubeObject | undefined, version: string): JsonObject | undefined {
  return listAt(crd, 'spec', 'versions').find((entry) => entry['name'] === version);
}

/**
 * Validates and completes a custom object by its schema. Throws 422, and 400 if the client rejects
 * unknown fields (`fieldValidation=Strict`, the default of kubectl).
 */
export function admitCustom(
  def: ResourceDef,
  crd: KubeObject | undefined,
  object: KubeObject,
  strict = false,
): KubeObject {
  const schema = at(versionOf(crd, def.version), 'schema', 'openAPIV3Schema');
  if (!isObject(schema)) return object;
  const unknown = strict ? unknownFields(schema, object) : [];
  if (unknown.length > 0) {
    const fields = unknown.map((field) => `unknown field "${field}"`).join(', ');
    const what = `${def.kind} in version "${def.version}" cannot be handled as a ${def.kind}`;
    throw badRequest(`${what}: strict decoding error: ${fields}`);
  }
  const admitted = pruneAndDefault(schema, object) as KubeObject;
  const { metadata: _, ...validated } = admitted;
  const whole = { ...schema, required: listAt<string>(schema, 'required').filter((key) => key !== 'metadata') };
  const causes = schemaCauses(whole, validated);
  if (causes.length === 0) causes.push(...celCauses(whole, validated));
  if (causes.length > 0) throw invalid(def, object.metadata.name, causes);
  return admitted;
}
