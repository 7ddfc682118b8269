import { documentFields } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import * as z from 'zod';
import { CONFIG_KINDS } from './configuration/keys.ts';
import { schemaFor } from './configuration/values.ts';

/** A record with enumerated keys has at most as many entries as there are keys. */
const ENUMERATED = ['modes'];

it.each(
  CONFIG_KINDS.flatMap((kind) => [
    { kind, scope: 'cluster' as const },
    { kind, scope: 'namespace' as const },
  ]),
)('values - every string, list and record of $kind at scope $scope has a limit', (key) => {
  const fields = documentFields(z.toJSONSchema(schemaFor(key), { io: 'input', unrepresentable: 'any' }));
  expect(fields.length).toBeGreaterThan(0);
  expect(fields.filter(({ limit, path }) => limit === null && !ENUMERATED.includes(path))).toEqual([]);
});
