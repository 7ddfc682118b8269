/** Final summary of the demo: numbers, comparison with the expected values, and text. Pure. */
import { type ChainOutcome, type ChainProgress, cutOffPackets } from '../attack/chain.ts';
import type { AttackOutcome } from '../attack/run.ts';
import { table } from '../text.ts';
import {
  deletionCheck,
  type EscapeOutcome,
  type RuntimeSummary,
  type Skipped,
  summariseEscape,
} from './escape-summary.ts';

/** Result of the first part. */
export interface NetworkOutcome {
  control: AttackOutcome;
  guarded: ChainOutcome;
  attacker: string;
  innocents: number;
}

/** Last line of `npm run demo -- --json`; with `--act 2` all fields except `runtime` are null. */
export interface DemoSummary {
  control: { sent: number; landed: number };
  guarded: { sent: number; dropped: number; landed: number; countedOnBus: number };
  legit: { sent: number; received: number };
  /** Messages on the bus about the attacking pod; responses with a terminal phase. */
  verdicts: number;
  responses: number;
  deletedPods: number;
  /** From the first forged packet. */
  latencyMs: { firstViolation: number | null; verdict: number | null; deleteCall: number | null };
  runtime: RuntimeSummary;
}

type Nulls = Record<Exclude<keyof DemoSummary, 'runtime'>, null> & Pick<DemoSummary, 'runtime'>;

const NO_NETWORK = {
  control: null,
  guarded: null,
  legit: null,
  verdicts: null,
  responses: null,
  deletedPods: null,
  latencyMs: null,
};

export function summarise(network: NetworkOutcome | null, act: EscapeOutcome | Skipped): DemoSummary | Nulls {
  const runtime = summariseEscape(act);
  if (!network) return { ...NO_NETWORK, runtime };
  const { control, guarded } = network;
  return {
    control: { sent: control.sent, landed: control.landedTotal },
    guarded: {
      sent: guarded.sent,
      dropped: guarded.dropped ?? 0,
      landed: guarded.landedTotal,
      countedOnBus: guarded.countedOnBus,
    },
    legit: guarded.legit,
    verdicts: guarded.tally.verdicts.length,
    responses: guarded.tally.finished.length,
    deletedPods: guarded.deleted ? 1 : 0,
    latencyMs: guarded.latencyMs,
    runtime,
  };
}

/** Deviations from the expected values, one sentence each; empty if there are none. */
export function shortfalls(control: AttackOutcome, guarded: ChainOutcome): string[] {
  const { tally } = guarded;
  const checks: [boolean, string][] = [
    [control.sent > 0, 'nothing was sent in the control run'],
    [
      control.landedTotal === control.sent,
      `unguarded, ${control.landedTotal} of ${control.sent} landed instead of all`,
    ],
    [guarded.sent > 0, 'nothing was sent in the guarded run'],
    [guarded.landedTotal === 0, `${guarded.landedTotal} forged packets landed in spite of the guard`],
    // After its deletion started, the pod is cut off: forged and ordinary packets count as
    // quarantine.
    [(guarded.dropped ?? 0) >= guarded.sent, `the kernel dropped ${guarded.dropped} of ${guarded.sent}`],
    [
      guarded.countedOnBus >= (guarded.dropped ?? 0) &&
        guarded.countedOnBus - cutOffPackets(guarded.countedByVector) <= guarded.sent,
      `the bus counts ${guarded.countedOnBus} of ${guarded.sent}`,
    ],
    [guarded.legit.sent > 0, 'there was no ordinary traffic'],
    [
      guarded.legit.received === guarded.legit.sent,
      `${guarded.legit.sent - guarded.legit.received} of ${guarded.legit.sent} ordinary requests got no answer`,
    ],
    [guarded.droppedOfInnocents === 0, `${guarded.droppedOfInnocents} packets of innocents were dropped`],
    [tally.verdicts.length > 0, 'there was no verdict'],
    [tally.verdictsOnOthers.length === 0, `${tally.verdictsOnOthers.length} verdicts are about innocents`],
    deletionCheck(tally.finished, 'the deletion'),
    [guarded.deleted, 'the attacking pod still exists'],
    [guarded.missingInnocents.length === 0, `innocent pods are gone: ${guarded.missingInnocents.join(', ')}`],
  ];
  return checks.filter(([ok]) => !ok).map(([, text]) => text);
}

const ms = (value: number | null) => (value === null ? 'never' : `${value.toFixed(1)} ms`);

/** Text for the terminal. */
export function summaryText({ control, guarded, attacker, innocents }: NetworkOutcome): string {
  const rows = [
    ['', 'FORGED', 'LANDED', 'DROPPED IN KERNEL', 'COUNTED ON BUS'],
    ['without Bailiff', String(control.sent), String(control.landedTotal), '-', '-'],
    [
      'with Bailiff',
      String(guarded.sent),
      String(guarded.landedTotal),
      String(guarded.dropped),
      String(guarded.countedOnBus),
    ],
  ];
  const kinds = Object.entries(guarded.countedByVector).map(([vector, packets]) => `${vector} ${packets}`);
  const verdicts = guarded.tally.verdicts.map((verdict) => `${verdict.rule} (${verdict.level})`);
  const responses = guarded.tally.finished.map(({ action, phase }) =>
    phase === 'succeeded' ? action : `${action}: ${phase}`,
  );
  const { sent, received } = guarded.legit;
  const { firstViolation, verdict, deleteCall } = guarded.latencyMs;
  const untouched = innocents - guarded.missingInnocents.length;
  return [
    table(rows),
    '',
    table([
      ['forged as', kinds.join(', ')],
      ['ordinary traffic', `${received} of ${sent} requests answered: UDP, TCP, ICMP, IPv4, IPv6`],
      ['verdict', verdicts.join(', ') || 'none'],
      ['responses', responses.join(', ') || 'none'],
      ['deleted', guarded.deleted ? attacker : 'nothing'],
      ['untouched', `${untouched} of ${innocents} innocent pods`],
      ['after first packet', `on the bus ${ms(firstViolation)}, verdict ${ms(verdict)}, delete call ${ms(deleteCall)}`],
    ]),
    '',
  ].join('\n');
}

export function progressText(progress: ChainProgress): string {
  const { sent, landed, countedOnBus, verdicts, responses, legit } = progress;
  return `forged ${sent}, landed ${landed}, on bus ${countedOnBus}, verdicts ${verdicts}, responses ${responses}; ordinary ${legit.received}/${legit.sent}`;
}
