/** What the second act came to: numbers, whether they are what Bailiff promises, and both as text. Pure. */
import { table } from '../report.ts';

export const ESCAPE_WAYS = ['core_pattern', 'host-mount', 'modprobe'] as const;
export type EscapeWay = (typeof ESCAPE_WAYS)[number];

/** As the attacking program tells them. */
export interface EscapeCounts {
  attempts: number;
  refused: number;
  landed: number;
  /** For another reason than that somebody refused it. */
  failed: number;
  ordinary: { tried: number; passed: number };
}

export interface EscapeOutcome {
  kernel: string;
  attacker: string;
  control: EscapeCounts & { seenByHost: EscapeWay[] };
  guarded: EscapeCounts & {
    seenByHost: EscapeWay[];
    /** By the kernel's counters when the last process had ended; null: the kernel held the pod to nothing. */
    blocked: number | null;
    countedOnBus: number;
    countedByRule: Record<string, number>;
  };
  verdicts: { rule: string; level: string; reason: string }[];
  verdictsOnOthers: number;
  responses: { action: string; phase: string }[];
  deleted: boolean;
  innocents: number;
  missingInnocents: string[];
}

/** The second act did not happen, and why. */
export interface Skipped {
  skipped: string;
}

/** `runtime` in the last line of `npm run demo -- --json`. */
export type RuntimeSummary =
  | Skipped
  | {
      control: { attempts: number; landed: number };
      guarded: { attempts: number; blocked: number; landed: number; countedOnBus: number };
      verdicts: number;
      responses: number;
      deletedPods: number;
    };

export const isSkipped = (act: EscapeOutcome | Skipped): act is Skipped => 'skipped' in act;

/** What either side knows to have landed. */
const landedOf = ({ landed, seenByHost }: EscapeCounts & { seenByHost: EscapeWay[] }) =>
  Math.max(landed, seenByHost.length);

export function summariseEscape(act: EscapeOutcome | Skipped): RuntimeSummary {
  if (isSkipped(act)) return { skipped: act.skipped };
  const { control, guarded } = act;
  return {
    // Here the host's word is what counts: an attacker may believe what is not so.
    control: { attempts: control.attempts, landed: control.seenByHost.length },
    guarded: {
      attempts: guarded.attempts,
      blocked: guarded.blocked ?? 0,
      landed: landedOf(guarded),
      countedOnBus: guarded.countedOnBus,
    },
    verdicts: act.verdicts.length,
    responses: act.responses.length,
    deletedPods: act.deleted ? 1 : 0,
  };
}

/** What is not as promised, one sentence each; empty when all is well, and when it did not happen. */
export function escapeShortfalls(act: EscapeOutcome | Skipped): string[] {
  if (isSkipped(act)) return [];
  const { control, guarded, responses } = act;
  // A second verdict's delete is refused: the pod is being deleted already.
  const deletions = responses.filter(({ action }) => action === 'delete').map(({ phase }) => phase);
  const { tried, passed } = guarded.ordinary;
  const checks: [boolean, string][] = [
    [
      control.seenByHost.length === ESCAPE_WAYS.length && control.landed === control.attempts,
      `unguarded, the host saw ${control.seenByHost.length} of ${control.attempts} escapes instead of all`,
    ],
    [guarded.attempts > 0, 'no escape was tried in the guarded run'],
    [landedOf(guarded) === 0, `${landedOf(guarded)} escapes landed in spite of the guard`],
    [guarded.failed === 0, `${guarded.failed} escapes failed by themselves`],
    [guarded.blocked === guarded.attempts, `the kernel blocked ${guarded.blocked} of ${guarded.attempts} escapes`],
    [
      guarded.countedOnBus === guarded.attempts,
      `the bus counts ${guarded.countedOnBus} of ${guarded.attempts} escapes`,
    ],
    [tried > 0 && passed === tried, `${tried - passed} of ${tried} ordinary writes were refused`],
    [act.verdicts.length > 0, 'there was no verdict on the escapes'],
    [act.verdictsOnOthers === 0, `${act.verdictsOnOthers} verdicts on escapes are about innocents`],
    [
      deletions.includes('succeeded'),
      `the escaping pod's deletion is recorded as ${deletions.join(', ') || 'nothing'}`,
    ],
    [act.deleted, 'the escaping pod still exists'],
    [act.missingInnocents.length === 0, `innocent pods went: ${act.missingInnocents.join(', ')}`],
  ];
  return checks.filter(([ok]) => !ok).map(([, text]) => text);
}

/** For a person, in one look. */
export function escapeText(act: EscapeOutcome | Skipped): string {
  if (isSkipped(act)) return `skipped: ${act.skipped}`;
  const { control, guarded } = act;
  const rules = Object.entries(guarded.countedByRule).map(([rule, count]) => `${rule.split('/').at(-1)} ${count}`);
  const process = act.verdicts.map(({ reason }) => /by (\S+ \(pid \d+)/.exec(reason)?.[1]).find(Boolean);
  const answers = act.responses.map(({ action, phase }) => (phase === 'succeeded' ? action : `${action}: ${phase}`));
  const rows = [
    ['', 'TRIED', 'LANDED', 'BLOCKED IN KERNEL', 'COUNTED ON BUS'],
    ['without policy', String(control.attempts), String(control.seenByHost.length), '-', '-'],
    ['with escape-guard', ...[guarded.attempts, landedOf(guarded), guarded.blocked, guarded.countedOnBus].map(String)],
  ];
  return [
    table(rows),
    '',
    table([
      ['refused by rule', rules.join(', ') || 'none'],
      ['ordinary use', `${guarded.ordinary.passed} of ${guarded.ordinary.tried} writes of the same program passed`],
      ['verdict', act.verdicts.map(({ rule, level }) => `${rule} (${level})`).join(', ') || 'none'],
      ...(process ? [['by', `${process})`]] : []),
      ['answers', answers.join(', ') || 'none'],
      ['deleted', act.deleted ? act.attacker : 'nothing'],
      ['untouched', `${act.innocents - act.missingInnocents.length} of ${act.innocents} innocent pods`],
    ]),
  ].join('\n');
}
