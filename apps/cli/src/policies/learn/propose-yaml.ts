/**
 * A proposal as YAML with comments. Pure. Paths and names are chosen by the observed pod. To YAML 1.1,
 * which kubectl reads, U+0085, U+2028 and U+2029 are line breaks: documentText escapes them, so that a
 * name cannot end its comment or its value and add rules.
 */
import { Document, isMap, isScalar, isSeq, type Node, type YAMLMap } from 'yaml';
import { documentText, objectOf } from '../../shared/text/yaml.ts';
import type { Proposal } from './propose.ts';
import type { ProposedRule } from './rule-parts.ts';

export interface LearnedFrom {
  pod: string;
  node: string;
  /** `10m` */
  span: string;
  /** Operations counted without a sample. */
  unsampled: number;
  /** Unsampled operations after the last learned one. */
  unsampledNow: number;
  violations: number;
}

const line = (text: string) => ` ${text.replaceAll(/[\p{Cc}]+/gu, ' ')}`;

/** Adds the comments to a rule and its list entries. */
function annotate(rule: YAMLMap, { comments, beside }: ProposedRule): void {
  if (comments.length > 0) rule.commentBefore = comments.map(line).join('\n');
  for (const { value } of rule.items) {
    const lists = isMap(value) ? value.items.map((item) => item.value) : [value];
    for (const list of lists) {
      if (!isSeq(list)) continue;
      for (const item of list.items) {
        const comment = isScalar(item) ? beside.get(String(item.value)) : undefined;
        if (comment !== undefined) (item as Node).comment = line(comment);
      }
    }
  }
}

function headOf(
  { left, times, rules }: Proposal,
  { pod, node, span, unsampled, unsampledNow, violations }: LearnedFrom,
): string[] {
  const cut =
    unsampled > 0
      ? [
          `Incomplete: ${unsampled} operations were counted without a sample, ${unsampledNow} of them after the last learned one.`,
          'Rare operations may be missing: apply this in audit mode and check what it still audits.',
        ]
      : [];
  const missing = left.length > 0 ? ['Omitted:', ...left.slice(0, 40).map((text) => `  ${text}`)] : [];
  return [
    `Proposed from ${span} of ${pod} on ${node}: ${times} operations in ${violations} violations, ${rules.length} rules.`,
    'Review each rule: an observed operation is not necessarily wanted, and operations that were not observed are denied in mode enforce.',
    ...cut,
    ...missing,
  ];
}

/** The policy file. It can be applied as it is and only audits. */
export function proposalYaml(proposal: Proposal, from: LearnedFrom): string {
  const document = new Document(objectOf(proposal, proposal.spec));
  document.commentBefore = headOf(proposal, from).map(line).join('\n');
  const rules = document.getIn(['spec', 'rules'], true);
  if (isSeq(rules)) {
    rules.items.forEach((rule, index) => {
      const proposed = proposal.rules[index];
      if (isMap(rule) && proposed) annotate(rule as YAMLMap, proposed);
    });
  }
  return documentText(document);
}
