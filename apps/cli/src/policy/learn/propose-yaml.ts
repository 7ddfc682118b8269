/** A proposal as YAML with its reasons beside it. Pure. */
import { Document, isMap, isScalar, isSeq, type Node, type YAMLMap } from 'yaml';
import { objectOf, YAML_STYLE } from '../../shared/text/yaml.ts';
import type { Proposal } from './propose.ts';
import type { ProposedRule } from './rule-parts.ts';

export interface LearnedFrom {
  pod: string;
  node: string;
  /** `10m` */
  span: string;
  /** Counted by the kernel and not shown: what they were is not known. */
  unsampled: number;
  /** Of these, after the last operation that was learned. */
  unsampledNow: number;
  violations: number;
}

const line = (text: string) => ` ${text.replaceAll(/[\p{Cc}]+/gu, ' ')}`;

/** What is said of each entry of a rule's lists, beside it. */
function annotate(rule: YAMLMap, { comments, beside }: ProposedRule): void {
  if (comments.length > 0) rule.commentBefore = comments.map(line).join('\n');
  for (const { value } of rule.items) {
    const lists = isMap(value) ? value.items.map((item) => item.value) : [value];
    for (const list of lists) {
      if (!isSeq(list)) continue;
      for (const item of list.items) {
        const said = isScalar(item) ? beside.get(String(item.value)) : undefined;
        if (said !== undefined) (item as Node).comment = line(said);
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
          `Not all is known: ${unsampled} operations were counted and not shown, ${unsampledNow} of them after the last that was learned.`,
          'What happened once may be missing: apply this, in audit mode, and look at what it still audits.',
        ]
      : [];
  const missing = left.length > 0 ? ['Not in it:', ...left.slice(0, 40).map((text) => `  ${text}`)] : [];
  return [
    `Proposed from what ${pod} on ${node} did in ${span}: ${times} operations in ${violations} violations, ${rules.length} rules.`,
    'Review each rule: what was seen is not what is right, and what was not seen is refused once mode is enforce.',
    ...cut,
    ...missing,
  ];
}

/** The file. It applies as it is, and only audits. */
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
  return document.toString(YAML_STYLE);
}
