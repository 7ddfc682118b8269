/**
 * docs/reference/limits.md: the limits of strings and lists in messages, and a node's memory quota
 * in the correlator.
 */
import { NODE_QUOTAS } from '@bailiff/correlation';
import {
  captureAnswer,
  captureRequest,
  clusterSnapshot,
  instanceStatus,
  LIST_LIMITS,
  MAX_LIST,
  MAX_TEXT,
  nodeSnapshot,
  nodeStatus,
  quarantineList,
  TEXT_LIMITS,
} from '@bailiff/schemas';
import { documentFields } from '@bailiff/schemas/testing';
import * as z from 'zod';
import { code, page, section, table } from './markdown.ts';

const DOCUMENTS: Record<string, z.ZodType> = {
  'bailiff_pods: a node': nodeSnapshot,
  'bailiff_pods: the cluster': clusterSnapshot,
  bailiff_quarantine: quarantineList,
  bailiff_nodes: nodeStatus,
  bailiff_services: instanceStatus,
  'capture: request': captureRequest,
  'capture: answer': captureAnswer,
};
const number = (count: number) => count.toLocaleString('en-US');
const UNITS = { text: 'characters', list: 'items', record: 'entries' };

function fieldRows(): string[][] {
  const texts = Object.values(MAX_TEXT).flatMap((of) => Object.values(of));
  const lists = Object.values(MAX_LIST).flatMap((of) => Object.values(of));
  return [
    ...texts.map(({ field, bytes, class: name }) => [code(field), `${number(bytes)} bytes`, name]),
    ...lists.map(({ field, items, class: name }) => [code(field), `${number(items)} items`, name]),
  ].sort(([a = ''], [b = '']) => (a < b ? -1 : a > b ? 1 : 0));
}

function documentRows(): string[][] {
  return Object.entries(DOCUMENTS).flatMap(([name, schema]) => {
    const seen = new Set<string>();
    return documentFields(z.toJSONSchema(schema, { io: 'input' }))
      .map(({ path, kind, limit }) => [name, code(path), `${number(limit ?? 0)} ${UNITS[kind]}`])
      .filter(([, path = '', limit = '']) => {
        const isNew = !seen.has(path + limit);
        seen.add(path + limit);
        return isNew;
      });
  });
}

export function limitsPage(): string {
  const texts = Object.entries(TEXT_LIMITS).map(([name, { bytes, why }]) => [name, `${number(bytes)} bytes`, why]);
  const lists = Object.entries(LIST_LIMITS).map(([name, { items, why }]) => [name, `${number(items)} items`, why]);
  const quotas = NODE_QUOTAS.map(({ resource, limit, unit, whenExceeded }) => [
    resource,
    `${number(limit)} ${unit}`,
    whenExceeded,
  ]);
  return page(
    'Limits',
    `Every string and list of every message has a limit. A reader refuses a message with a longer one (\`FIELD_TOO_LONG\`, dead letters have the reason \`field-too-long\`); a writer never sends one: text of a tenant, a
node or a user is cut first, with \`…\` at the cut. In Avro messages a limit counts bytes of UTF-8, in JSON documents characters.`,
    [
      section('Strings', table(['class', 'limit', 'why'], texts)),
      section('Lists', table(['class', 'limit', 'why'], lists)),
      section(
        'Share of a node in the correlator',
        'Each node has its own share of memory and time, so a node that sends too much does not affect the others.',
        table(['resource', 'limit per node', 'beyond the limit'], quotas),
      ),
      section('Avro messages', table(['field', 'limit', 'class'], fieldRows())),
      section('JSON documents', table(['document', 'field', 'limit'], documentRows())),
    ],
  );
}
