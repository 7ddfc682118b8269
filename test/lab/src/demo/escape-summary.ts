/** Result of the second part: numbers, comparison with the expected values, and text. Pure. */
import { table } from '../text.ts';

export const ESCAPE_WAYS = ['core_pattern', 'host-mount', 'modprobe'] as const;
export type EscapeWay = (typeof ESCAPE_WAYS)[number];

/** Counts reported by the attacking program. */
export interface EscapeCounts {
  attempts: number;
  refused: number;
  landed: number;
  /** Failed for another reason than a refusal. */
  failed: number;
  ordinary: { tried: number; passed: number };
}

export interface EscapeOutcome {
  kernel: string;
  attacker: string;
  control: EscapeCounts & { seenByHost: EscapeWay[] };
  guarded: EscapeCounts & {
    seenByHost: EscapeWay[];
    /** Kernel counters after the last process ended; null if no policy applied. */
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

/** The second part was skipped, with the reason. */
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

/** Ways that either side reports as landed. */
const landedOf = ({ landed, seenByHost }: EscapeCounts & { seenByHost: EscapeWay[] }) =>
  Math.max(landed, seenByHost.length);

export function summariseEscape(act: EscapeOutcome | Skipped): RuntimeSummary {
  if (isSkipped(act)) return { skipped: act.skipped };
  const { control, guarded } = act;
  return {
    // In the control run the host's traces count; an attacker may be wrong about its success.
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

/**
 * Whether a deletion succeeded, and the text if none did. The delete of a second verdict is refused,
 * because the pod is being deleted already.
 */
export function deletionCheck(
  responses: readonly { action: string; phase: string }[],
  what: string,
): [boolean, string] {
  const phases = responses.filter(({ action }) => action === 'delete').map(({ phase }) => phase);
  return [phases.includes('succeeded'), `${what} is recorded as ${phases.join(', ') || 'nothing'}`];
}

/**
 * Deviations from the expected values, one sentence each; empty if there are none or the part was
 * skipped.
 */
export function escapeShortfalls(act: EscapeOutcome | Skipped): string[] {
  if (isSkipped(act)) return [];
  const { control, guarded, responses } = act;
  const { tried, passed } = guarded.ordinary;
  const checks: [boolean, string][] = [
    [
      control.seenByHost.length === ESCAPE_WAYS.length && control.landed === control.attempts,
      `unguarded, the host saw ${control.seenByHost.length} of ${control.attempts} escapes instead of all`,
    ],
    [guarded.attempts > 0, 'no escape was tried in the guarded run'],
    [landedOf(guarded) === 0, `${landedOf(guarded)} escapes landed in spite of the guard`],
    [guarded.failed === 0, `${guarded.failed} escapes failed for another reason`],
    [guarded.blocked === guarded.attempts, `the kernel blocked ${guarded.blocked} of ${guarded.attempts} escapes`],
    [
      guarded.countedOnBus === guarded.attempts,
      `the bus counts ${guarded.countedOnBus} of ${guarded.attempts} escapes`,
    ],
    [tried > 0 && passed === tried, `${tried - passed} of ${tried} ordinary writes were refused`],
    [act.verdicts.length > 0, 'there was no verdict on the escapes'],
    [act.verdictsOnOthers === 0, `${act.verdictsOnOthers} verdicts on escapes are about innocents`],
    deletionCheck(responses, "the escaping pod's deletion"),
    [act.deleted, 'the escaping pod still exists'],
    [act.missingInnocents.length === 0, `innocent pods are gone: ${act.missingInnocents.join(', ')}`],
  ];
  return checks.filter(([ok]) => !ok).map(([, text]) => text);
}

/** Text for the terminal. */
export function escapeText(act: EscapeOutcome | Skipped): string {
  if (isSkipped(act)) return `skipped: ${act.skipped}`;
  const { control, guarded } = act;
  const rules = Object.entries(guarded.countedByRule).map(([rule, count]) => `${rule.split('/').at(-1)} ${count}`);
  const process = act.verdicts.map(({ reason }) => /by (\S+ \(pid \d+)/.exec(reason)?.[1]).find(Boolean);
  const responses = act.responses.map(({ action, phase }) => (phase === 'succeeded' ? action : `${action}: ${phase}`));
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
      ['responses', responses.join(', ') || 'none'],
      ['deleted', act.deleted ? act.attacker : 'nothing'],
      ['untouched', `${act.innocents - act.missingInnocents.length} of ${act.innocents} innocent pods`],
    ]),
  ].join('\n');
}
