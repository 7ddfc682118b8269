// The shipped definitions compared with the mirror's schemas: what the API server accepts and
// rejects.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import {
  ConfigError,
  keyOfResource,
  parseConfigValue,
  RESOURCE_KINDS,
  RESOURCE_PLURALS,
  type ResourceKind,
  valueOfResource,
} from '@bailiff/policy';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ApiError } from '../errors.ts';
import { type JsonObject, type KubeObject, textAt } from '../types.ts';
import { admitCustom, resourcesOf } from './crds.ts';
import { RESOURCE_CASES } from './resource-cases.ts';

const root = path.resolve(import.meta.dirname, '../../../../..');

/** Reads manifests like kubectl. */
function objectsIn(directory: string): [string, KubeObject][] {
  const files = readdirSync(path.join(root, directory)).filter((file) => file !== 'kustomization.yaml');
  return files.flatMap((file) =>
    parseAllDocuments(readFileSync(path.join(root, directory, file), 'utf8'), { version: '1.1' }).map(
      (document): [string, KubeObject] => {
        const object = document.toJS() as KubeObject;
        return [`${directory}/${file} ${object.metadata.name}`, object];
      },
    ),
  );
}

const definitions = new Map(objectsIn('k8s/crds').map(([, crd]) => [textAt(crd, 'spec', 'names', 'kind'), crd]));

/** The object as stored, or the fields that the server rejects. */
function served(kind: ResourceKind, spec: JsonObject): { spec: JsonObject } | { refused: string } {
  const crd = definitions.get(kind)!;
  const object = { apiVersion: 'bailiff.dev/v1alpha1', kind, metadata: { name: 'x' }, spec } as unknown as KubeObject;
  try {
    return { spec: admitCustom(resourcesOf(crd)[0]!, crd, object, true).spec as JsonObject };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { refused: error.message };
  }
}

/** The mirror's result; the message if it rejects the spec. */
function mirrored(kind: ResourceKind, spec: JsonObject): { value: unknown } | { refused: string } {
  try {
    const value = parseConfigValue(keyOfResource(kind, 'x', spec), JSON.stringify(valueOfResource(kind, spec)));
    return { value };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { refused: error.message };
  }
}

describe('shipped definitions', () => {
  test('one definition per kind', () => {
    expect([...definitions.keys()].sort()).toEqual([...RESOURCE_KINDS].sort());
    for (const kind of RESOURCE_KINDS)
      expect(definitions.get(kind)?.metadata.name).toBe(`${RESOURCE_PLURALS[kind]}.bailiff.dev`);
  });

  test.each([...objectsIn('k8s/examples'), ...objectsIn('policies')])(
    '%s - accepted by server and mirror',
    (_, object) => {
      const kind = object.kind as ResourceKind;
      const stored = served(kind, object.spec as JsonObject);
      expect(stored).not.toHaveProperty('refused');
      // The server sets the defaults that every reader assumes.
      expect(mirrored(kind, (stored as { spec: JsonObject }).spec)).toEqual(mirrored(kind, object.spec as JsonObject));
      expect(mirrored(kind, object.spec as JsonObject)).not.toHaveProperty('refused');
    },
  );
});

test.each(RESOURCE_CASES)('same result - %s %j: %s', (kind, given, right) => {
  const spec = JSON.parse(JSON.stringify(given)) as JsonObject;
  const answers = { server: !('refused' in served(kind, spec)), mirror: !('refused' in mirrored(kind, spec)) };
  expect(answers).toEqual(right === 'mirror' ? { server: true, mirror: false } : { server: right, mirror: right });
});
