/**
 * Cost of runtime policies for open, exec and connect, in instructions, by the number of rules. Compared
 * with a kernel without programs, and with empty programs at the same hooks (the unavoidable part).
 */
import { type CostPlan, type CostReport, type Operation, UNCACHED, type Where } from './lsm/cost.ts';
import { inside } from './lsm/machine.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const RULES = [1, 10, 100, 1000];
const READY_MADE = ['escape-guard', 'all ready-made policies', UNCACHED] as const;
/** Columns: the whole operation, then its hook. */
const SHOWN = ['open', 'exec', 'connect'] as const;
const PLAN: CostPlan = {
  where: ['no programs', 'empty programs', 'no pod', 'no policy', ...RULES, ...READY_MADE],
  rounds: 5,
  hookRounds: 5,
  counts: { open: 1000, exec: 40, connect: 1000 },
};
const WORDS: Readonly<Record<string, string>> = {
  'no programs': 'no programs loaded',
  'empty programs': 'empty programs at the same hooks',
  'no pod': 'a container outside any pod',
  'no policy': 'a pod without policy',
};
/** The hook that decides about each operation. */
const HOOK: Readonly<Record<Operation, string>> = {
  open: 'file_open',
  'open long': 'file_open',
  'open deep': 'file_open',
  'open deep long': 'file_open',
  exec: 'bprm_check_security',
  connect: 'socket_connect',
};
/** Instructions of file_open under ready-made policies: short name, long name, deep and long. */
const OPENS = ['open', 'open long', 'open deep', 'open deep long'] as const;
/** Place → what a whole operation may cost more than without programs, in percent. */
const BUDGETS = [
  ['no policy', { open: 3, exec: 1, connect: 20 }],
  ['all ready-made policies', { open: 6, exec: 2, connect: 60 }],
] as const;
const MOST_OPEN = 300;
/** From 100 to 1,000 rules. */
const MOST_GROWTH = 1.15;

export async function bench(): Promise<Section> {
  return sectionOf(await inside<CostReport>('cost', PLAN, { countInstructions: true }));
}

function sectionOf({ operations, hooks }: CostReport): Section {
  const whole = (where: Where, operation: Operation) =>
    median(operations.find((one) => one.where === where && one.operation === operation)?.ns ?? []);
  const ratio = (where: Where, operation: Operation) => whole(where, operation) / whole('no programs', operation);
  const more = (where: Where, operation: Operation) => fixed((ratio(where, operation) - 1) * 100);
  const hook = (where: Where, operation: Operation) =>
    hooks.find((one) => one.where === where && one.operation === operation)?.hooks[HOOK[operation]]?.ns ?? Number.NaN;
  const rows = PLAN.where.map((where) => [
    WORDS[where] ?? (typeof where === 'number' ? `${where} ${where === 1 ? 'rule' : 'rules'}` : where),
    ...SHOWN.map((operation) => `${thousands(whole(where, operation))} (${fixed(ratio(where, operation), 3)})`),
    ...[...OPENS, 'exec' as const, 'connect' as const].map((operation) =>
      where === 'no programs' ? '' : thousands(hook(where, operation)),
    ),
  ]);
  const budget = (where: (typeof BUDGETS)[number][0], most: Readonly<Record<(typeof SHOWN)[number], number>>) =>
    SHOWN.map((operation) => ({
      budget: `${operation}, ${WORDS[where] ?? where}: at most ${most[operation]} % more`,
      measured: `${more(where, operation)} %; empty programs ${more('empty programs', operation)} %`,
      met: ratio(where, operation) <= 1 + most[operation] / 100,
    }));
  const opens = OPENS.map((operation) => hook('all ready-made policies', operation));
  const growth = SHOWN.map((operation) => hook(1000, operation) / hook(100, operation));
  return {
    title: 'Cost of runtime policies',
    method:
      'Instructions per operation in a virtual machine (qemu’s `-icount`) with Debian’s kernel: medians of 5 rounds, which repeat to 0.1 %. Brackets: ratio to no programs. The last columns are instructions per call of the hook in its cheapest round, which test/vm/cost.test.ts limits. “n rules” means n for each of files, programs and addresses. Opened names have 8 characters at depth 4; “long” is 36 characters, “deep” is depth 12.',
    header: [
      ...['where', ...SHOWN, 'file_open', 'file_open, long', 'file_open, deep', 'file_open, deep and long'],
      ...['bprm_check_security', 'socket_connect'],
    ],
    rows,
    budgets: [
      ...BUDGETS.flatMap(([where, most]) => budget(where, most)),
      {
        budget: `file_open, all ready-made policies: at most ${MOST_OPEN} instructions`,
        measured: opens.map(thousands).join(', '),
        met: opens.every((one) => one <= MOST_OPEN),
      },
      {
        budget: `a hook costs at most ${fixed((MOST_GROWTH - 1) * 100, 0)} % more with 1,000 rules than with 100`,
        measured: SHOWN.map((operation, i) => `${operation} ${fixed(((growth[i] as number) - 1) * 100)} %`).join(', '),
        met: growth.every((one) => one <= MOST_GROWTH),
      },
    ],
  };
}
