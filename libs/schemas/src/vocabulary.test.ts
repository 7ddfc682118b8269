/** The enums of the Avro schemas and of the documents equal the vocabulary. */
import { readdirSync, readFileSync } from 'node:fs';
import {
  CAPTURED_ARGUMENTS,
  GROUP_BY,
  IFACE_STATES,
  LEVELS,
  OPERATION_OUTCOMES,
  PACKET_ACTIONS,
  RESPONSE_ACTIONS,
  RULE_TYPES,
  VIOLATION_KINDS,
} from '@bailiff/vocabulary';
import { describe, expect, it } from 'vitest';
import { captureRequest } from './documents/capture.ts';
import { interfaceStatus } from './documents/node-status.ts';

const AVRO = new URL('../avro/', import.meta.url);

/** Symbols of every enum in the schema files, by the enum's name. */
function avroEnums(): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { type, name, symbols } = node as { type?: unknown; name?: string; symbols?: string[] };
    if (type === 'enum') found.set(name as string, symbols as string[]);
    for (const child of Object.values(node)) visit(child);
  };
  for (const file of readdirSync(AVRO)) visit(JSON.parse(readFileSync(new URL(file, AVRO), 'utf8')));
  return found;
}

describe('vocabulary', () => {
  const enums = avroEnums();
  it.each([
    ['ViolationKind', VIOLATION_KINDS],
    ['ViolationAction', PACKET_ACTIONS],
    ['InterfaceState', IFACE_STATES],
    ['OperationOutcome', OPERATION_OUTCOMES],
    ['RuleType', RULE_TYPES],
    ['Level', LEVELS],
    ['GroupBy', GROUP_BY],
    ['ResponseAction', RESPONSE_ACTIONS],
  ])('Avro enum %s - has the words of the vocabulary in their order', (name, words) => {
    expect(enums.get(name)).toEqual(words);
  });

  it('documents - have the words of the vocabulary', () => {
    expect(interfaceStatus.shape.state.options).toEqual(IFACE_STATES);
    expect(captureRequest.shape.arguments.options).toEqual(CAPTURED_ARGUMENTS);
  });
});
