/**
 * `bailiff policy test`: decides operations that a user wrote down under policy files, by the decision
 * model that the kernel programs are compared with, and compares the decisions with the expected ones.
 */
import path from 'node:path';
import { cellName, explain, mergeSelected, type NamedPolicy, selects } from '@bailiff/runtime';
import * as z from 'zod';
import { type CaseResult, caseName, readCases } from '../shared/cases.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { readPolicyFiles } from '../shared/policy/files.ts';
import { parseOperation } from './explain/parse-operation.ts';

const word = z.string().min(1).max(4096);
// Without defaults: a case that names one field keeps the others of its file.
const pod = z
  .strictObject({
    namespace: word,
    labels: z.record(word, z.string().max(256)),
    container: word.describe('name of the container that the program runs in'),
  })
  .partial();
const DEFAULT_POD = { namespace: 'default', labels: {}, container: 'main' };
const policyCase = z.strictObject({
  name: caseName,
  pod: pod.optional().describe('fields that differ from those of the file'),
  operation: word.describe('as `bailiff policy explain --operation`; its other flags too'),
  path: word.optional(),
  abstract: word.optional(),
  address: word.optional(),
  port: z.number().int().min(0).max(65_535).optional(),
  protocol: word.optional(),
  value: word.optional(),
  executable: z.array(word).max(64).default([]).describe('the program, then its ancestors'),
  expect: z.enum(['pass', 'audit', 'block', 'kill']),
  by: word.optional().describe('the deciding rule, `<policy>/<rule>`; of audit: one that counts'),
});
const policyCases = z.strictObject({
  policies: z.array(word).min(1).max(64).describe('files or folders, relative to this file'),
  pod: pod.default({}),
  tests: z.array(policyCase).min(1).max(10_000),
});
type Cases = z.output<typeof policyCases>;

/** @returns what differs from the expectation; empty: nothing */
function judge(policies: readonly NamedPolicy[], cases: Cases, one: Cases['tests'][number]): string[] {
  const where = { ...DEFAULT_POD, ...cases.pod, ...one.pod };
  const { port, ...flags } = one;
  const request = parseOperation({ ...flags, ...(port === undefined ? {} : { port: String(port) }) });
  if (request === null) throw new CliError('CLI_CONFIG', `${one.name}: has no operation`);
  const selected = policies.filter((named) => selects(named, where, where.container));
  if (selected.length === 0) {
    const expected = one.by === undefined ? one.expect : `${one.expect} by ${one.by}`;
    return expected === 'pass' ? [] : [`expected ${expected}, but no policy selects the pod`];
  }
  const set = mergeSelected(selected);
  const { outcome, counted, decidedBy, text } = explain(set, request.operation, request.task);
  const audits = counted.filter(({ action }) => action === 'audit').map(({ cell }) => cellName(set, cell)?.vector);
  const found = outcome === 'pass' && audits.length > 0 ? 'audit' : outcome;
  if (found !== one.expect) return [`expected ${one.expect}: ${text}`];
  const by = found === 'audit' ? audits : [decidedBy];
  return one.by === undefined || by.includes(one.by) ? [] : [`expected ${one.by} to decide: ${text}`];
}

/** @throws CliError CLI_CONFIG, CLI_USAGE; ENOENT, EACCES */
export async function testPolicies(given: readonly string[], io: CliIo): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const { file, cases } of await readCases(given, io, policyCases)) {
    const policies = await readPolicyFiles(
      cases.policies.map((one) => path.resolve(path.dirname(file), one)),
      io,
    );
    for (const one of cases.tests) {
      try {
        results.push({ file, name: one.name, failures: judge(policies, cases, one) });
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        throw new CliError('CLI_CONFIG', `${file}: ${one.name}: ${error.message}`, {
          cause: error,
          remedy: error.remedy,
        });
      }
    }
  }
  return results;
}
