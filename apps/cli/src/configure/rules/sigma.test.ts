import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { BUILT_IN_RULES, correlationRule } from '@bailiff/policy';
import { temporaryDirectory } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { runCli } from '../../testing.ts';

const dir = temporaryDirectory();

const RULE = `
title: Programs that the image does not hold
name: new_program
logsource: { product: bailiff, service: violations }
detection:
  selection:
    operation.operation: drift
    action: [drop, audit]
    kind: lsm
  condition: selection
---
title: New programs on a node
author: an operator
level: high
tags: [attack.t1105]
correlation:
  type: value_count
  rules: [new_program]
  group-by: [nodeName]
  timespan: 1h
  condition: { field: operation.executable, gte: 3 }
`;
const rules = (args: string[], stdin = '') => runCli(['rules', ...args], { stdin, home: dir });

describe('rules import', () => {
  it('prints a rule that a backtest reads, and what was not kept', async () => {
    const { exitCode, stdout, stderr } = await rules(['import', '-', '--json'], RULE);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/stdin: document 2: author is not kept\n1 rule; /);
    const { 'new-programs-on-a-node': rule } = JSON.parse(stdout);
    expect(correlationRule.parse(rule)).toMatchObject({
      type: 'value_count',
      field: 'executable',
      'group-by': 'node',
      level: 'high',
      tags: ['attack.t1105'],
      condition: { gte: 3 },
      selection: { kinds: ['lsm'], operations: ['drift'], actions: ['drop', 'audit'] },
    });
    const yaml = (await rules(['import', '-'], RULE)).stdout;
    const file = path.join(dir, 'rules.yaml');
    writeFileSync(file, yaml);
    const again = await rules(['export', file]);
    expect([again.exitCode, parseAllDocuments(again.stdout)]).toMatchObject([0, { length: 2 }]);
  });

  it.each([
    ['a part without an equivalent', RULE.replace('gte: 3', 'lte: 3'), 'document 2: correlation.condition.lte'],
    ['a text that is not YAML', RULE.replace('[drop, audit]', '[drop'), 'not YAML'],
    ['nothing', '', 'has 0 documents'],
    [
      'aliases that grow',
      `a: &a [x, x]\nb: &b [${'*a,'.repeat(90)}]\nc: &c [${'*b,'.repeat(90)}]\nd: [${'*c,'.repeat(90)}]`,
      'alias',
    ],
  ])('%s - exits with 6, names it and prints nothing', async (_name, text, named) => {
    const { exitCode, stdout, stderr } = await rules(['import', '-'], text);
    expect([exitCode, stdout]).toEqual([6, '']);
    expect(stderr).toContain(named);
  });

  it('the built-in rules - exported and imported, equal', async () => {
    const { exitCode, stdout, stderr } = await rules(['export', '--built-in', '--format', 'sigma']);
    expect([exitCode, stderr]).toEqual([
      0,
      expect.stringContaining('event_count: Bailiff counts packets and operations'),
    ]);
    const imported = JSON.parse((await rules(['import', '-', '--json'], stdout)).stdout);
    const parsed = Object.entries(imported).map(([name, rule]) => [name, correlationRule.parse(rule)]);
    expect(Object.fromEntries(parsed)).toEqual(BUILT_IN_RULES);
  });
});
